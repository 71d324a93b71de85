"""What is measured of whole batches: one row of MEASURES a batch, from counts and from the source's own history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any

from nocturne.datasets import Dataset, Type
from nocturne.gates.history import (
    SMALL,
    STEPS,
    Past,
    beyond,
    chi_square,
    clock,
    crowding,
    novelty,
    shift,
    skew,
    usual_mix,
    usual_rows,
    usual_share,
)
from nocturne.gates.suites import MEASURES
from nocturne.lake import BATCH, Connection, Table, name
from nocturne.ledger import Mark

if TYPE_CHECKING:
    import pandas as pd


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


@dataclass(frozen=True)
class Measured:
    """The measures of one batch by name (None: unknown, and so not asked), and a note for people on some of them."""

    values: Mapping[str, float | None]
    notes: Mapping[str, str]

    def observed(self, measure: str) -> str:
        """What a finding says of a measure."""
        note = self.notes.get(measure)
        value = self.values[measure]
        return f"{measure} is {'unknown' if value is None else format(value, '.4g')}{f' ({note})' if note else ''}"


def measure(
    batch: Batch,
    counts: Counts,
    earlier: Sequence[Batch],
    past: Sequence[Profile],
    *,
    required: Sequence[str],
    is_daily: bool,
    may_be_empty: bool,
) -> Measured:
    """Measure one batch beside the `earlier` ones of its source and what is remembered of those that had rows (`past`)."""
    usual = usual_rows([Past(one.received_on, one.rows) for one in earlier], batch.received_on, is_daily=is_daily)
    ratio = usual.ratio(batch.rows) if usual else None
    empty = [column for column in required if batch.rows and not counts.filled.get(column)]
    drop, dropped = _largest_drop(counts, [one.filled for one in past])
    rise, risen = _largest_rise(counts, [one.unknown for one in past])
    mixes = [one.mixes for one in past]
    skewness, skewed = _largest_change(counts, mixes, (*MIXED, LATENESS), skew)
    unlike, changed = _largest_change(counts, mixes, (*MIXED, HOUR), chi_square)
    spreads = [one.spreads for one in past]
    shifted, moved = _largest_shift(counts, spreads, shift)
    new = max(_largest_change(counts, mixes, MIXED, novelty), _largest_shift(counts, spreads, beyond), key=lambda one: one[0] or 0.0)
    off, turned = _clock(counts, mixes)
    crowded, who = _largest_crowd(counts, [one.crowds for one in past])
    values = {
        # An empty delivery is ordinary only as long as the history does not speak against it.
        "rows": None if may_be_empty and ratio is None and not batch.rows else batch.rows,
        "rows_lost": batch.rows - counts.rows,
        "rows_to_floor": usual.of_floor(batch.rows) if usual else None,
        "rows_to_usual": ratio,
        "state_to_usual": None if is_daily else _of_state(batch.rows, ratio, earlier),
        "rows_deviation": usual.deviation(batch.rows) if usual else None,
        "empty_required_count": len(empty),
        "fill_drop": drop,
        "unknown_rise": rise,
        "skew": skewness,
        "chi_square": unlike,
        "shift": shifted,
        "crowding": crowded,
        "novelty": new[0],
        "clock": off,
    }
    volume = f"{batch.rows} rows, usual are {usual.rows:.0f}" if usual else ""
    notes = dict.fromkeys(("rows_to_floor", "rows_to_usual", "state_to_usual", "rows_deviation"), volume)
    notes |= {"empty_required_count": ", ".join(empty), "fill_drop": dropped, "unknown_rise": risen, "skew": skewed, "shift": moved}
    notes |= {"chi_square": changed, "crowding": who, "novelty": new[1], "clock": turned}
    notes["rows"] = f"{batch.left_out} were left out by the source's condition" if batch.left_out else ""
    return Measured(values, notes)


def _of_state(rows: int, ratio: float | None, earlier: Sequence[Batch]) -> float | None:
    """A whole state against the usual one; until it is known, against the one before, which may be all that there is."""
    before = max(earlier, key=lambda one: one.received_on, default=None)
    if ratio is not None or before is None or before.rows < SMALL:
        return ratio
    return rows / before.rows


def frame(measured: Sequence[Measured]) -> pd.DataFrame:
    """One row a batch, one column a measure."""
    import pandas as pd

    return pd.DataFrame([one.values for one in measured], columns=list(MEASURES), dtype="float64")


def _largest_drop(counts: Counts, past: Sequence[Mapping[str, float]]) -> tuple[float | None, str]:
    """How far the share of filled rows of a column fell below its usual share, beyond chance; and the column. None: not enough is known."""
    if counts.rows < SMALL:
        return None, ""
    drops: dict[str, float] = {}
    notes: dict[str, str] = {}
    for column, filled in counts.filled.items():
        usual = usual_share([shares.get(column, 0.0) for shares in past])
        if usual is not None:
            chance = 3 * (usual * (1 - usual) / counts.rows) ** 0.5
            drops[column] = usual - filled / counts.rows - chance
            notes[column] = f"{column}: {filled / counts.rows:.1%} of {counts.rows} rows have it, usual are {usual:.1%}"
    worst = max(drops, key=lambda column: drops[column], default="")
    return (drops[worst], notes[worst]) if worst else (None, "")


def _largest_rise(counts: Counts, past: Sequence[Mapping[str, float]]) -> tuple[float | None, str]:
    """How far the share of rows that name what no register has rose above its usual one, beyond chance; and the column."""
    found: list[tuple[float, str]] = []
    for column, unknown in counts.unknown.items():
        usual = usual_share([one[column] for one in past if column in one])
        if usual is not None and counts.rows >= SMALL:
            share, chance = unknown / counts.rows, 3 * (usual * (1 - usual) / counts.rows) ** 0.5
            note = f"{column}: {share:.1%} of {counts.rows} rows name {REGISTERS[column]} that nothing tells of, usual are {usual:.1%}"
            found.append((share - usual - chance, note))
    return max(found, default=(None, ""))


def _largest_change(
    counts: Counts,
    past: Sequence[Mapping[str, Mapping[str, float]]],
    watched: Sequence[str],
    unlike: Callable[[Mapping[str, float], Sequence[Mapping[str, float]], int], float | None],
) -> tuple[float | None, str]:
    """How unlike its past the mix of a watched column is at most, and which of its values rose most. None: not enough is known."""
    found: list[tuple[float, str]] = []
    for column, mix in counts.profile.mixes.items():
        earlier = [one[column] for one in past if column in one]
        rows = sum(counts.values[column].values())
        degree = unlike(mix, earlier, rows) if column in watched else None
        if degree is None:
            continue
        usual = usual_mix(earlier) or {}
        moved = max(mix, key=lambda value: (mix[value] - usual.get(value, 0.0), value))
        note = f"{column} {moved or 'of other values'}: {mix[moved]:.1%} of {rows} rows, usual are {usual.get(moved, 0.0):.1%}"
        found.append((degree, note))
    return max(found, default=(None, ""))


def _largest_shift(
    counts: Counts,
    past: Sequence[Mapping[str, Sequence[float]]],
    elsewhere: Callable[[Sequence[float], Sequence[Sequence[float]], int], float | None],
) -> tuple[float | None, str]:
    """How far the values of a measured column lie elsewhere at most, and what its middle was and is. None: not enough is known."""
    found: list[tuple[float, str]] = []
    for column, spread in counts.spreads.items():
        earlier = [one[column] for one in past if column in one]
        degree = elsewhere(spread, earlier, counts.filled.get(column, 0))
        if degree is not None:
            usual = median(one[STEPS // 2] for one in earlier)
            found.append((degree, f"{column}: the middle value is {spread[STEPS // 2]:g}, usual is {usual:g}"))
    return max(found, default=(None, ""))


def _largest_crowd(counts: Counts, past: Sequence[Mapping[str, float]]) -> tuple[float | None, str]:
    """How far the commonest value of a column has more of the rows than any had; and the column. None: not enough is known."""
    found: list[tuple[float, str]] = []
    for column, share in counts.crowds.items():
        earlier = [one[column] for one in past if column in one]
        rows = counts.filled.get(column, 0)
        degree = crowding(share, earlier, rows)
        if degree is not None:
            found.append((degree, f"{column}: one value has {share:.1%} of {rows} rows, at most {max(earlier):.1%} before"))
    return max(found, default=(None, ""))


def _clock(counts: Counts, past: Sequence[Mapping[str, Mapping[str, float]]]) -> tuple[float | None, str]:
    """Whether the hours of the day are turned, and by how many. None: not enough is known, or the events have no hours."""
    if HOUR not in counts.profile.mixes:
        return None, ""
    rows = sum(counts.values[HOUR].values())
    degree, hours = clock(counts.profile.mixes[HOUR], [one[HOUR] for one in past if HOUR in one], rows)
    return degree, f"the hours of {rows} rows are those of other days, {hours:+d} h" if hours else ""
