"""Station: silver -> warehouse. What differs from what was loaded is replaced, date by date, and what changed by it is written down."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from nocturne import lake
from nocturne.datasets import Dataset
from nocturne.ledger import Mark, Marks, utc_now
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


def load_warehouse(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Bring the warehouse to what silver's marks say.

    Reads silver (the parts whose mark differs from `_loaded`) and the marks of bronze, silver and quarantine. Writes `<slug>_raw`: of each
    dataset its changed parts, `_loaded` and the `_touched` tables in one transaction. A re-run does what is left; with nothing left it
    writes nothing. Raises DatabaseUnavailable.
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

    `fingerprint` is of all its parts, also of those that are loaded.
    """

    dataset: Dataset
    marks: Mapping[str, Mark]
    gone: Collection[str]
    fingerprint: str = ""

    @property
    def parts(self) -> list[str]:
        """All parts to be replaced."""
        return sorted({*self.marks, *self.gone})


def _loaded(tenant: Tenant, settings: Settings) -> dict[str, dict[str, str]]:
    """Dataset -> part -> fingerprint, of what stands in the warehouse."""
    found: dict[str, dict[str, str]] = {}
    for row in fetch(settings, f"SELECT dataset, part, fingerprint FROM {tenant.raw_schema}._loaded", role=tenant.owner_role):
        found.setdefault(row["dataset"], {})[row["part"]] = row["fingerprint"]
    return found


def _difference(tenant: Tenant, dataset: Dataset, ledger: Marks, loaded: Mapping[str, str]) -> Difference:
    shape = hashlib.sha256(repr(dataset.postgres_columns).encode()).hexdigest()[:8]
    silver = ledger.marks(tenant, "silver", dataset.name)
    marks = {part: Mark(f"{mark.fingerprint}/{shape}", mark.facts) for part, mark in silver.items()}
    changed = {part: mark for part, mark in marks.items() if loaded.get(part) != mark.fingerprint}
    fingerprint = hashlib.sha256(repr(sorted((part, mark.fingerprint) for part, mark in marks.items())).encode()).hexdigest()[:32]
    return Difference(dataset, changed, loaded.keys() - marks.keys(), fingerprint)


def _untouched(difference: Difference) -> Entry:
    return Entry(name=difference.dataset.name, fingerprint=difference.fingerprint, skipped=True)


def _load(tenant: Tenant, differences: Sequence[Difference], settings: Settings) -> Iterator[Entry]:
    """Load what differs, a transaction a dataset."""
    with lake.duck(settings) as connection, load_arrow(settings, role=tenant.owner_role) as loader:
        for difference in differences:
            dataset = difference.dataset
            columns = [name for name, _, _ in dataset.postgres_columns]
            parts = list(difference.marks) if dataset.event_date else None
            scan = lake.table(settings, tenant, "silver", dataset).scan(*columns, parts=parts)
            yield replace(loader, tenant, difference, lake.reader(connection, f"SELECT * FROM {scan}"))
            loader.commit()


def replace(loader: Loader, tenant: Tenant, difference: Difference, rows: pa.RecordBatchReader) -> Entry:
    """Make `rows` all that the parts of `difference` hold, in the loader's transaction, with `_loaded` and the `_touched` tables.

    `rows` have the dataset's columns and belong to its changed parts. Run again, it writes the same rows and touches nothing.
    """
    loader.execute(exclusion(tenant))
    steps = _Replacement(loader, tenant.raw_schema, difference)
    steps.set_aside()
    count = loader.append(tenant.raw_schema, difference.dataset.name, rows)
    touched = steps.note_touched_dates() if difference.dataset.event_date else steps.note_touched_rows()
    steps.note_loaded()
    if count > len(difference.marks) * _FEW:
        loader.execute(f"ANALYZE {steps.table}")
    dates = tuple(sorted(one for one in touched if one is not None))
    counts = {"loaded": count, "parts": len(difference.parts), "touched": len(touched)}
    return Entry(name=difference.dataset.name, fingerprint=difference.fingerprint, counts=counts, event_dates=dates)


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
        return ", ".join(f"'{part}'" for part in self.difference.parts)

    def set_aside(self) -> None:
        """Move the rows of the parts out of the table, to be compared with what takes their place."""
        date_column = self.difference.dataset.event_date
        where = f"{date_column} = ANY (ARRAY[{self.listed}]::date[])" if date_column else "true"
        self.loader.execute(f"CREATE TEMPORARY TABLE before (LIKE {self.table}) ON COMMIT DROP")
        self.loader.execute(f"WITH gone AS (DELETE FROM {self.table} WHERE {where} RETURNING *) INSERT INTO before SELECT * FROM gone")

    def note_touched_dates(self) -> list[date | None]:
        """Write down the dates, and their listeners, whose rows differ from those set aside; the dates.

        A date that held no row before differs in all its rows: only the others must be compared.
        """
        dataset = self.difference.dataset
        on, listener = dataset.event_date, "listener_key" if "listener_key" in self.columns.split(", ") else "NULL::text"
        after = f"SELECT {self.columns} FROM {self.table} WHERE {on} IN (SELECT {on} FROM before)"
        before = f"SELECT {self.columns} FROM before"
        self.loader.execute("ANALYZE before")
        self.loader.execute(
            "CREATE TEMPORARY TABLE touched ON COMMIT DROP AS"
            f" SELECT {on} AS event_on, {listener} AS listener_key FROM ({before} EXCEPT {after}) AS went"
            f" UNION SELECT {on}, {listener} FROM ({after} EXCEPT {before}) AS came"
            f" UNION SELECT {on}, {listener} FROM {self.table}"
            f" WHERE {on} = ANY (ARRAY[{self.listed}]::date[]) AND {on} NOT IN (SELECT {on} FROM before)"
        )
        self.loader.execute(
            f"INSERT INTO {self.schema}._touched SELECT '{dataset.name}', event_on, clock_timestamp()"
            " FROM (SELECT DISTINCT event_on FROM touched) AS dates"
            " ON CONFLICT (dataset, event_on) DO UPDATE SET touched_at = excluded.touched_at"
        )
        self.loader.execute(
            f"INSERT INTO {self.schema}._touched_listeners SELECT '{dataset.name}', event_on, listener_key, clock_timestamp()"
            " FROM touched WHERE listener_key IS NOT NULL"
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

    def note_loaded(self) -> None:
        """Say which state of the parts stands now, and what silver counted of it."""
        import pyarrow as pa

        dataset, marks = self.difference.dataset, self.difference.marks
        name = [dataset.name] * len(marks)
        self.loader.execute(f"DELETE FROM {self.schema}._loaded WHERE dataset = '{dataset.name}' AND part IN ({self.listed})")
        prints = [mark.fingerprint for mark in marks.values()]
        self.loader.append(self.schema, "_loaded", pa.table({"dataset": name, "part": list(marks), "fingerprint": prints}))
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
