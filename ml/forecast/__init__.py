"""Forecast: how much will be streamed, by how many and for how much money, on each of the next 28 days.

Rows are (series, origin, target day) with a horizon of 1 to 28 days; the split is by rolling origin.
"""

from __future__ import annotations

from ml.forecast.features import FEATURES, decay, gather, results, today
from ml.forecast.model import SPACE, fit, guess, score, settle, split
from ml.problem import Metric, Problem, Table

PROBLEM = Problem(
    name="forecast",
    question="How many streams, how many listeners and how much revenue will each of the next 28 days bring?",
    answer="A value for each day with an interval that holds four of five outcomes.",
    needs=("plays",),
    marts=("activity_days", "revenue_days"),
    features=FEATURES,
    watched=(),  # a handful of series has no distribution to speak of: the champion's realised error is watched instead
    metric=Metric(
        "wape", False, "mean over the series of the sum of absolute errors over the sum of what came, for forecasts of 1 to 28 days ahead"
    ),
    baseline="seasonal naive: the same weekday of the last week that was known",
    space=SPACE,
    table=Table(
        name="stream_forecasts",
        columns=(
            ("forecast_on", "date"),
            ("target_on", "date"),
            ("metric", "text"),
            ("value", "double precision"),
            ("low", "double precision"),
            ("high", "double precision"),
            ("model_version", "text"),
        ),
        key=("metric", "target_on"),
        day="forecast_on",
    ),
    gather=gather,
    today=today,
    split=split,
    fit=fit,
    guess=guess,
    score=score,
    settle=settle,
    results=results,
    decay=decay,
)
