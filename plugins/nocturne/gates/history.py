"""What is usual for a source: its own past batches, judged robustly and with a cold start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median

SAME_WEEKDAYS = 8  # how many earlier batches of the same weekday are looked at
ENOUGH_WEEKDAYS = 4  # with fewer of them, all weekdays are looked at together
ALL_DAYS = 28
ENOUGH_DAYS = 7  # with fewer, nothing is usual yet
ENOUGH_SNAPSHOTS = 3  # of a source that delivers its whole state, which weekdays do not move
SMALL = 20  # below so many usual rows, a share of them says nothing
MAD_TO_DEVIATION = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Past:
    """An earlier batch of a source: when it was received and how many rows were kept."""

    received_on: date
    rows: int


@dataclass(frozen=True)
class Usual:
    """The usual number of rows and its spread (a standard deviation, estimated robustly)."""

    rows: float
    spread: float

    def ratio(self, rows: int) -> float | None:
        """`rows` against the usual; None if the usual is too small to compare with."""
        return rows / self.rows if self.rows >= SMALL else None

    def deviation(self, rows: int) -> float | None:
        """How many spreads `rows` lies above (or below) the usual; None if the usual is too small to compare with."""
        return (rows - self.rows) / self.spread if self.rows >= SMALL else None


def usual_rows(past: Sequence[Past], received_on: date, *, is_daily: bool) -> Usual | None:
    """What a batch received on a day usually holds; None while too little is known (the cold start).

    A daily source is compared with its last batches of the same weekday, and until there are enough with all of its last batches.
    """
    earlier = sorted((one for one in past if one.received_on < received_on), key=lambda one: one.received_on)
    same = [one.rows for one in earlier if one.received_on.weekday() == received_on.weekday()][-SAME_WEEKDAYS:]
    recent = [one.rows for one in earlier][-ALL_DAYS:]
    if is_daily and len(same) >= ENOUGH_WEEKDAYS:
        return _summarise(same)
    if len(recent) >= (ENOUGH_DAYS if is_daily else ENOUGH_SNAPSHOTS):
        return _summarise(recent)
    return None


def _summarise(rows: Sequence[int]) -> Usual:
    """Counts scatter at least like a Poisson variable, and no source is steadier than one part in twenty for long."""
    middle = median(rows)
    scatter = MAD_TO_DEVIATION * median(abs(one - middle) for one in rows)
    return Usual(middle, max(scatter, middle**0.5, middle / 20, 1.0))


def usual_fill(shares: Sequence[float]) -> float | None:
    """The usual share of filled rows of a column (median of its last batches); None while too little is known."""
    return median(shares[-ALL_DAYS:]) if len(shares) >= ENOUGH_DAYS else None
