"""What a day's number should have been: the same weekdays before it, robustly."""

from __future__ import annotations

import random
from datetime import date, timedelta

from nocturne.insights.baselines import HISTORY_DAYS, compare, compare_share, is_of_the_month, lasting

DAY = date(2026, 3, 4)  # a Wednesday
WEEK = [100, 110, 120, 130, 160, 240, 220]


def series(
    value: float | None = None, *, growth: float = 0.0, days: int = HISTORY_DAYS, noise: int = 0, seed: int = 1
) -> dict[date, float]:
    """A weekly pattern of some thousands with weekly growth; `value` replaces the last day's."""
    chance = random.Random(seed)
    found = {}
    for back in range(days, -1, -1):
        one = DAY - timedelta(days=back)
        level = WEEK[one.weekday()] * 10 * (1 + growth) ** (-back / 7)
        found[one] = level + chance.randint(-noise, noise)
    if value is not None:
        found[DAY] = value
    return found


def test_a_steady_series_brings_no_surprise() -> None:
    one = compare(series(), DAY)
    assert one is not None
    assert (one.value, one.expected, one.deviation) == (1_200, 1_200, 0)


def test_a_weekend_is_compared_with_weekends() -> None:
    saturday = date(2026, 2, 28)
    one = compare(series(), saturday)
    assert one is not None
    assert one.expected == 2_400


def test_growth_is_expected() -> None:
    one = compare(series(growth=0.05), DAY)
    assert one is not None
    assert abs(one.change) < 0.01


def test_a_fall_stands_out() -> None:
    one = compare(series(480, noise=40), DAY, noise=8)
    assert one is not None
    assert -0.65 < one.change < -0.55
    assert one.deviation < -6


def test_one_broken_week_before_does_not_move_the_expectation() -> None:
    days = series()
    days[DAY - timedelta(weeks=1)] = 0
    one = compare(days, DAY)
    assert one is not None
    assert one.expected == 1_200


def test_a_young_series_says_nothing() -> None:
    assert compare(series(days=20), DAY) is None
    assert compare(series(days=21), DAY) is not None
    assert compare({}, DAY) is None


def test_chance_alone_is_rarely_strange() -> None:
    """Of a thousand days of a series with the scatter of counts, less than one in a hundred lies five deviations off."""
    strange = 0
    for seed in range(1_000):
        one = compare(series(noise=60, seed=seed), DAY, noise=8)
        assert one is not None
        strange += abs(one.deviation) >= 5
    assert strange < 10


def test_shares_are_compared_in_points() -> None:
    shares = {DAY - timedelta(days=back): 0.3 + 0.002 * (back % 3) for back in range(HISTORY_DAYS + 1)}
    shares[DAY] = 0.42
    one = compare_share(shares, DAY, weight=10_000)
    assert one is not None
    assert 0.11 < one.delta < 0.12
    assert one.deviation > 5


def test_a_share_of_few_things_may_be_anything() -> None:
    shares = {DAY - timedelta(days=back): 0.3 for back in range(HISTORY_DAYS + 1)} | {DAY: 0.42}
    one = compare_share(shares, DAY, weight=20)
    assert one is not None
    assert one.deviation < 2


def test_the_days_that_a_change_lasts_are_counted() -> None:
    days = series()
    for back in range(3):
        days[DAY - timedelta(days=back)] *= 3
    one = compare(days, DAY)
    assert one is not None
    assert lasting(days, DAY, one).days == 3


def test_what_moves_with_everything_has_not_moved_alone() -> None:
    one = compare(series(600), DAY)
    assert one is not None
    assert one.beside(0.5).delta == 0
    assert one.beside(0.5).deviation == 0


def test_what_comes_every_month_is_of_the_month() -> None:
    renewals = series()
    renewals[DAY] = renewals[DAY - timedelta(days=28)] = 4_800
    one = compare(renewals, DAY)
    assert one is not None
    assert is_of_the_month(renewals, DAY, one)
    assert not is_of_the_month(series(4_800), DAY, one)


def test_where_nothing_ever_happened_there_is_nothing_usual() -> None:
    nothing = dict.fromkeys(series(), 0.0)
    assert compare(nothing, DAY, noise=0.0) is None
