"""LightGBM over the genres; one artist in five is kept for judging, by a hash of the artist that never changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ml.problem import Array, Examples, Parameter, Parameters, Split, TooLittle
from ml.trees import Grown, grow_lightgbm

SPACE: Final = (
    Parameter("rounds", 50, 200, 120, is_whole=True),
    Parameter("learning_rate", 0.03, 0.2, 0.08, is_log=True),
    Parameter("num_leaves", 3, 24, 6, is_whole=True, is_log=True),
    Parameter("min_data_in_leaf", 5, 60, 15, is_whole=True, is_log=True),
    Parameter("lambda_l2", 0.1, 30.0, 3.0, is_log=True),
)
NEIGHBOURS: Final = 15
FEWEST_JUDGED: Final = 40
_PARTS: Final = 5
_MOST_KNOWN: Final = 5_000  # tracks that the baseline compares each track with
_ROWS_AT_ONCE: Final = 1_000


def split(examples: Examples) -> Split:
    """Part 0 of five by artist is judged on; each of the others is tried once by a model that learned from the rest."""
    part = examples.groups % _PARTS
    train, test = np.flatnonzero(part != 0), np.flatnonzero(part == 0)
    count = len(examples.more["genres"])
    if len(test) < FEWEST_JUDGED or len(np.unique(examples.y[train])) < count:
        raise TooLittle(f"{len(test)} tracks of artists kept for judging, and {FEWEST_JUDGED} are needed")
    folds = [(train[part[train] != own], train[part[train] == own]) for own in range(1, _PARTS)]
    return Split(train, test, tuple((learn, held) for learn, held in folds if len(held) and len(learn)))


def fit(examples: Examples, index: Array, parameters: Parameters, threads: int) -> Grown:
    """One tree a genre and round; thresholds at random (Geurts et al. 2006), for a tenant's catalogue is a small sample."""
    own = {name: value for name, value in parameters.items() if name != "rounds"}
    own["num_leaves"], own["min_data_in_leaf"] = int(own["num_leaves"]), int(own["min_data_in_leaf"])
    return grow_lightgbm(
        examples.x[index],
        examples.y[index],
        examples.features,
        {**own, "feature_fraction": 0.5, "extra_trees": True},
        objective="multiclass",
        threads=threads,
        rounds=int(parameters["rounds"]),
        classes=len(examples.more["genres"]),
    )


def guess(examples: Examples, learn: Array, index: Array) -> Array:
    """The shares of the genres among the nearest known tracks, by the distance of standardised features (unknown: the mean)."""
    known = learn[:: max(1, len(learn) // _MOST_KNOWN)]
    mean, deviation = np.nanmean(examples.x[known], axis=0), np.nanstd(examples.x[known], axis=0)
    x = np.nan_to_num((examples.x - mean) / np.where(deviation > 0, deviation, 1.0)).astype(np.float64)
    there = x[known]
    shares = np.zeros((len(index), len(examples.more["genres"])))
    for at in range(0, len(index), _ROWS_AT_ONCE):
        here = x[index[at : at + _ROWS_AT_ONCE]]
        distance = (there * there).sum(axis=1) - 2.0 * here @ there.T
        near = np.argpartition(distance, min(NEIGHBOURS, len(known)) - 1, axis=1)[:, :NEIGHBOURS]
        for place, genres in enumerate(examples.y[known][near], start=at):
            shares[place] = np.bincount(genres, minlength=shares.shape[1]) / len(genres)
    return shares


def score(examples: Examples, index: Array, predictions: Array, settled: Mapping[str, Any]) -> dict[str, float]:
    """Macro-F1 over the genres that stand among the rows, accuracy, and accuracy of always saying the commonest genre."""
    genres = [str(name) for name in examples.more["genres"]]
    said_by = [str(name) for name in settled.get("genres", genres)]  # a champion may know other genres
    said = np.array([genres.index(name) if name in genres else -1 for name in said_by])[predictions.argmax(axis=1)]
    true = examples.y[index]
    return {
        "macro_f1": float(np.mean([_f1(true == genre, said == genre) for genre in np.unique(true)])),
        "accuracy": float(np.mean(true == said)),
        "accuracy_of_the_commonest": float(np.bincount(true).max() / len(true)),
    }


def _f1(true: Array, said: Array) -> float:
    return float(2 * (true & said).sum() / max(1, true.sum() + said.sum()))


def settle(examples: Examples, index: Array, predictions: Array) -> dict[str, Any]:
    """The genres in the order of the outputs."""
    return {"genres": [str(name) for name in examples.more["genres"]]}
