"""What is counted of whole batches in the lake, and what is remembered of it for those that come after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any

from nocturne.datasets import Dataset, Type
from nocturne.gates.history import STEPS
from nocturne.lake import BATCH, Connection, Table, name
from nocturne.ledger import Mark


@dataclass(frozen=True)
class Batch:
    """A batch that bronze has loaded: `rows` are those it kept, `left_out` those that the source's condition leaves out."""

    id: str
    received_on: date
    rows: int
    left_out: int
    fingerprint: str

    @property
    def source(self) -> str:
        """The source that delivered it."""
        return self.id.rpartition("/")[0]

    @classmethod
    def of(cls, part: str, mark: Mark) -> Batch:
        """The batch that bronze's mark of `part` speaks of."""
        facts: Mapping[str, Any] = mark.facts
        left_out = int(facts.get("left_out", 0))
        return cls(part, date.fromisoformat(str(facts["received_on"])), int(facts["rows"]) - left_out, left_out, mark.fingerprint)


MIXED = ("country", "platform", "currency")
HOUR = "hour"
"""The hours of an event's instant, as the tenant's clock shows them: watched like a column of its own."""
LATENESS = "days_late"
"""The days from an event to its delivery, three and more being one: yesterday's file under today's name is late altogether."""
MEASURED = ("ms_played", "duration_ms", "amount")
"""Columns whose values are compared with those of the days before: another unit is valid row by row."""
REGISTERS: Mapping[str, str] = {"track_id": "tracks", "artist_id": "artists", "listener_id": "listeners", "plan_id": "plans"}
"""Columns that name something of another dataset: the share of rows that name what it does not have is watched."""
CROWDED = ("listener_id", "track_id")
"""Columns of events of whose values none has many rows: the share of the commonest is watched."""
_VALUES_KEPT = 24


@dataclass(frozen=True)
class Profile:
    """What is remembered of a batch, for those that come after it.

    The share of rows with a value, of the columns that have any; the shares of the commonest values (and, under "", of all others) of the
    columns whose mix is watched; of columns that name something of a register, the share of rows that name what none has; the quantiles of
    measured columns;
    the share of the commonest value, of columns that have many.
    """

    filled: Mapping[str, float] = field(default_factory=dict)
    mixes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unknown: Mapping[str, float] = field(default_factory=dict)
    spreads: Mapping[str, Sequence[float]] = field(default_factory=dict)
    crowds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Profile:
        """The profile that a mark tells."""
        told = {key: facts[key] for key in ("filled", "mixes", "unknown", "spreads", "crowds") if key in facts}
        return cls(**told)

    @property
    def facts(self) -> dict[str, Any]:
        """As a mark tells it."""
        mixes = {"mixes": {column: dict(mix) for column, mix in self.mixes.items()}} if self.mixes else {}
        unknown = {"unknown": dict(self.unknown)} if self.unknown else {}
        spreads = {"spreads": {column: list(spread) for column, spread in self.spreads.items()}} if self.spreads else {}
        crowds = {"crowds": dict(self.crowds)} if self.crowds else {}
        return {"filled": dict(self.filled), **mixes, **unknown, **spreads, **crowds}


@dataclass(frozen=True)
class Counts:
    """Rows of a batch as the lake holds them: how many have a value, by column; how many have which value; how many name what no register
    has; and, as shares, the quantiles of measured columns and the commonest value of crowded ones.
    """

    rows: int
    filled: Mapping[str, int]
    values: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    spreads: Mapping[str, Sequence[float]] = field(default_factory=dict)
    crowds: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def profile(self) -> Profile:
        """What is remembered of them."""
        return Profile(
            {column: round(count / self.rows, 4) for column, count in self.filled.items() if count},
            {column: _mix(values) for column, values in self.values.items() if values},
            {column: round(count / self.rows, 4) for column, count in self.unknown.items() if self.rows},
            self.spreads,
            {column: round(share, 4) for column, share in self.crowds.items()},
        )


def _mix(values: Mapping[str, int]) -> dict[str, float]:
    total = sum(values.values())
    common = sorted(values, key=lambda value: (-values[value], value))[:_VALUES_KEPT]
    shares = {value: round(values[value] / total, 4) for value in common}
    rest = round((total - sum(values[value] for value in common)) / total, 4)
    return shares | ({"": rest} if rest else {})


def count(
    connection: Connection, bronze: Table, dataset: Dataset, batches: Sequence[Batch], time_zone: str, known: Mapping[str, str]
) -> dict[str, Counts]:
    """The counts of each batch that has rows, in one pass over the columns; `known` is SQL of what registers tell of, by column."""
    columns = [column.name for column in dataset.columns]
    mixed = {column: name(column) for column in MIXED if column in dataset.by_name}
    if dataset.instant and dataset.by_name[dataset.instant].type is Type.INSTANT:
        mixed[HOUR] = f"hour({name(dataset.instant)} AT TIME ZONE '{time_zone}')::VARCHAR"
    if dataset.kind == "event":
        mixed[LATENESS] = "greatest(0, least(3, date_diff('day', _event_on, _received_on)))::VARCHAR"
    parts = [batch.id for batch in batches]
    measured = [column for column in MEASURED if column in dataset.by_name]
    shares = f"[{', '.join(str(step / STEPS) for step in range(STEPS + 1))}]"
    asked = [*(f"count({name(column)})" for column in columns), *(f"histogram({values})" for values in mixed.values())]
    asked += [f"quantile_disc({name(column)}::DOUBLE, {shares})" for column in measured]
    rows = bronze.scan(BATCH, "_event_on", "_received_on", *columns, parts=parts)
    found = connection.execute(f"SELECT {BATCH}, count(*), {', '.join(asked)} FROM {rows} GROUP BY {BATCH}").fetchall()
    unknown = _unknown(connection, bronze, parts, known)
    crowds = _crowds(connection, bronze, parts, [column for column in CROWDED if dataset.kind == "event" and column in dataset.by_name])
    return {
        batch: Counts(
            total,
            dict(zip(columns, values, strict=False)),
            {column: dict(mix or {}) for column, mix in zip(mixed, values[len(columns) :], strict=False)},
            {column: unknown[column].get(batch, 0) for column in known},
            {column: found for column, found in zip(measured, values[len(columns) + len(mixed) :], strict=True) if found},
            crowds.get(batch, {}),
        )
        for batch, total, *values in found
    }


def _unknown(connection: Connection, bronze: Table, parts: Sequence[str], known: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """How many rows of each batch name what no register tells of, by column."""
    found: dict[str, dict[str, int]] = {}
    for column, told in known.items():
        rows = bronze.scan(BATCH, column, parts=parts)
        strange = f"{column} IS NOT NULL AND {column} NOT IN ({told})"
        found[column] = dict(connection.execute(f"SELECT {BATCH}, count(*) FROM {rows} WHERE {strange} GROUP BY {BATCH}").fetchall())
    return found


def _crowds(connection: Connection, bronze: Table, parts: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, float]]:
    """The share of the commonest value of each column among the rows that have one, by batch."""
    found: dict[str, dict[str, float]] = {}
    for column in columns:
        rows = bronze.scan(BATCH, column, parts=parts)
        counted = f"SELECT {BATCH}, count(*) AS rows FROM {rows} WHERE {column} IS NOT NULL GROUP BY {BATCH}, {column}"
        for batch, share in connection.execute(f"SELECT {BATCH}, max(rows) / sum(rows) FROM ({counted}) GROUP BY {BATCH}").fetchall():
            found.setdefault(batch, {})[column] = float(share)
    return found
