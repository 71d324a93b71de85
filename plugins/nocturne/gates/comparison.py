"""A batch beside the past of its source: the measures that checks of batches ask, each with a note for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from nocturne.gates.history import (
    SMALL,
    STEPS,
    Past,
    beyond,
    chance_of,
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
from nocturne.gates.measures import HOUR, LATENESS, MIXED, REGISTERS, Batch, Counts, Profile
from nocturne.gates.suites import MEASURES

if TYPE_CHECKING:
    import pandas as pd

Found = tuple[float | None, str]
"""A measure (None: unknown) and a note on it."""


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
    volume = f"{batch.rows} rows, usual are {usual.rows:.0f}" if usual else ""
    left_out = f"{batch.left_out} were left out by the source's condition" if batch.left_out else ""
    ratio = usual.ratio(batch.rows) if usual else None
    empty = [column for column in required if batch.rows and not counts.filled.get(column)]
    mixes, spreads = [one.mixes for one in past], [one.spreads for one in past]
    new = _largest_change(counts, mixes, MIXED, novelty), _largest_shift(counts, spreads, beyond)
    found: dict[str, Found] = {
        # An empty delivery is ordinary only as long as the history does not speak against it.
        "rows": (None if may_be_empty and ratio is None and not batch.rows else batch.rows, left_out),
        "rows_lost": (batch.rows - counts.rows, ""),
        "rows_to_floor": (usual.of_floor(batch.rows) if usual else None, volume),
        "rows_to_usual": (ratio, volume),
        "state_to_usual": (None if is_daily else _of_state(batch.rows, ratio, earlier), volume),
        "rows_deviation": (usual.deviation(batch.rows) if usual else None, volume),
        "empty_required_count": (len(empty), ", ".join(empty)),
        "fill_drop": _largest_drop(counts, [one.filled for one in past]),
        "unknown_rise": _largest_rise(counts, [one.unknown for one in past]),
        "skew": _largest_change(counts, mixes, (*MIXED, LATENESS), skew),
        "chi_square": _largest_change(counts, mixes, (*MIXED, HOUR), chi_square),
        "shift": _largest_shift(counts, spreads, shift),
        "crowding": _largest_crowd(counts, [one.crowds for one in past]),
        "novelty": max(new, key=lambda one: one[0] or 0.0),
        "clock": _clock(counts, mixes),
    }
    return Measured({name: value for name, (value, _) in found.items()}, {name: note for name, (_, note) in found.items()})


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


def _largest_drop(counts: Counts, past: Sequence[Mapping[str, float]]) -> Found:
    """How far the share of filled rows of a column fell below its usual share, beyond chance; and the column. None: not enough is known."""
    found: list[tuple[float, str]] = []
    for column, filled in counts.filled.items():
        usual = usual_share([shares.get(column, 0.0) for shares in past])
        if usual is not None and counts.rows >= SMALL:
            share = filled / counts.rows
            note = f"{column}: {share:.1%} of {counts.rows} rows have it, usual are {usual:.1%}"
            found.append((usual - share - chance_of(usual, counts.rows), note))
    return max(found, key=lambda one: one[0], default=(None, ""))


def _largest_rise(counts: Counts, past: Sequence[Mapping[str, float]]) -> Found:
    """How far the share of rows that name what no register has rose above its usual one, beyond chance; and the column."""
    found: list[tuple[float, str]] = []
    for column, unknown in counts.unknown.items():
        usual = usual_share([one[column] for one in past if column in one])
        if usual is not None and counts.rows >= SMALL:
            share = unknown / counts.rows
            note = f"{column}: {share:.1%} of {counts.rows} rows name {REGISTERS[column]} that nothing tells of, usual are {usual:.1%}"
            found.append((share - usual - chance_of(usual, counts.rows), note))
    return max(found, default=(None, ""))


def _largest_change(
    counts: Counts,
    past: Sequence[Mapping[str, Mapping[str, float]]],
    watched: Sequence[str],
    unlike: Callable[[Mapping[str, float], Sequence[Mapping[str, float]], int], float | None],
) -> Found:
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
) -> Found:
    """How far the values of a measured column lie elsewhere at most, and what its middle was and is. None: not enough is known."""
    found: list[tuple[float, str]] = []
    for column, spread in counts.spreads.items():
        earlier = [one[column] for one in past if column in one]
        degree = elsewhere(spread, earlier, counts.filled.get(column, 0))
        if degree is not None:
            usual = median(one[STEPS // 2] for one in earlier)
            found.append((degree, f"{column}: the middle value is {spread[STEPS // 2]:g}, usual is {usual:g}"))
    return max(found, default=(None, ""))


def _largest_crowd(counts: Counts, past: Sequence[Mapping[str, float]]) -> Found:
    """How far the commonest value of a column has more of the rows than any had; and the column. None: not enough is known."""
    found: list[tuple[float, str]] = []
    for column, share in counts.crowds.items():
        earlier = [one[column] for one in past if column in one]
        rows = counts.filled.get(column, 0)
        degree = crowding(share, earlier, rows)
        if degree is not None:
            found.append((degree, f"{column}: one value has {share:.1%} of {rows} rows, at most {max(earlier):.1%} before"))
    return max(found, default=(None, ""))


def _clock(counts: Counts, past: Sequence[Mapping[str, Mapping[str, float]]]) -> Found:
    """Whether the hours of the day are turned, and by how many. None: not enough is known, or the events have no hours."""
    if HOUR not in counts.profile.mixes:
        return None, ""
    rows = sum(counts.values[HOUR].values())
    degree, hours = clock(counts.profile.mixes[HOUR], [one[HOUR] for one in past if HOUR in one], rows)
    return degree, f"the hours of {rows} rows are those of other days, {hours:+d} h" if hours else ""
