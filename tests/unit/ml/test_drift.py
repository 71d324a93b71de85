"""The population stability index, by hand and at its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ml.drift import FEWEST_ROWS, Histogram, histograms, measure


def test_the_index_is_the_textbook_sum() -> None:
    then = Histogram(edges=(0.0,), shares=(0.5, 0.5, 0.0))
    now = np.array([-1.0] * 30 + [1.0] * 70)
    by_hand = (0.3 - 0.5) * math.log(0.3 / 0.5) + (0.7 - 0.5) * math.log(0.7 / 0.5)
    assert then.index(now) == pytest.approx(by_hand)


def test_the_same_distribution_has_not_moved() -> None:
    dice = np.random.default_rng(1)
    assert Histogram.of(dice.normal(size=20_000)).index(dice.normal(size=20_000)) < 0.005


@pytest.mark.parametrize(("shift", "least", "most"), [(0.1, 0.0, 0.1), (0.4, 0.1, 0.25), (1.0, 0.25, 5.0)])
def test_a_shift_of_the_mean_is_none_watch_or_retrain(shift: float, least: float, most: float) -> None:
    dice = np.random.default_rng(2)
    assert least <= Histogram.of(dice.normal(size=20_000)).index(dice.normal(shift, 1, 20_000)) <= most


def test_values_that_become_unknown_are_drift() -> None:
    values = np.random.default_rng(3).normal(size=5_000)
    lost = np.where(np.arange(5_000) % 3 == 0, np.nan, values)
    assert Histogram.of(values).index(lost) > 0.25


def test_shares_add_up_whatever_repeats() -> None:
    for values in (np.zeros(50), np.array([1.0, np.nan]), np.array([np.nan, np.nan]), np.repeat([1.0, 2.0], 30)):
        assert sum(Histogram.of(values).shares) == pytest.approx(1.0)


def test_a_constant_that_changes_is_drift() -> None:
    assert Histogram.of(np.zeros(500)).index(np.ones(500)) > 0.25


def test_what_moved_most_is_named() -> None:
    dice = np.random.default_rng(4)
    then = dice.normal(size=(4_000, 3))
    reference = histograms(("a", "b", "c"), then, ("a", "b"))
    now = then + np.array([0.1, 2.0, 9.0])  # nobody watches c
    drift = measure(reference, ("a", "b", "c"), now)
    assert drift is not None
    assert (drift.feature, drift.is_over, drift.rows) == ("b", True, 4_000)


def test_too_few_rows_say_nothing() -> None:
    reference = histograms(("a",), np.zeros((500, 1)), ("a",))
    assert measure(reference, ("a",), np.ones((FEWEST_ROWS - 1, 1))) is None
    assert measure(reference, ("a",), np.ones((FEWEST_ROWS, 1))) is not None


def test_json_gives_the_same_histogram_back() -> None:
    histogram = Histogram.of(np.random.default_rng(5).normal(size=300))
    assert Histogram.from_json(histogram.to_json()) == histogram
