"""Rows by day, and windows over them: sums, weighted ratios, courses. A day without a row is a gap, never a 0."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from nocturne.reports import formats
from nocturne.reports.document import Tone
from nocturne.reports.material import Row


class Days:
    """Rows of which each speaks of one day, which stands in its column `day`."""

    def __init__(self, rows: Iterable[Row], day: str) -> None:
        self.by_day = {row[day]: row for row in rows}
        self.first = min(self.by_day)
        self.last = max(self.by_day)

    def __getitem__(self, day: date) -> Row:
        return self.by_day[day]

    def get(self, day: date) -> Row | None:
        """The row of a day, if there is one."""
        return self.by_day.get(day)

    def span(self, length: int | None = None) -> list[date]:
        """Every day up to the last, also those without a row: the last `length`, or all from the first."""
        known = (self.last - self.first).days + 1
        return [self.last - timedelta(days=back) for back in range(min(length or known, known) - 1, -1, -1)]

    def course(self, column: str, days: Sequence[date]) -> list[float | None]:
        """The column's value on each of these days; None where it is not known."""
        values = (self.by_day[day][column] if day in self.by_day else None for day in days)
        return [None if value is None else float(value) for value in values]

    def window(self, last: date, length: int) -> list[Row]:
        """The rows of the `length` days that end with `last`; fewer where days have none."""
        days = (last - timedelta(days=back) for back in range(length - 1, -1, -1))
        return [self.by_day[day] for day in days if day in self.by_day]

    def week_and_before(self, length: int = 7) -> tuple[list[Row], list[Row] | None]:
        """The rows of the last `length` days, and those of as many days before them: None unless the history holds them all."""
        earlier = self.last - timedelta(days=length)
        reaches = self.first <= earlier - timedelta(days=length - 1)
        return self.window(self.last, length), self.window(earlier, length) if reaches else None


def total(rows: Iterable[Row] | None, column: str) -> Any:
    """The sum of a column, None for no rows at all."""
    return None if rows is None else sum(row[column] for row in rows if row[column] is not None)


def weighted(rows: Sequence[Row] | None, column: str, weight: str) -> float | None:
    """The ratio of a window from its days' ratios, each weighted by what it is a share of."""
    known = [row for row in rows or () if row[column] is not None]
    weights = sum(row[weight] for row in known)
    return sum(float(row[column]) * row[weight] for row in known) / weights if weights else None


def summed(rows: Iterable[Row], day: str, columns: Sequence[str]) -> list[Row]:
    """One row a day: the sums of `columns` over the rows of that day."""
    sums: dict[date, dict[str, Decimal]] = {}
    for row in rows:
        own = sums.setdefault(row[day], dict.fromkeys(columns, Decimal(0)))
        for column in columns:
            own[column] += row[column] or 0
    return [{day: when, **sums[when]} for when in sorted(sums)]


def tone(now: Any, then: Any, change: str, better: int = 1) -> Tone:
    """Whether a `change` (in words) is for the better: `better` is 1 where more is better, -1 where less is."""
    if now is None or then is None or change == formats.NO_CHANGE:
        return "neutral"
    return "good" if (now > then) == (better > 0) else "bad"
