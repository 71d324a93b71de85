"""LightGBM on departures from the weekly rhythm; judged on rolling origins; intervals from the errors of unseen forecasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ml.forecast.features import HIGH, HORIZON, LOW, WIDTHS, arrive, bucket
from ml.problem import Array, Examples, Parameter, Parameters, Split
from ml.trees import Grown, grow_lightgbm

SPACE: Final = (
    Parameter("rounds", 40, 200, 100, is_whole=True),
    Parameter("learning_rate", 0.01, 0.2, 0.05, is_log=True),
    Parameter("num_leaves", 3, 31, 8, is_whole=True, is_log=True),
    Parameter("min_data_in_leaf", 20, 200, 60, is_whole=True, is_log=True),
    Parameter("lambda_l2", 0.1, 30.0, 5.0, is_log=True),
)
TEST_ORIGINS: Final = 3
FOLD_ORIGINS: Final = 3
_WEEK: Final = 7


def split(examples: Examples) -> Split:
    """Test: the last three weekly origins whose 28 days are all known; what is learned from lies before the first of them.

    Folds do the same a fortnight and more before, each with the horizons that fit between its origin and the test's.
    """
    origins, targets = examples.more["origins"], examples.moments
    newest = targets.max() - HORIZON
    count = TEST_ORIGINS if (newest - origins.min()).astype(int) >= HORIZON + TEST_ORIGINS * _WEEK else 1
    tested = newest - _WEEK * np.arange(count)
    first = tested.min()
    train = targets <= first
    folds = []
    for back in range(FOLD_ORIGINS):
        origin = first - _WEEK * (2 + back)
        learn, held = np.flatnonzero(targets <= origin), np.flatnonzero((origins == origin) & train)
        if len(learn) >= 100 and len(held):
            folds.append((learn, held))
    return Split(np.flatnonzero(train), np.flatnonzero(np.isin(origins, tested)), tuple(folds))


def fit(examples: Examples, index: Array, parameters: Parameters, threads: int) -> Grown:
    """Trees for the departure; half of the features a tree, so that no single lag carries a forecast. L1: an outage is no rule."""
    own = {name: value for name, value in parameters.items() if name != "rounds"}
    own["num_leaves"], own["min_data_in_leaf"] = int(own["num_leaves"]), int(own["min_data_in_leaf"])
    return grow_lightgbm(
        examples.x[index],
        examples.y[index],
        examples.features,
        {**own, "feature_fraction": 0.7},
        objective="regression_l1",
        threads=threads,
        rounds=int(parameters["rounds"]),
    )


def guess(examples: Examples, learn: Array, index: Array) -> Array:
    """Seasonal naive: the same weekday of the last week that was known at the origin."""
    return examples.more["naive"][index][:, None]


def score(examples: Examples, index: Array, predictions: Array, settled: Mapping[str, Any]) -> dict[str, float]:
    """WAPE over the series, of each series, and, with intervals, the share of outcomes within them."""
    names = examples.segments[index]
    actual, profile = examples.more["actual"][index], examples.more["profile"][index]
    value = arrive(predictions[:, 0], profile)
    each = {str(name): _wape(actual[names == name], value[names == name]) for name in np.unique(names)}
    scores = {"wape": float(np.mean(list(each.values()))), **{f"wape_{name}": error for name, error in each.items()}}
    if settled:
        scores["coverage"] = _coverage(examples, index, predictions[:, 0], settled)
    return scores


def _wape(actual: Array, value: Array) -> float:
    return float(np.abs(actual - value).sum() / max(float(actual.sum()), 1e-12))


def _coverage(examples: Examples, index: Array, middle: Array, settled: Mapping[str, Any]) -> float:
    keys = zip(examples.segments[index], examples.more["horizons"][index], strict=True)
    width = np.array([settled["widths"].get(f"{name} {bucket(int(horizon))}", (-np.inf, np.inf)) for name, horizon in keys])
    error = examples.y[index] - middle
    return float(np.mean((error >= width[:, 0]) & (error <= width[:, 1])))


def settle(examples: Examples, index: Array, predictions: Array) -> dict[str, Any]:
    """The 10 % and 90 % quantiles of the errors of unseen forecasts, by series and horizon: conformal, without an assumption on their form.

    Where horizons of a width were never forecast unseen, all errors of the series stand for them.
    """
    errors, names = examples.y[index] - predictions[:, 0], examples.segments[index]
    buckets = np.array([bucket(int(horizon)) for horizon in examples.more["horizons"][index]])
    widths: dict[str, tuple[float, float]] = {}
    for name in np.unique(examples.segments):
        for width in WIDTHS:
            exact = (names == name) & (buckets == width)
            widths[f"{name} {width}"] = _quantiles(errors[exact if exact.any() else names == name])
    return {"widths": widths}


def _quantiles(errors: Array) -> tuple[float, float]:
    """Both quantiles, a little wider for few errors: ranks of n + 1, as split conformal prediction has it (Vovk et al. 2005)."""
    ranked = np.sort(errors)
    count = len(ranked)
    low = max(0, int(np.floor(LOW * (count + 1))) - 1)
    high = min(count - 1, int(np.ceil(HIGH * (count + 1))) - 1)
    return float(ranked[low]), float(ranked[high])
