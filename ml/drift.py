"""Drift: the population stability index of a feature against the window that a champion was trained on.

< 0.1 none, 0.1-0.25 watch, > 0.25 train again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[Any]
LIMIT: Final = 0.25
BINS: Final = 10
FEWEST_ROWS: Final = 200  # without any drift the index of n rows is about (bins - 1) / n: below this many it speaks of chance
_LEAST_SHARE: Final = 1e-4  # an empty bin would make the index infinite


@dataclass(frozen=True)
class Histogram:
    """How a feature was distributed: the inner edges of its bins, the share of each bin, and last the share of unknown values."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, values: Matrix) -> Histogram:
        """The histogram of `values` with bins of about equal share; fewer of them where values repeat."""
        known = values[~np.isnan(values)]
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.empty(0)
        return cls(tuple(float(edge) for edge in edges), _shares(values, edges))

    def index(self, values: Matrix) -> float:
        """Population stability index: sum over the bins of (now - then) * ln(now / then)."""
        now = np.maximum(_shares(values, np.asarray(self.edges)), _LEAST_SHARE)
        then = np.maximum(self.shares, _LEAST_SHARE)
        return float(np.sum((now - then) * np.log(now / then)))

    def to_json(self) -> dict[str, list[float]]:
        """As a champion's metadata hold it."""
        return {"edges": list(self.edges), "shares": list(self.shares)}

    @classmethod
    def from_json(cls, document: Mapping[str, Sequence[float]]) -> Histogram:
        """What `to_json` gave."""
        return cls(tuple(document["edges"]), tuple(document["shares"]))


@dataclass(frozen=True)
class Drift:
    """The feature that has moved most, and how far."""

    feature: str
    index: float
    rows: int

    @property
    def is_over(self) -> bool:
        """Whether it is far enough to train again."""
        return self.index > LIMIT


def histograms(features: Sequence[str], x: Matrix, watched: Sequence[str]) -> dict[str, Histogram]:
    """The histogram of each watched feature of `x` [rows, features]."""
    return {name: Histogram.of(x[:, features.index(name)].astype(np.float64)) for name in watched}


def measure(reference: Mapping[str, Histogram], features: Sequence[str], x: Matrix) -> Drift | None:
    """How far the rows `x` are from the reference; None when there are too few rows to say, or nothing is watched."""
    if len(x) < FEWEST_ROWS or not reference:
        return None
    moved = {name: histogram.index(x[:, features.index(name)].astype(np.float64)) for name, histogram in reference.items()}
    name = max(moved, key=lambda feature: moved[feature])
    return Drift(name, round(moved[name], 4), len(x))


def _shares(values: Matrix, edges: Matrix) -> tuple[float, ...]:
    """Share of each bin (a value equal to an edge is below it), then of the unknown."""
    if not len(values):
        return (0.0,) * (len(edges) + 2)
    unknown = np.isnan(values)
    counts = np.bincount(np.searchsorted(edges, values[~unknown], side="left"), minlength=len(edges) + 1)
    return tuple(float(count) / len(values) for count in (*counts, unknown.sum()))
