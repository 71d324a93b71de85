"""Station: silver -> warehouse. What differs from what was loaded is replaced, date by date, and what changed by it is written down."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from nocturne import lake
from nocturne.datasets import Dataset
from nocturne.ledger import Judgements, Mark, Marks, utc_now
from nocturne.postgres import Loader, exclusion, fetch, load_arrow
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant
from nocturne.warehouse.facts import load_facts
from nocturne.warehouse.tables import prepare_tables

if TYPE_CHECKING:
    import pyarrow as pa

WHOLE = "all"
"""The part of a reference dataset: it is replaced whole."""


def load_warehouse(tenant: Tenant, day: date, settings: Settings, ledger: Judgements) -> Receipt:
    """Bring the warehouse to what silver's marks say.

    Reads silver (the parts whose mark differs from `_loaded`), the marks of bronze, silver and quarantine, and the judgements. Writes
    `<slug>_raw`: of each dataset its changed parts, `_loaded` and the `_touched` tables in one transaction. Of a part that stands already
    only the rows that differ from the data files that it was loaded from are written, as long as these files are there. A re-run does what
    is left; with nothing left it writes nothing. Raises DatabaseUnavailable.
    """
    started = utc_now()
    prepare_tables(tenant, settings)
    loaded = _loaded(tenant, settings)
    differences = [_difference(tenant, dataset, ledger, loaded.get(dataset.name, {})) for dataset in tenant.datasets]
    entries = {one.dataset.name: _untouched(one) for one in differences}
    if changed := [one for one in differences if one.parts]:
        entries |= {entry.name: entry for entry in _load(tenant, changed, settings)}
    told = (*entries.values(), load_facts(tenant, day, settings, ledger))
    return Receipt(tenant=tenant.slug, day=day, station="load_warehouse", started_at=started, finished_at=utc_now(), entries=told)


@dataclass(frozen=True)
class Difference:
    """What of a dataset must be replaced: `marks` are the parts that silver holds now, `gone` those that it no longer holds.

    `fingerprint` is of all its parts, also of those that are loaded; `loaded_files` are the data files of silver that parts were loaded
    from, where the table still has the shape that it had then.
    """

    dataset: Dataset
    marks: Mapping[str, Mark]
    gone: Collection[str]
    fingerprint: str = ""
    loaded_files: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def parts(self) -> list[str]:
        """All parts to be replaced."""
        return sorted({*self.marks, *self.gone})


Loaded = tuple[str, tuple[str, ...]]
"""(fingerprint, names of silver's data files)."""


def _loaded(tenant: Tenant, settings: Settings) -> dict[str, dict[str, Loaded]]:
    """Dataset -> part -> what was loaded of it."""
    found: dict[str, dict[str, Loaded]] = {}
    for row in fetch(settings, f"SELECT dataset, part, fingerprint, files FROM {tenant.raw_schema}._loaded", role=tenant.owner_role):
        found.setdefault(row["dataset"], {})[row["part"]] = row["fingerprint"], tuple(json.loads(row["files"] or "[]"))
    return found


def _difference(tenant: Tenant, dataset: Dataset, ledger: Marks, loaded: Mapping[str, Loaded]) -> Difference:
    shape = hashlib.sha256(repr(dataset.postgres_columns).encode()).hexdigest()[:8]
    silver = ledger.marks(tenant, "silver", dataset.name)
    marks = {part: Mark(f"{mark.fingerprint}/{shape}", mark.facts) for part, mark in silver.items()}
    changed = {part: mark for part, mark in marks.items() if loaded.get(part, ("", ()))[0] != mark.fingerprint}
    files = {part: names for part, (loaded_print, names) in loaded.items() if loaded_print.endswith(f"/{shape}")}
    fingerprint = hashlib.sha256(repr(sorted((part, mark.fingerprint) for part, mark in marks.items())).encode()).hexdigest()[:32]
    return Difference(dataset, changed, loaded.keys() - marks.keys(), fingerprint, files)


def _untouched(difference: Difference) -> Entry:
    return Entry(name=difference.dataset.name, fingerprint=difference.fingerprint, skipped=True)


def _load(tenant: Tenant, differences: Sequence[Difference], settings: Settings) -> Iterator[Entry]:
    """Load what differs, a transaction a dataset."""
    with lake.duck(settings) as connection, load_arrow(settings, role=tenant.owner_role) as loader:
        for difference in differences:
            silver = lake.table(settings, tenant, "silver", difference.dataset)
            amended = _comparable(difference, silver)
            try:
                entry = _load_dataset(connection, loader, tenant, difference, silver, amended)
            except _NotAsLoadedError:
                loader.rollback()
                entry = _load_dataset(connection, loader, tenant, difference, silver, {})
            yield entry
            loader.commit()


def _comparable(difference: Difference, silver: lake.Table) -> dict[str, Sequence[str]]:
    """The parts that stand in the warehouse, and whose data files of then are still there, by their names."""
    if not difference.dataset.event_date:
        return {}
    known = {part: difference.loaded_files.get(part, ()) for part in difference.marks}
    return {part: names for part, names in known.items() if names and silver.has_files(names)}


def _load_dataset(
    connection: lake.Connection,
    loader: Loader,
    tenant: Tenant,
    difference: Difference,
    silver: lake.Table,
    amended: Mapping[str, Sequence[str]],
) -> Entry:
    columns = [name for name, _, _ in difference.dataset.postgres_columns]
    loader.execute(exclusion(tenant))
    steps = _Replacement(loader, tenant.raw_schema, difference)
    steps.begin()
    count = 0
    if amended:
        before = silver.rows_of_names([name for names in amended.values() for name in names])
        count += steps.amend(connection, before, silver.scan(*columns, parts=amended))
    rest = [part for part in difference.parts if part not in amended]
    if rest:
        parts = [part for part in rest if part in difference.marks] if difference.dataset.event_date else None
        count += steps.replace(rest, lake.reader(connection, f"SELECT * FROM {silver.scan(*columns, parts=parts)}"))
    found = silver.file_names(difference.marks) if difference.dataset.event_date else {}
    return steps.end(count, found)


def replace(loader: Loader, tenant: Tenant, difference: Difference, rows: pa.RecordBatchReader) -> Entry:
    """Make `rows` all that the parts of `difference` hold, in the loader's transaction, with `_loaded` and the `_touched` tables.

    `rows` have the dataset's columns and belong to its changed parts. Run again, it writes the same rows and touches nothing.
    """
    loader.execute(exclusion(tenant))
    steps = _Replacement(loader, tenant.raw_schema, difference)
    steps.begin()
    return steps.end(steps.replace(difference.parts, rows), {})


class _NotAsLoadedError(Exception):
    """The table does not hold what `_loaded` says: somebody else has changed it."""


_FEW = 200
"""Rows a part, above which the planner is told at once of what was loaded; of less it hears from autovacuum in time."""


@dataclass(frozen=True)
class _Replacement:
    """The statements that replace parts of one table, in the transaction of `loader`."""

    loader: Loader
    schema: str
    difference: Difference

    @property
    def table(self) -> str:
        return f"{self.schema}.{self.difference.dataset.name}"

    @property
    def columns(self) -> str:
        return ", ".join(name for name, _, _ in self.difference.dataset.postgres_columns)

    @property
    def listed(self) -> str:
        return _listed(self.difference.parts)

    @property
    def listener(self) -> str:
        return "listener_key" if "listener_key" in self.columns.split(", ") else "NULL::text"

    def begin(self) -> None:
        """Make the tables that the transaction notes its changes in."""
        self.loader.execute(f"CREATE TEMPORARY TABLE before (LIKE {self.table}) ON COMMIT DROP")
        if self.difference.dataset.event_date:
            self.loader.execute("CREATE TEMPORARY TABLE touched (event_on date, listener_key text) ON COMMIT DROP")

    def replace(self, parts: Collection[str], rows: pa.RecordBatchReader) -> int:
        """Make `rows` all that these parts hold; how many they are.

        The old rows are moved out of the table, to be compared with what takes their place. A date that held no row before differs in all
        its rows: only the others must be compared.
        """
        on = self.difference.dataset.event_date
        where = f"{on} = ANY (ARRAY[{_listed(parts)}]::date[])" if on else "true"
        self.loader.execute(f"WITH gone AS (DELETE FROM {self.table} WHERE {where} RETURNING *) INSERT INTO before SELECT * FROM gone")
        with self._indexes_made_last():
            count = self.loader.append(self.schema, self.difference.dataset.name, rows)
        if on:
            after = f"SELECT {self.columns} FROM {self.table} WHERE {on} IN (SELECT {on} FROM before)"
            before = f"SELECT {self.columns} FROM before"
            self.loader.execute("ANALYZE before")
            self.loader.execute(
                "INSERT INTO touched"
                f" SELECT {on}, {self.listener} FROM ({before} EXCEPT {after}) AS went"
                f" UNION SELECT {on}, {self.listener} FROM ({after} EXCEPT {before}) AS came"
                f" UNION SELECT {on}, {self.listener} FROM {self.table} WHERE {where} AND {on} NOT IN (SELECT {on} FROM before)"
            )
        return count

    @contextmanager
    def _indexes_made_last(self) -> Iterator[None]:
        """Take the indexes of an empty table away and make them again behind its rows: to sort once costs less than each row's place."""
        made: list[str] = []
        if not self.loader.fetch(f"SELECT 1 FROM {self.table} LIMIT 1"):
            name = self.difference.dataset.name
            where = f"schemaname = '{self.schema}' AND tablename = '{name}'"
            for index, how in self.loader.fetch(f"SELECT indexname, indexdef FROM pg_indexes WHERE {where} ORDER BY 1"):
                self.loader.execute(f"DROP INDEX {self.schema}.{index}")
                made.append(how)
        yield
        for how in made:
            self.loader.execute(how)

    def amend(self, connection: lake.Connection, before: str, after: str) -> int:
        """Bring parts from the rows `before`, which stand in the table, to the rows `after`; how many are new or changed.

        DuckDB finds what differs; PostgreSQL takes that alone. No row of silver stands twice, so sets are compared: to compare counts of
        rows takes DuckDB six times as long. Raises _NotAsLoadedError if a row of `before` does not stand there.
        """
        dataset = self.difference.dataset
        on = dataset.event_date
        for name, some, others in (("came", after, before), ("went", before, after)):
            rows = f"SELECT {self.columns} FROM {some} EXCEPT SELECT {self.columns} FROM {others}"
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {rows}")
        key = list(dict.fromkeys((str(on), *dataset.silver_key)))
        self.loader.execute(f"CREATE TEMPORARY TABLE went ON COMMIT DROP AS SELECT {', '.join(key)} FROM {self.table} WITH NO DATA")
        gone = self.loader.append(None, "went", lake.reader(connection, f"SELECT {', '.join(key)} FROM went"))
        if gone:
            self.loader.execute("ANALYZE went")
            same = " AND ".join(f"stands.{column} = went.{column}" for column in key)
            delete = f"DELETE FROM {self.table} AS stands USING went WHERE {same} RETURNING 1"
            (deleted,) = self.loader.fetch(f"WITH gone AS ({delete}) SELECT count(*) FROM gone")[0]
            if deleted != gone:
                raise _NotAsLoadedError
        count = self.loader.append(self.schema, dataset.name, lake.reader(connection, f"SELECT {self.columns} FROM came"))
        some = " UNION ".join(f"SELECT {on} AS event_on, {_duck(self.listener)} AS listener_key FROM {name}" for name in ("came", "went"))
        self.loader.append(None, "touched", lake.reader(connection, some))
        return count

    def end(self, count: int, files: Mapping[str, Sequence[str]]) -> Entry:
        """Write down what was touched and what stands now (`count` rows were written, from these data files); the receipt's entry."""
        difference = self.difference
        touched = self.note_touched_dates() if difference.dataset.event_date else self.note_touched_rows()
        self.note_loaded(files)
        if count > len(difference.marks) * _FEW:
            self.loader.execute(f"ANALYZE {self.table}")
        dates = tuple(sorted(one for one in touched if one is not None))
        counts = {"loaded": count, "parts": len(difference.parts), "touched": len(touched)}
        return Entry(name=difference.dataset.name, fingerprint=difference.fingerprint, counts=counts, event_dates=dates)

    def note_touched_dates(self) -> list[date | None]:
        """Write down the dates, and their listeners, whose rows differ from those that stood there; the dates."""
        dataset = self.difference.dataset
        # In the order of its index the second table takes its rows a third faster.
        self.loader.execute(
            f"INSERT INTO {self.schema}._touched SELECT '{dataset.name}', event_on, clock_timestamp()"
            " FROM (SELECT DISTINCT event_on FROM touched) AS dates"
            " ON CONFLICT (dataset, event_on) DO UPDATE SET touched_at = excluded.touched_at"
        )
        self.loader.execute(
            f"INSERT INTO {self.schema}._touched_listeners SELECT '{dataset.name}', event_on, listener_key, clock_timestamp()"
            " FROM (SELECT DISTINCT event_on, listener_key FROM touched WHERE listener_key IS NOT NULL ORDER BY 1, 2) AS listeners"
            " ON CONFLICT (dataset, event_on, listener_key) DO UPDATE SET touched_at = excluded.touched_at"
        )
        return [row[0] for row in self.loader.fetch("SELECT DISTINCT event_on FROM touched ORDER BY event_on")]

    def note_touched_rows(self) -> list[date | None]:
        """Write down the rows of a reference dataset that came or went; [None] if there are any."""
        dataset = self.difference.dataset
        before, after = f"SELECT {self.columns} FROM before", f"SELECT {self.columns} FROM {self.table}"
        self.loader.execute(
            "CREATE TEMPORARY TABLE touched ON COMMIT DROP AS"
            f" SELECT to_jsonb(went) AS row FROM ({before} EXCEPT {after}) AS went"
            f" UNION ALL SELECT to_jsonb(came) FROM ({after} EXCEPT {before}) AS came"
        )
        self.loader.execute(f"INSERT INTO {self.schema}._touched_rows SELECT '{dataset.name}', row, clock_timestamp() FROM touched")
        self.loader.execute(
            f"INSERT INTO {self.schema}._touched SELECT '{dataset.name}', NULL, clock_timestamp() WHERE EXISTS (SELECT FROM touched)"
            " ON CONFLICT (dataset, event_on) DO UPDATE SET touched_at = excluded.touched_at"
        )
        return [None] if self.loader.fetch("SELECT 1 FROM touched LIMIT 1") else []

    def note_loaded(self, files: Mapping[str, Sequence[str]]) -> None:
        """Say which state of the parts stands now, and what silver counted of it."""
        import pyarrow as pa

        dataset, marks = self.difference.dataset, self.difference.marks
        name = [dataset.name] * len(marks)
        self.loader.execute(f"DELETE FROM {self.schema}._loaded WHERE dataset = '{dataset.name}' AND part IN ({self.listed})")
        prints = [mark.fingerprint for mark in marks.values()]
        names = pa.array([json.dumps(files[part]) if part in files else None for part in marks], pa.string())
        self.loader.append(self.schema, "_loaded", pa.table({"dataset": name, "part": list(marks), "fingerprint": prints, "files": names}))
        dates = "NULL" if not dataset.event_date else self.listed
        which = "event_on IS NULL" if not dataset.event_date else f"event_on IN ({dates})"
        self.loader.execute(f"DELETE FROM {self.schema}.silver_rows WHERE dataset = '{dataset.name}' AND {which}")
        counted = {
            "dataset": name,
            "event_on": pa.array([date.fromisoformat(part) if dataset.event_date else None for part in marks], pa.date32()),
            "rows": pa.array([int(mark.facts.get("rows", 0)) for mark in marks.values()], pa.int64()),
            "duplicates": pa.array([int(mark.facts.get("duplicates", 0)) for mark in marks.values()], pa.int64()),
        }
        self.loader.append(self.schema, "silver_rows", pa.table(counted))


def _listed(parts: Collection[str]) -> str:
    return ", ".join(f"'{part}'" for part in parts)


def _duck(column: str) -> str:
    """PostgreSQL's name of a type as DuckDB writes it."""
    return column.replace("::text", "::VARCHAR")
