"""Forecast: nothing after the origin is read, splits roll, intervals hold what they promise."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from ml.forecast.features import FEATURES, HISTORY, HORIZON, WIDTHS, Days, arrive, departure, describe, examples, results
from ml.forecast.model import guess, score, settle, split
from ml.problem import Rows

FIRST = date(2026, 1, 5)  # a Monday


def days(count: int = 113, seed: int = 1, series: tuple[str, ...] = ("stream_count", "listeners_1d")) -> Days:
    dice = np.random.default_rng(seed)
    week = 1 + 0.3 * np.isin(np.arange(count) % 7, (4, 5))
    values = np.array([dice.poisson(500 * (n + 1) * week * np.exp(0.003 * np.arange(count))) for n in range(len(series))], dtype=float)
    return Days(series, FIRST, values, count)


def learned(one: Days):
    return examples(one, np.arange(HISTORY - 1, one.final - 1), one.final - 1)


@pytest.mark.parametrize("seed", range(60))
def test_nothing_after_the_origin_is_read(seed: int) -> None:
    dice = np.random.default_rng(seed)
    one = days(seed=seed)
    origin = int(dice.integers(HISTORY - 1, 112))
    changed = one.values.copy()
    changed[:, origin + 1 :] = dice.random(changed[:, origin + 1 :].shape) * 1e6
    other = Days(one.names, one.first, changed, one.final)
    horizon = np.arange(1, HORIZON + 1)
    rows = np.zeros(HORIZON, dtype=int), np.full(HORIZON, origin), horizon
    for found, expected in zip(describe(other, *rows), describe(one, *rows), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_every_day_of_the_history_is_there_for_the_first_origin() -> None:
    one = days()
    one.values[:, HISTORY:] = np.nan
    x, profile, naive = describe(one, np.zeros(HORIZON, dtype=int), np.full(HORIZON, HISTORY - 1), np.arange(1, HORIZON + 1))
    beyond = FEATURES.index("month_before")  # may lie up to 31 days back: unknown at the very beginning
    assert not np.isnan(np.delete(x, beyond, axis=1)).any()
    assert not np.isnan(profile).any() and not np.isnan(naive).any()


def test_the_profile_is_the_mean_of_four_such_weekdays_and_naive_the_last() -> None:
    one = days()
    for origin, horizon in ((40, 1), (40, 7), (41, 8), (60, 28)):
        _, profile, naive = describe(one, np.array([1]), np.array([origin]), np.array([horizon]))
        same = [n for n in range(origin + 1) if (origin + horizon - n) % 7 == 0][-4:]
        assert profile[0] == pytest.approx(one.values[1, same].mean())
        assert naive[0] == one.values[1, same[-1]]


def test_calendar_features_name_the_target() -> None:
    one = days()
    x, _, _ = describe(one, np.array([0]), np.array([40]), np.array([5]))
    target = FIRST + timedelta(days=45)
    assert x[0, FEATURES.index("weekday")] == target.weekday()
    assert x[0, FEATURES.index("month_day")] == target.day
    assert x[0, FEATURES.index("horizon")] == 5


@pytest.mark.parametrize(("target", "before"), [("2026-03-15", "2026-02-15"), ("2026-03-31", "2026-02-28"), ("2026-05-31", "2026-04-30")])
def test_the_month_before_is_the_same_day_or_that_months_last(target: str, before: str) -> None:
    one = days(200)
    number = (date.fromisoformat(target) - FIRST).days
    x, profile, _ = describe(one, np.array([0]), np.array([number - 28]), np.array([28]))
    expected = departure(one.values[0, (date.fromisoformat(before) - FIRST).days], profile[0])
    assert x[0, FEATURES.index("month_before")] == pytest.approx(expected, rel=1e-5)


def test_departure_and_arrival_are_inverse() -> None:
    value, profile = np.array([0.0, 3.5, 1e6]), np.array([10.0, 0.0, 2e6])
    np.testing.assert_allclose(arrive(departure(value, profile), profile), value, atol=1e-6)
    assert arrive(np.array([-50.0]), np.array([3.0])) == 0


@pytest.mark.parametrize("count", [91, 105, 113, 400])
def test_what_is_learned_from_lies_before_the_origins_that_are_judged(count: int) -> None:
    one = learned(days(count))
    parts = split(one)
    for learn, held in ((parts.train, parts.test), *parts.folds):
        assert one.moments[learn].max() <= one.more["origins"][held].min()
    assert parts.folds
    for origin in np.unique(one.more["origins"][parts.test]):  # each judged origin is judged over its whole horizon
        mine = parts.test[one.more["origins"][parts.test] == origin]
        assert sorted(set(one.more["horizons"][mine].tolist())) == list(range(1, HORIZON + 1))


def test_seasonal_naive_scores_as_by_hand() -> None:
    one = learned(days())
    parts = split(one)
    guessed = guess(one, parts.train, parts.test)
    value = arrive(guessed[:, 0], one.more["profile"][parts.test])
    actual, names = one.more["actual"][parts.test], one.segments[parts.test]
    by_hand = np.mean(
        [np.abs(actual - value)[names == name].sum() / actual[names == name].sum() for name in ("stream_count", "listeners_1d")]
    )
    assert score(one, parts.test, guessed, {})["wape"] == pytest.approx(by_hand)


def test_intervals_hold_four_of_five_outcomes() -> None:
    dice = np.random.default_rng(5)
    one = learned(days(1_000))
    error = dice.normal(0, 0.1, len(one.y)) * np.sqrt(one.more["horizons"])
    answers = (one.y + error)[:, None]
    half = dice.random(len(one.y)) < 0.5
    settled = settle(one, np.flatnonzero(half), answers[half])
    coverage = score(one, np.flatnonzero(~half), answers[~half], settled)["coverage"]
    assert coverage == pytest.approx(0.8, abs=0.01)
    widths = [settled["widths"][f"stream_count {width}"] for width in WIDTHS]
    assert widths[0][1] - widths[0][0] < widths[2][1] - widths[2][0]


def test_horizons_that_were_never_tried_take_the_errors_of_the_others() -> None:
    one = learned(days())
    near = np.flatnonzero(one.more["horizons"] <= 7)
    settled = settle(one, near, one.y[near][:, None] + 1.0)
    assert settled["widths"]["stream_count 28"] == settled["widths"]["stream_count 7"] == (-1.0, -1.0)


def test_results_lie_within_their_interval_and_are_never_negative() -> None:
    rows = Rows(
        FEATURES,
        np.zeros((2, len(FEATURES)), dtype=np.float32),
        {"series": np.array(["stream_count", "net_amount"], dtype=object), "horizon": np.array([1, 28]), "profile": np.array([100.0, 0.0])},
    )
    settled = {"widths": {"stream_count 7": [-0.1, 0.1], "net_amount 28": [0.2, 0.3]}}  # the second does not hold its own middle
    one, two = results(rows, np.array([[0.0], [-5.0]]), settled, date(2026, 5, 1), "4")
    assert one[:3] == (date(2026, 5, 1), date(2026, 5, 2), "stream_count")
    assert one[3] == pytest.approx(100.0)
    assert one[4] < one[3] < one[5]
    assert two == (date(2026, 5, 1), date(2026, 5, 29), "net_amount", 0.0, 0.0, 0.0, "4")
