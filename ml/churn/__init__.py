"""Churn: which payers whose period ends within a month will not pay again.

Rows are (payer, as-of day); the split is by time: what is learned from had ended before the first judged day.
"""

from __future__ import annotations

from ml.churn.features import FEATURES, WATCHED, gather, results, today
from ml.churn.model import SPACE, fit, guess, score, settle, split
from ml.problem import Metric, Problem, Table

PROBLEM = Problem(
    name="churn",
    question="Which payers whose paid period ends within 31 days will not begin a new one within CHURN_GRACE_DAYS after its end?",
    answer="A probability for each payer; payers whose period ends later are not asked about.",
    needs=("subscription_events", "plays"),
    marts=("subscription_periods", "listener_days", "listener_facts"),
    features=FEATURES,
    watched=WATCHED,
    metric=Metric("log_loss", False, "mean negative logarithm of the probability that was given to what came; punishes false certainty"),
    baseline="the share that left among payers with the same auto-renewal and the same recency of listening",
    space=SPACE,
    table=Table(
        name="churn_predictions",
        columns=(
            ("listener_key", "text"),
            ("predicted_on", "date"),
            ("probability", "double precision"),
            ("horizon_days", "integer"),
            ("model_version", "text"),
        ),
        key=("listener_key",),
        day="predicted_on",
    ),
    gather=gather,
    today=today,
    split=split,
    fit=fit,
    guess=guess,
    score=score,
    settle=settle,
    results=results,
)
