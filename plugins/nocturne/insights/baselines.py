"""What a day's number should have been: robust statistics of the same weekdays before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median

WEEKS = 4  # same weekdays that are compared with
ENOUGH = 3  # with fewer of them, nothing is said
RESIDUAL_DAYS = 28  # days whose own surprises say how much surprise is ordinary
HISTORY_DAYS = RESIDUAL_DAYS + 7 * WEEKS
MAD_TO_DEVIATION = 1.4826  # of a normal distribution
_STEADIEST = 0.03  # no series is trusted to be steadier than this share of its level
_UNKNOWN = 0.15  # how far a young series may stray
_MOST_DRIFT = 0.25  # a trend above this is a change to be told, not one to be expected


@dataclass(frozen=True)
class Comparison:
    """A day's value beside the expected one; `deviation` in robust standard deviations; `days` how many days in a row it lasts."""

    value: float
    expected: float
    deviation: float
    days: int = 1

    @property
    def delta(self) -> float:
        """Value less expected."""
        return self.value - self.expected

    @property
    def change(self) -> float:
        """The change as a share of the expected; 1 for something out of nothing."""
        return self.delta / self.expected if self.expected > 0 else 1.0 if self.delta > 0 else 0.0

    def beside(self, factor: float) -> Comparison:
        """The same against an expectation that moves with everything else by `factor`."""
        spread = self.delta / self.deviation if self.deviation else 1.0
        expected = self.expected * factor
        return Comparison(self.value, expected, (self.value - expected) / spread, self.days)


def compare(series: Mapping[date, float], day: date, *, noise: float = 1.0) -> Comparison | None:
    """`day`'s value against the median of the same weekdays of the four weeks before it, moved by the series' own trend.

    The spread is the median absolute deviation of what the last four weeks' days differed from their own such medians, at least that of
    counts (`noise` is how many events come together: 1 for independent ones). None while there are too few weeks, or no value.
    """
    if day not in series or (base := _same_weekdays(series, day)) is None:
        return None
    surprises = _surprises(series, day)
    drift, scatter = _summary(surprises, base)
    expected = base * (1 + drift)
    floor = (noise * max(expected, 1.0)) ** 0.5
    spread = max(scatter * expected, _STEADIEST * expected, floor)
    if not spread:  # nothing ever happened here: there is no usual to differ from
        return None
    return Comparison(series[day], expected, (series[day] - expected) / spread)


def compare_share(series: Mapping[date, float], day: date, *, weight: float) -> Comparison | None:
    """The same for a share between 0 and 1 of `weight` things, whose differences are points, not percentages."""
    if day not in series or (base := _same_weekdays(series, day)) is None:
        return None
    points = [series[one] - usual for one in _before(day) if one in series and (usual := _same_weekdays(series, one)) is not None]
    drift = median(points) if len(points) >= 7 else 0.0
    expected = min(1.0, max(0.0, base + drift))
    scatter = MAD_TO_DEVIATION * median(abs(one - drift) for one in points) if len(points) >= 7 else 0.02
    spread = max(scatter, 0.004, (expected * (1 - expected) / max(weight, 1.0)) ** 0.5)
    return Comparison(series[day], expected, (series[day] - expected) / spread)


def lasting(series: Mapping[date, float], day: date, comparison: Comparison) -> Comparison:
    """The comparison with the number of days in a row, up to this one, on which the series stood off the same way, at least half as far."""
    days = 1
    while days < RESIDUAL_DAYS:
        earlier = day - timedelta(days=days)
        usual = _same_weekdays(series, earlier)
        if usual is None or earlier not in series or (series[earlier] - usual) * comparison.delta <= 0:
            break
        if abs(series[earlier] - usual) < abs(comparison.delta) / 2:
            break
        days += 1
    return Comparison(comparison.value, comparison.expected, comparison.deviation, days)


def is_of_the_month(series: Mapping[date, float], day: date, one: Comparison) -> bool:
    """Whether the same day of the month before, or a neighbour of it, had shown the same change: renewals come month by month."""
    last_month = [day - timedelta(days=back) for back in range(28, 33)]
    return any(abs(one.value - series[earlier]) < abs(one.delta) / 2 for earlier in last_month if earlier in series)


def _before(day: date) -> Sequence[date]:
    return [day - timedelta(days=back) for back in range(1, RESIDUAL_DAYS + 1)]


def _same_weekdays(series: Mapping[date, float], day: date) -> float | None:
    values = [series[one] for week in range(1, WEEKS + 1) if (one := day - timedelta(weeks=week)) in series]
    return median(values) if len(values) >= ENOUGH else None


def _surprises(series: Mapping[date, float], day: date) -> list[float]:
    """By which share each of the last days differed from what its own earlier weekdays had said."""
    found = []
    for one in _before(day):
        usual = _same_weekdays(series, one)
        if usual is not None and one in series:
            found.append((series[one] - usual) / max(usual, 1.0))
    return found


def _summary(surprises: Sequence[float], base: float) -> tuple[float, float]:
    if len(surprises) < 7:
        return 0.0, _UNKNOWN
    drift = median(surprises)
    scatter = MAD_TO_DEVIATION * median(abs(one - drift) for one in surprises)
    return min(_MOST_DRIFT, max(-_MOST_DRIFT, drift)), scatter
