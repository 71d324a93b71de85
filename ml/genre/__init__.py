"""Genre: what a track sounds like whose source does not say its genre.

Rows are tracks; the split keeps an artist's tracks together, so that a model is not judged on voices it knows.
"""

from __future__ import annotations

from ml.genre.features import FEATURES, gather, results, today
from ml.genre.model import SPACE, fit, guess, score, settle, split
from ml.problem import Metric, Problem, Table

PROBLEM = Problem(
    name="genre",
    question="Which genre does a track belong to whose source does not say it?",
    answer="The most probable of the genres that the tenant's own catalogue knows, with its probability.",
    needs=("tracks",),
    marts=("track_facts",),
    features=FEATURES,
    watched=FEATURES,
    metric=Metric("macro_f1", True, "mean over the genres of the harmonic mean of precision and recall, on tracks of unseen artists"),
    baseline="the majority among the 15 nearest tracks by sound",
    space=SPACE,
    table=Table(
        name="genre_predictions",
        columns=(
            ("track_id", "text"),
            ("predicted_on", "date"),
            ("genre", "text"),
            ("probability", "double precision"),
            ("model_version", "text"),
        ),
        key=("track_id",),
        day="predicted_on",
        only_changes=True,
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
