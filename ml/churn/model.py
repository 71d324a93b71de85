"""XGBoost on what a payer did; judged on the newest three weeks of outcomes, by the probability that it gave to what came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ml.churn.features import DIRECTIONS
from ml.problem import Array, Examples, Parameter, Parameters, Split, TooLittle
from ml.trees import Grown, grow_xgboost

SPACE: Final = (
    Parameter("rounds", 40, 250, 100, is_whole=True),
    Parameter("eta", 0.02, 0.15, 0.05, is_log=True),
    Parameter("max_depth", 2, 5, 3, is_whole=True),
    # Small: a dozen payers whose renewal is off are few and tell everything.
    Parameter("min_child_weight", 0.5, 10.0, 1.0, is_log=True),
    Parameter("lambda", 0.5, 30.0, 5.0, is_log=True),
)
TEST_DAYS: Final = 21
FOLD_DAYS: Final = 14
_WEEK: Final = 7
_FOLDS: Final = 3
FEWEST_LEARNED: Final = (100, 20)  # rows, and those among them that left
FEWEST_JUDGED: Final = (30, 5)
_PRIOR_ROWS: Final = 20.0


def split(examples: Examples) -> Split:
    """Test: as-of days within the last three weeks of final outcomes. What is learned from had ended before the first of them.

    Folds: the same with a fortnight each, one, two and three weeks apart, before the test.
    """
    end = examples.moments.max() + 1 if len(examples.y) else np.datetime64("1970-01-01")
    train, test = _at(examples, end - TEST_DAYS, end)
    _check(examples, train, FEWEST_LEARNED, "to learn from")
    _check(examples, test, FEWEST_JUDGED, "to judge on")
    folds = []
    for back in range(_FOLDS):
        until = end - TEST_DAYS - _WEEK * back
        learn, held = _at(examples, until - FOLD_DAYS, until)
        if min(_leavers(examples, learn), _leavers(examples, held)) >= FEWEST_JUDGED[1]:
            folds.append((learn, held))
    if not folds:
        raise TooLittle("too few payers have left so far to compare parameters by")
    return Split(train, test, tuple(folds))


def _at(examples: Examples, cut: Any, until: Any) -> tuple[Array, Array]:
    """(rows that had ended before `cut`, rows seen from `cut` on that ended before `until`)."""
    ends, as_of = examples.moments, examples.more["as_of"]
    return np.flatnonzero(ends < cut), np.flatnonzero((as_of >= cut) & (ends < until))


def _leavers(examples: Examples, index: Array) -> int:
    return int(examples.y[index].sum())


def _check(examples: Examples, index: Array, fewest: tuple[int, int], purpose: str) -> None:
    rows, left = len(index), _leavers(examples, index)
    if rows < fewest[0] or left < fewest[1] or left == rows:
        raise TooLittle(
            f"{rows} rows of payers {purpose}, {left} of whom left; {fewest[0]} and {fewest[1]} are needed, and some who stayed"
        )


def fit(examples: Examples, index: Array, parameters: Parameters, threads: int) -> Grown:
    """Trees for the log odds of leaving, in the directions that every service knows."""
    own = {name: value for name, value in parameters.items() if name != "rounds"}
    own["max_depth"] = int(own["max_depth"])
    directions = "(" + ",".join(str(DIRECTIONS.get(name, 0)) for name in examples.features) + ")"
    return grow_xgboost(
        examples.x[index],
        examples.y[index],
        examples.features,
        {**own, "subsample": 0.8, "colsample_bytree": 0.7, "monotone_constraints": directions},
        objective="binary:logistic",
        threads=threads,
        rounds=int(parameters["rounds"]),
    )


def guess(examples: Examples, learn: Array, index: Array) -> Array:
    """The share that left among rows of the same auto-renewal and recency (a week, a month, longer), drawn to the overall share by 20
    rows.
    """
    group = _group(examples)
    overall = float(examples.y[learn].mean())
    left = np.bincount(group[learn], weights=examples.y[learn], minlength=9)
    rows = np.bincount(group[learn], minlength=9)
    share = (left + _PRIOR_ROWS * overall) / (rows + _PRIOR_ROWS)
    return np.clip(share[group[index]], 1e-6, 1 - 1e-6)[:, None]


def _group(examples: Examples) -> Array:
    since = examples.x[:, examples.features.index("days_since_play")]
    off = examples.x[:, examples.features.index("is_auto_renew_off")]
    return np.searchsorted([6.5, 27.5], since) + 3 * np.where(np.isnan(off), 2, off).astype(np.int64)


def score(examples: Examples, index: Array, predictions: Array, settled: Mapping[str, Any]) -> dict[str, float]:
    """Log loss, area under the ROC curve, average precision, Brier score, and the mean probability over the share that left."""
    true, p = examples.y[index], np.clip(predictions[:, 0], 1e-6, 1 - 1e-6)
    scores = {
        "log_loss": float(-np.mean(true * np.log(p) + (1 - true) * np.log(1 - p))),
        "brier": float(np.mean((p - true) ** 2)),
        "left_ratio": float(true.mean()),
        "foretold_ratio": float(p.mean()),
    }
    if 0 < true.sum() < len(true):
        scores |= {"roc_auc": roc_auc(true, p), "average_precision": average_precision(true, p)}
    return scores


def roc_auc(true: Array, p: Array) -> float:
    """Probability that a row that left has a higher probability than one that stayed; equal ones count half (Mann and Whitney 1947)."""
    _, place, count = np.unique(p, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    left = float(true.sum())
    return float((rank[true == 1].sum() - left * (left + 1) / 2) / (left * (len(true) - left)))


def average_precision(true: Array, p: Array) -> float:
    """Mean of the precision at each leaver, the most probable first; rows of one probability enter at once."""
    values, place = np.unique(-p, return_inverse=True)
    left = np.cumsum(np.bincount(place, weights=true, minlength=len(values)))
    rows = np.cumsum(np.bincount(place, minlength=len(values)))
    gain = np.diff(left, prepend=0.0)
    return float((gain * left / rows).sum() / true.sum())


def settle(examples: Examples, index: Array, predictions: Array) -> dict[str, Any]:
    """Nothing beside the trees: they give probabilities."""
    return {}
