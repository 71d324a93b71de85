"""The station `refine_silver`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, Final

from nocturne import rules
from nocturne.datasets import Dataset, Personal
from nocturne.errors import NocturneError, PermanentError, together
from nocturne.lake import BATCH, Connection, Written, at_once, duck, limited, name, table, text
from nocturne.ledger import Mark, Marks
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.silver import pseudonyms
from nocturne.silver.inputs import Inputs, digest, in_groups, inputs_by_date, joined, passed_batches
from nocturne.tenants import Tenant

STATION: Final = "silver"
QUARANTINE: Final = "quarantine"
VERSION: Final = 1
"""Of what this code makes of bronze: a higher one rebuilds all dates."""
ALL: Final = "all"
"""The part of a reference dataset, which is rebuilt whole."""

_SECONDS: Final = 3_600
_GROUP_ROWS: Final = 50_000
"""Small dates are rebuilt together, because a query costs more than their rows; a larger one alone, because all threads write one file."""
_CHUNK_ROWS: Final = 2_000_000


def refine_silver(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Rebuild every event date whose inputs differ from those it was built from, and set aside the bad rows of new batches.

    Reads bronze (of batches that passed its gate) and the marks `bronze` and `gate_bronze`; writes Delta `silver/<dataset>` (a date is
    replaced whole) and `quarantine/<dataset>` (a batch is replaced whole), and the marks `silver` and `quarantine`, each after its rows.
    Run again, it does what is left. Works through all datasets, then raises what failed; PermanentError if rows do not add up.
    """
    started = datetime.now(UTC)
    entries: list[Entry] = []
    failures: list[NocturneError] = []
    with ExitStack() as stack:
        connect = cache(lambda: stack.enter_context(duck(settings)))
        for dataset in tenant.datasets:
            refine = _Refine(tenant, dataset, settings, ledger, connect)
            try:
                refine.run()
            except NocturneError as error:
                failures.append(error)
            entries.append(refine.entry())
    if failures:
        raise together(failures)
    return Receipt(
        tenant=tenant.slug,
        day=day,
        station="refine_silver",
        started_at=started,
        finished_at=datetime.now(UTC),
        entries=tuple(entries),
    )


@dataclass
class _Refine:
    """One dataset of one tenant."""

    tenant: Tenant
    dataset: Dataset
    settings: Settings
    ledger: Marks
    connect: Callable[[], Connection]
    rebuilt: dict[str, Mark] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    judged: dict[str, Mark] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bronze = table(self.settings, self.tenant, "bronze", self.dataset)
        self.silver = table(self.settings, self.tenant, "silver", self.dataset)
        self.quarantine = table(self.settings, self.tenant, "quarantine", self.dataset)
        bronze, gate = (self.ledger.marks(self.tenant, station, self.dataset.name) for station in ("bronze", "gate_bronze"))
        self.passed = passed_batches(bronze, gate)
        self.marks = self.ledger.marks(self.tenant, STATION, self.dataset.name)
        self.quarantined = self.ledger.marks(self.tenant, QUARANTINE, self.dataset.name)
        self.key = pseudonyms.tenant_key(self.settings, self.tenant)
        shape = [
            (c.name, c.type, c.required, c.personal, c.accepted, c.minimum, c.maximum, c.code.identity if c.code else None)
            for c in self.dataset.columns
        ]
        self.rules = digest([VERSION, self.dataset.key, self.dataset.instant, shape])

    def run(self) -> None:
        """Do what the marks do not say yet, then see that the rows add up."""
        wanted = self._wanted()
        changed = [part for part, (_, mark) in wanted.items() if part not in self.marks or self.marks[part].fingerprint != mark]
        unjudged = self._unjudged()
        self._forget_batches(sorted(set(self.quarantined) - set(self.passed)))
        if changed or unjudged:
            connection = self.connect()
            with self._limited(connection):
                for chunk in self._chunks(sorted(unjudged)):
                    self._judge(connection, {batch: unjudged[batch] for batch in chunk})
            inputs = {part: given for part, (given, _) in wanted.items()}
            groups = [(group, joined([inputs[part] for part in group], group)) for group in in_groups(changed, inputs, _GROUP_ROWS)]
            for parts, written, duplicates in at_once(connection, self._build, groups):
                self._rebuild({part: wanted[part][1] for part in parts}, written, duplicates)
        self._forget_parts(sorted(set(self.marks) - set(wanted)))
        if changed or unjudged or self.removed:
            self._see_that_rows_add_up()

    def entry(self) -> Entry:
        """What the receipt says of it."""
        facts = [mark.facts for mark in self.rebuilt.values()]
        judged = [mark.facts for mark in self.judged.values()]
        days = [*self.rebuilt, *self.removed] if self.dataset.kind == "event" else []
        return Entry(
            name=self.dataset.name,
            fingerprint=digest(sorted((part, mark.fingerprint) for part, mark in self.marks.items())),
            skipped=not (self.rebuilt or self.removed or self.judged),
            counts={
                "parts": len(self.rebuilt) + len(self.removed),
                "rows": sum(fact["rows"] for fact in facts),
                "duplicates": sum(fact["duplicates"] for fact in facts),
                "batches": len(judged),
                "valid": sum(fact["valid"] for fact in judged),
                "quarantined": sum(fact["quarantined"] for fact in judged),
            },
            event_dates=tuple(sorted(map(date.fromisoformat, days))),
        )

    def _limited(self, connection: Connection) -> AbstractContextManager[None]:
        return limited(connection, _SECONDS, doing=f"Refining {self.dataset.name}", tenant=self.tenant)

    # what is to be done ----------------------------------------------------------------------------------------------------------
    def _wanted(self) -> dict[str, tuple[Inputs, str]]:
        """The inputs of each part that silver should hold, and their fingerprint."""
        rules_and_key = digest([self.rules, pseudonyms.key_id(self.key)])
        if self.dataset.kind == "event":
            inputs = inputs_by_date(self.passed)
        else:
            rows = sum(int(mark.facts["rows"]) for mark in self.passed.values())
            inputs = {ALL: Inputs(rows, frozenset(self.passed), frozenset())} if self.passed or self.marks else {}
        return {part: (given, given.fingerprint(rules_and_key, self.passed)) for part, given in inputs.items()}

    def _unjudged(self) -> dict[str, str]:
        """The batches whose bad rows were not set aside yet, as they stand now, and the fingerprints to mark."""
        wanted = {batch: digest([self.rules, mark.fingerprint]) for batch, mark in self.passed.items()}
        return {
            batch: mark for batch, mark in wanted.items() if batch not in self.quarantined or self.quarantined[batch].fingerprint != mark
        }

    def _chunks(self, batches: Sequence[str]) -> Iterator[list[str]]:
        sizes = {batch: Inputs(int(self.passed[batch].facts["rows"]), frozenset(), frozenset()) for batch in batches}
        return in_groups(batches, sizes, _CHUNK_ROWS)

    def _forget_batches(self, gone: list[str]) -> None:
        if gone:
            self.quarantine.delete(gone)
            self.ledger.unmark(self.tenant, QUARANTINE, self.dataset.name, gone)
            self.quarantined = {batch: mark for batch, mark in self.quarantined.items() if batch not in gone}

    def _forget_parts(self, gone: list[str]) -> None:
        if gone:
            self.silver.delete(gone)
            self.ledger.unmark(self.tenant, STATION, self.dataset.name, gone)
            self.marks = {part: mark for part, mark in self.marks.items() if part not in gone}
            self.removed = gone

    # quarantine --------------------------------------------------------------------------------------------------------------------
    def _judge(self, connection: Connection, batches: Mapping[str, str]) -> None:
        """Set the bad rows of these batches aside; `batches` are the fingerprints to mark."""
        counted = connection.execute(
            f"SELECT {BATCH}, _event_on::VARCHAR, count(*), count(*) FILTER (_is_bad)"
            f" FROM {self.bronze.scan(BATCH, '_event_on', '_is_bad', parts=batches)} GROUP BY ALL"
        ).fetchall()
        facts = {batch: self._facts(batch, [row[1:] for row in counted if row[0] == batch]) for batch in batches}
        bad = [batch for batch in batches if facts[batch]["quarantined"]]
        written = self._write_bad(connection, bad)
        if bad or set(batches) & set(self.quarantine.partitions()):
            self.quarantine.commit(written, list(batches))
        for batch, kind, count in self._count_reasons(connection, written):
            facts[batch]["reasons"][kind] = count
        marks = {batch: Mark(mark, facts[batch]) for batch, mark in batches.items()}
        self.ledger.mark(self.tenant, QUARANTINE, self.dataset.name, marks)
        self.quarantined.update(marks)
        self.judged.update(marks)

    def _facts(self, batch: str, counted: Sequence[tuple[str | None, int, int]]) -> dict[str, Any]:
        told = self.passed[batch].facts
        rows = sum(count for _, count, _ in counted)
        bad = sum(count for _, _, count in counted)
        if rows != told["rows"] - told["left_out"]:
            raise self._does_not_add_up(
                f"batch {batch}: {told['rows']} rows were delivered and {told['left_out']} left out, but bronze holds {rows}"
            )
        dates = {day: count - wrong for day, count, wrong in sorted(counted, key=str) if day is not None and count > wrong}
        valid = {"dates": dates} if self.dataset.kind == "event" else {}
        return {"rows": told["rows"], "valid": rows - bad, "quarantined": bad, "reasons": {}, **valid}

    def _write_bad(self, connection: Connection, batches: Sequence[str]) -> Written:
        if not batches:
            return Written(())
        return self.quarantine.write(
            connection,
            f"SELECT *, {rules.reasons(self.dataset)} AS reasons FROM {self.bronze.scan(parts=batches)} WHERE _is_bad",
            batches,
        )

    def _count_reasons(self, connection: Connection, written: Written) -> list[tuple[str, str, int]]:
        if not written.files:
            return []
        rows = self.quarantine.rows_of(written.files)
        return connection.execute(
            f"SELECT {BATCH}, {rules.kind_of('reason')} AS kind, count(*) FROM (SELECT {BATCH}, unnest(reasons) AS reason FROM {rows})"
            " GROUP BY ALL ORDER BY ALL"
        ).fetchall()

    # silver ------------------------------------------------------------------------------------------------------------------------
    def _build(self, connection: Connection, group: tuple[Sequence[str], Inputs]) -> tuple[Sequence[str], Written, dict[str, int]]:
        """Write the rows of these parts: (parts, files that await their commit, duplicates of each part)."""
        parts, inputs = group
        with self._limited(connection):
            build = _Build(self, connection, parts, inputs)
            return parts, self.silver.write(connection, build.query(), self._partitions(parts)), build.duplicates()

    def _partitions(self, parts: Iterable[str]) -> list[str]:
        return list(parts) if self.silver.partition else []

    def _rebuild(self, parts: Mapping[str, str], written: Written, duplicates: Mapping[str, int]) -> None:
        """Make what is written all that these parts of silver hold; `parts` are the fingerprints to mark."""
        self.silver.commit(written, self._partitions(parts))
        rows: dict[str, int] = dict.fromkeys(parts, 0)
        for file in written.files:
            rows[file.part or ALL] += file.rows
        marks = {part: Mark(mark, {"rows": rows[part], "duplicates": duplicates.get(part, 0)}) for part, mark in parts.items()}
        self.ledger.mark(self.tenant, STATION, self.dataset.name, marks)
        self.marks.update(marks)
        self.rebuilt.update(marks)

    # reconciliation ----------------------------------------------------------------------------------------------------------------
    def _see_that_rows_add_up(self) -> None:
        """Every valid row of every batch stands in silver or is a duplicate, date by date, and silver holds what its marks say."""
        valid: dict[str, int] = {}
        for mark in self.quarantined.values():
            for part, count in mark.facts.get("dates", {ALL: mark.facts["valid"]}).items():
                valid[part] = valid.get(part, 0) + count
        held = {part or ALL: found.rows for part, found in self.silver.partitions().items()}
        for part in sorted(set(valid) | set(self.marks) | set(held)):
            facts = self.marks[part].facts if part in self.marks else {"rows": 0, "duplicates": 0}
            rows, duplicates = facts["rows"], facts["duplicates"]
            if valid.get(part, 0) != rows + duplicates or held.get(part, 0) != rows:
                raise self._does_not_add_up(
                    f"{part}: {valid.get(part, 0)} valid rows of all batches should be {rows} rows and {duplicates} duplicates;"
                    f" silver holds {held.get(part, 0)} rows"
                )

    def _does_not_add_up(self, what: str) -> PermanentError:
        return PermanentError(
            f"{self.dataset.name}, {what}.",
            next_step="Report these numbers. Without its marks, the next night builds the dataset anew from the raw bytes.",
            tenant=self.tenant.slug,
        )


class _Build:
    """The query that makes some parts of silver.

    Nearly every key stands once. Only keys that stand more than once (by their hash: a few too many do no harm) are compared; all other
    rows stream from bronze to silver.
    """

    def __init__(self, refine: _Refine, connection: Connection, parts: Sequence[str], inputs: Inputs) -> None:
        self._dataset = refine.dataset
        self._bronze = refine.bronze
        self._connection = connection
        self._dated = refine.dataset.kind == "event"
        self._days = ", ".join(f"DATE {text(part)}" for part in parts) if self._dated else ""
        self._inputs = inputs
        self._columns = dict.fromkeys(
            (
                BATCH,
                "_file",
                "_line",
                "_key",
                "_content",
                "_event_on",
                "_received_on",
                "_is_bad",
                *self._delivered,
            )
        )
        self._make_people(refine.key)
        self._repeated = self._find_repeated()
        if self._repeated:
            self._compare()

    @property
    def _delivered(self) -> tuple[str, ...]:
        return tuple(column.name for column in self._dataset.columns if column.silver_name)

    def query(self) -> str:
        """The rows of silver."""
        rows = f"SELECT *, _received_on AS first_on FROM ({self._here(*self._columns)}) WHERE NOT _is_bad"
        if self._repeated:
            rows += " AND _key NOT IN (SELECT _key FROM repeated)"
            rows += " UNION ALL BY NAME SELECT * EXCLUDE (place) FROM compared WHERE place = 1" + self._at_days(" AND ")
        people = "".join(f" LEFT JOIN people AS {_person(p)} ON {_person(p)}.id = good.{name(p)}" for p in self._identifiers)
        return f"SELECT {', '.join(self._silver_columns())} FROM ({rows}) AS good{people}"

    def duplicates(self) -> dict[str, int]:
        """How many valid rows of each part gave way to a winner, at this date or another."""
        if not self._repeated:
            return {}
        part = "_event_on::VARCHAR" if self._dated else text(ALL)
        found = self._connection.execute(f"SELECT {part}, count(*) FROM compared WHERE place > 1{self._at_days(' AND ')} GROUP BY 1")
        return dict(found.fetchall())

    def _silver_columns(self) -> Iterator[str]:
        delivered = {column.silver_name: column for column in self._dataset.columns if column.silver_name}
        for silver, _, _ in self._dataset.silver_columns:
            if silver == "received_on":
                yield "first_on AS received_on"
            elif silver not in delivered:
                yield f"_event_on AS {name(silver)}"
            elif delivered[silver].personal is Personal.IDENTIFIER:
                yield f"{_person(delivered[silver].name)}.pseudonym AS {name(silver)}"
            else:
                yield f"good.{name(silver)}"

    @property
    def _identifiers(self) -> list[str]:
        return [column.name for column in self._dataset.columns if column.personal is Personal.IDENTIFIER]

    def _here(self, *columns: str) -> str:
        """These columns of the rows of our dates."""
        return f"SELECT {', '.join(map(name, columns))} FROM {self._bronze.scan(*self._with_date(columns), parts=self._inputs.batches)}" + (
            self._at_days(" WHERE ")
        )

    def _elsewhere(self, *columns: str) -> str:
        """These columns of the rows of other dates whose keys may stand at ours too."""
        pairs = ", ".join(f"({text(batch)}, DATE {text(day)})" for batch, day in sorted(self._inputs.elsewhere))
        rows = self._bronze.scan(*dict.fromkeys((*columns, BATCH, "_event_on")), parts={batch for batch, _ in self._inputs.elsewhere})
        return f"SELECT {', '.join(map(name, columns))} FROM {rows} WHERE ({BATCH}, _event_on) IN ({pairs})"

    def _all(self, *columns: str) -> str:
        return self._here(*columns) + (f" UNION ALL {self._elsewhere(*columns)}" if self._inputs.elsewhere else "")

    def _with_date(self, columns: Sequence[str]) -> dict[str, None]:
        return dict.fromkeys((*columns, "_event_on"))

    def _at_days(self, before: str) -> str:
        return f"{before}_event_on IN ({self._days})" if self._dated else ""

    def _make_people(self, key: bytes) -> None:
        """Each person of these rows with the pseudonym: hashing persons costs less than hashing rows."""
        if not self._identifiers:
            return
        ids = " UNION ".join(f"SELECT {name(column)} AS id FROM ({self._here(column)})" for column in self._identifiers)
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE people AS SELECT id, {pseudonyms.pseudonym_sql(key, 'id')} AS pseudonym"
            f" FROM (SELECT DISTINCT id FROM ({ids}) WHERE id IS NOT NULL)"
        )

    def _find_repeated(self) -> bool:
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE repeated AS"
            f" SELECT _key FROM ({self._all('_key')}) WHERE _key IS NOT NULL GROUP BY _key HAVING count(*) > 1"
        )
        return bool(self._connection.execute("SELECT 1 FROM repeated LIMIT 1").fetchall())

    def _compare(self) -> None:
        """The rows of repeated keys with their place among those of their key: 1 is the winner."""
        key = ", ".join(map(name, self._dataset.key))
        good = f"SELECT * FROM ({self._all(*self._columns)}) WHERE _key IN (SELECT _key FROM repeated) AND NOT _is_bad"
        arrived = f"SELECT *, min(_received_on) OVER (PARTITION BY {key}, _content) AS first_on FROM ({good})"
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE compared AS SELECT *, row_number() OVER (PARTITION BY {key}"
            f" ORDER BY first_on DESC, _content DESC, {BATCH}, _file, _line) AS place FROM ({arrived})"
        )


def _person(column: str) -> str:
    return name(f"person_of_{column}")
