"""Churn: time splits without leaks, the baseline, and the metrics against a textbook implementation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from ml.churn import PROBLEM
from ml.churn.features import DIRECTIONS, FEATURES, describe
from ml.churn.model import average_precision, fit, guess, roc_auc, score, split
from ml.problem import Examples, TooLittle

FIRST = np.datetime64("2026-01-01")


def examples(count: int = 3_000, seed: int = 1, left: float = 0.2) -> Examples:
    """Rows at random: as-of days of a weekly grid over ten weeks, periods that end within a month and within the eleven weeks."""
    dice = np.random.default_rng(seed)
    as_of = FIRST + 7 * dice.integers(0, 11, count)
    x = dice.normal(size=(count, len(FEATURES))).astype(np.float32)
    x[:, FEATURES.index("days_since_play")] = dice.integers(0, 42, count)
    x[:, FEATURES.index("is_auto_renew_off")] = dice.integers(0, 2, count)
    latest = np.datetime64("2026-03-20") - as_of
    return Examples(
        features=FEATURES,
        x=x,
        y=(dice.random(count) < left).astype(float),
        moments=as_of + np.minimum(dice.integers(1, 32, count), latest.astype(int)),
        groups=dice.integers(0, 300, count),
        segments=np.full(count, "FR"),
        more={"as_of": as_of},
    )


@pytest.mark.parametrize("seed", range(40))
def test_what_is_learned_from_had_ended_before_anything_that_is_judged(seed: int) -> None:
    one = examples(seed=seed)
    parts = split(one)
    for learn, held in ((parts.train, parts.test), *parts.folds):
        assert one.moments[learn].max() < one.more["as_of"][held].min()
    for learn, held in parts.folds:
        assert set(learn) | set(held) <= set(parts.train)
    assert not set(parts.train) & set(parts.test)


def test_too_few_leavers_are_a_reason() -> None:
    with pytest.raises(TooLittle, match="to learn from"):
        split(examples(left=0.001))
    with pytest.raises(TooLittle):
        split(examples(count=60))
    with pytest.raises(TooLittle):
        split(examples(count=0))


def test_the_baseline_knows_recency_and_renewal() -> None:
    one = examples(count=4_000)
    off = one.x[:, FEATURES.index("is_auto_renew_off")]
    known = Examples(one.features, one.x, off.astype(float), one.moments, one.groups, one.segments, one.more)
    everything = np.arange(len(known.y))
    answers = guess(known, everything, everything)[:, 0]
    assert answers[off == 1].min() > 0.9
    assert answers[off == 0].max() < 0.1


def test_the_baseline_falls_back_to_the_overall_share() -> None:
    one = examples(count=2_000)
    same = one.x[:, FEATURES.index("is_auto_renew_off")] == 0
    answers = guess(one, np.flatnonzero(same), np.flatnonzero(~same))
    np.testing.assert_allclose(answers, one.y[same].mean(), atol=1e-9)  # a group that nobody has seen


def test_metrics_are_the_textbooks() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    dice = np.random.default_rng(9)
    for count in (5, 30, 400):
        for _ in range(30):
            true = np.r_[0.0, 1.0, dice.integers(0, 2, count)].astype(float)
            p = np.round(dice.random(len(true)), dice.integers(1, 4)).clip(0.01, 0.99)  # with ties
            one = examples(count=len(true))
            one = Examples(one.features, one.x, true, one.moments, one.groups, one.segments, one.more)
            ours = score(one, np.arange(len(true)), p[:, None], {})
            assert ours["log_loss"] == pytest.approx(log_loss(true, p))
            assert ours["brier"] == pytest.approx(brier_score_loss(true, p))
            assert ours["roc_auc"] == roc_auc(true, p) == pytest.approx(roc_auc_score(true, p))
            assert ours["average_precision"] == average_precision(true, p) == pytest.approx(average_precision_score(true, p))


def payer(**changed: object) -> dict[str, np.ndarray]:
    """One payer of whom everything is known, as the query gives it."""
    values: dict[str, object] = {
        "as_of": "2026-04-30", "period_from_on": "2026-04-10", "announced_to_on": "2026-05-10", "signed_up_on": "2026-01-01",
        "first_on": "2026-01-10", "last_on": "2026-04-28", "was_auto_renew_off": 0.0, "price_ratio": 1.1, "plays_7": 7.0,
        "plays_14": 28.0, "plays_28": 112.0, "plays_42": 168.0, "skips_28": 28.0, "active_days_14": 10.0,
    } | changed  # fmt: skip
    return {
        name: np.array([value], dtype="datetime64[D]") if isinstance(value, str) else np.array([value]) for name, value in values.items()
    }


def described(first: str = "2026-01-01", **changed: object) -> dict[str, float]:
    row = describe(payer(**changed), np.datetime64(first).item())
    return dict(zip(FEATURES, row[0].tolist(), strict=True))


def test_features_by_hand() -> None:
    found = described()
    by_hand = {
        "days_to_end": 10, "period_days": 30, "tenure_days": 119, "is_auto_renew_off": 0, "price_rise": np.log(1.1), "plays_28": 4,
        "trend_7": np.log(8.5 / 36.5), "trend_14": np.log(29.5 / 71.5), "skip_ratio": 30 / 120, "active_days_14": 10, "days_since_play": 2,
    }  # fmt: skip
    assert found == pytest.approx(by_hand, rel=1e-6)


def test_rates_count_only_days_that_could_be_known() -> None:
    found = described(first="2026-04-17")  # 14 days up to the as-of day, which is one of them
    assert found["plays_28"] == pytest.approx(112 / 14)
    assert found["trend_7"] == pytest.approx(np.log(8.5 / (105 * 7 / 7 + 1.5)))
    assert np.isnan(found["trend_14"])
    assert found["days_since_play"] == 2
    assert np.isnan(described(first="2026-04-11")["trend_14"])  # 20 days: six before the last fortnight, and it needs a week
    assert not np.isnan(described(first="2026-04-10")["trend_14"])


def test_tenure_ends_to_count_after_a_year_and_begins_with_what_is_known() -> None:
    assert described(signed_up_on="2020-01-01")["tenure_days"] == 365
    assert described(signed_up_on="NaT")["tenure_days"] == 110
    assert described(signed_up_on="2026-03-01", first_on="2026-02-01")["tenure_days"] == 88


def test_a_payer_who_never_listened_has_features() -> None:
    silent = {name: np.nan for name in payer() if name.startswith(("plays", "skips", "active"))}
    found = described(last_on="NaT", **silent)
    assert found["days_since_play"] == 42
    assert found["plays_28"] == 0
    assert not any(np.isnan(value) for value in found.values())


def test_more_of_a_warning_never_lowers_the_probability() -> None:
    one = examples()
    grown = fit(one, np.arange(len(one.y)), PROBLEM.defaults, 1)
    for name, direction in DIRECTIONS.items():
        less, more = one.x.copy(), one.x.copy()
        more[:, FEATURES.index(name)] += direction
        assert (grown.predict(more) >= grown.predict(less) - 1e-7).all(), name
