"""Boosted trees: grown by XGBoost or LightGBM, kept and read as plain arrays.

A night scores with numpy alone: importing either library costs three CPU seconds, reading its trees a few milliseconds. What is kept is the
library's own model, node by node; a model whose arrays answer otherwise than the library does is refused. This module is the
only importer of xgboost and lightgbm.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from nocturne.errors import PermanentError

Matrix = npt.NDArray[Any]
Link = Literal["identity", "sigmoid", "softmax"]
SEED: Final = 20_260_101
_ROWS_AT_ONCE: Final = 2_048  # rows x trees indices stay in the processor's cache
_TOLERANCE: Final = 1e-4  # XGBoost adds leaves up in single precision
_SAMPLE: Final = 2_000
_ROWS_A_THREAD: Final = 20_000  # OpenMP's threads wait for each other in a loop: on fewer rows a second one only burns a core


@dataclass(frozen=True)
class Tree:
    """One tree, node 0 its root. `feature` is -1 at a leaf, whose `value` is the answer; a row goes left if its feature is at most
    `threshold`, or if the feature is unknown (NaN) and `unknown_left` is 1.
    """

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    unknown_left: tuple[int, ...]
    value: tuple[float, ...]


@dataclass(frozen=True)
class Trees:
    """An ensemble. Tree i adds to output i modulo the number of outputs; `start` is what each output adds to; the link comes last."""

    features: tuple[str, ...]
    link: Link
    start: tuple[float, ...]
    trees: tuple[Tree, ...]

    def predict(self, x: Matrix) -> Matrix:
        """Answers [rows, outputs] for `x` [rows, features], single precision, NaN where a value is unknown."""
        x = np.ascontiguousarray(x, dtype=np.float32)
        if x.ndim != 2 or x.shape[1] != len(self.features):
            raise ValueError(f"the trees read {len(self.features)} features, the rows have shape {x.shape}")
        parts = [self._margins(x[at : at + _ROWS_AT_ONCE]) for at in range(0, len(x), _ROWS_AT_ONCE)]
        return _linked(np.concatenate(parts) if parts else np.empty((0, len(self.start))), self.link)

    def to_json(self) -> str:
        """Everything, as text that `from_json` reads."""
        trees = [{name: getattr(tree, name) for name in Tree.__dataclass_fields__} for tree in self.trees]
        return json.dumps({"features": self.features, "link": self.link, "start": self.start, "trees": trees}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Trees:
        """What `to_json` wrote."""
        document = json.loads(text)
        trees = tuple(Tree(**{name: tuple(values) for name, values in tree.items()}) for tree in document["trees"])
        return cls(tuple(document["features"]), document["link"], tuple(document["start"]), trees)

    @cached_property
    def _arrays(self) -> tuple[Matrix, Matrix, Matrix, Matrix, Matrix, Matrix, int]:
        """All trees' nodes in one row of arrays (a child is an absolute position, a leaf its own child), the roots, and the depth."""
        roots = np.cumsum([0, *(len(tree.feature) for tree in self.trees)], dtype=np.int64)
        offset = np.repeat(roots[:-1], np.diff(roots))
        feature = np.array([f for tree in self.trees for f in tree.feature], dtype=np.int64)
        threshold = np.array([t for tree in self.trees for t in tree.threshold], dtype=np.float64)
        unknown_left = np.array([u for tree in self.trees for u in tree.unknown_left], dtype=bool)
        value = np.array([v for tree in self.trees for v in tree.value], dtype=np.float64)
        itself = np.arange(len(feature), dtype=np.int64)
        left = np.where(feature < 0, itself, np.array([c for tree in self.trees for c in tree.left], dtype=np.int64) + offset)
        right = np.where(feature < 0, itself, np.array([c for tree in self.trees for c in tree.right], dtype=np.int64) + offset)
        # children[2 * node] is where a row goes to the right, children[2 * node + 1] to the left: one look-up a step.
        children = np.stack((right, left), axis=1).ravel()
        return np.maximum(feature, 0), threshold, unknown_left, children, value, roots[:-1], max(map(_depth, self.trees), default=0)

    def _margins(self, x: Matrix) -> Matrix:
        feature, threshold, unknown_left, children, value, roots, depth = self._arrays
        outputs = len(self.start)
        margins = np.tile(np.asarray(self.start, dtype=np.float64), (len(x), 1))
        if not len(roots):
            return margins
        flat = x.ravel()
        offset = (np.arange(len(x), dtype=np.int64) * x.shape[1])[:, None]
        has_unknown = bool(np.isnan(flat).any())
        node = np.broadcast_to(roots, (len(x), len(roots)))
        for _ in range(depth):
            seen = flat[offset + feature[node]]
            goes_left = seen <= threshold[node]
            if has_unknown:
                goes_left |= np.isnan(seen) & unknown_left[node]
            node = children[2 * node + goes_left]
        leaves = value[node]
        for output in range(outputs):
            margins[:, output] += leaves[:, output::outputs].sum(axis=1)
        return margins


def _depth(tree: Tree) -> int:
    depth = [0] * len(tree.feature)
    for node, feature in enumerate(tree.feature):  # parents stand before their children
        if feature >= 0:
            depth[tree.left[node]] = depth[tree.right[node]] = depth[node] + 1
    return max(depth)


def _linked(margins: Matrix, link: Link) -> Matrix:
    linked: Matrix = margins
    if link == "sigmoid":
        linked = 1.0 / (1.0 + np.exp(-np.clip(margins, -60, 60)))
    if link == "softmax":
        powers = np.exp(margins - margins.max(axis=1, keepdims=True))
        linked = powers / powers.sum(axis=1, keepdims=True)
    return linked


@dataclass(frozen=True)
class Grown:
    """A fitted model as its library has it. `sample` are rows that it learned from, by which its trees are checked."""

    library: Literal["xgboost", "lightgbm"]
    booster: Any
    features: tuple[str, ...]
    outputs: int
    sample: Matrix
    threads: int

    def predict(self, x: Matrix) -> Matrix:
        """The library's answers [rows, outputs]."""
        if self.library == "xgboost":
            import xgboost

            data = xgboost.DMatrix(x, feature_names=list(self.features), nthread=self.threads)
            answers = self.booster.predict(data)
        else:
            answers = self.booster.predict(x, num_threads=self.threads)
        return np.asarray(answers, dtype=np.float64).reshape(len(x), self.outputs)

    @cached_property
    def trees(self) -> Trees:
        """Its trees as arrays. Raises PermanentError if they answer otherwise than the library does."""
        if self.library == "xgboost":
            trees = _from_xgboost(json.loads(bytes(self.booster.save_raw("json"))), self.features)
        else:
            trees = _from_lightgbm(self.booster.dump_model(), self.features, self.outputs)
        ours, theirs = trees.predict(self.sample), self.predict(self.sample)
        worst = float(np.max(np.abs(ours - theirs), initial=0.0))
        if not worst <= _TOLERANCE * max(1.0, float(np.max(np.abs(theirs), initial=0.0))):
            raise PermanentError(
                f"The trees that {self.library} grew answer otherwise when they are read as arrays (by up to {worst:.2g}).",
                next_step=f"The installed {self.library} is not the one in requirements.lock, or its format has changed: see ml/trees.py.",
            )
        return trees


def grow_xgboost(
    x: Matrix, y: Matrix, features: Sequence[str], parameters: Mapping[str, float | str], *, objective: str, threads: int, rounds: int
) -> Grown:
    """XGBoost's model for `objective` (binary:logistic). Same rows, parameters and threads give the same trees."""
    import xgboost

    threads = _useful(threads, len(x))
    data = xgboost.DMatrix(x, label=y, feature_names=list(features), nthread=threads)
    settings = {**parameters, "objective": objective, "nthread": threads, "seed": SEED, "tree_method": "hist", "verbosity": 0}
    booster = xgboost.train(settings, data, num_boost_round=rounds)
    return Grown("xgboost", booster, tuple(features), 1, x[:_SAMPLE], threads)


def grow_lightgbm(
    x: Matrix,
    y: Matrix,
    features: Sequence[str],
    parameters: Mapping[str, float],
    *,
    objective: str,
    threads: int,
    rounds: int,
    classes: int = 1,
) -> Grown:
    """LightGBM's model for `objective` (regression_l1, multiclass). Same rows, parameters and threads give the same trees."""
    import lightgbm

    threads = _useful(threads, len(x))
    settings: dict[str, Any] = {
        **parameters, "objective": objective, "num_threads": threads, "seed": SEED, "deterministic": True, "force_row_wise": True,
        "verbosity": -1, "feature_pre_filter": False,
    }  # fmt: skip
    if classes > 1:
        settings["num_class"] = classes
    data = lightgbm.Dataset(x, label=y, feature_name=list(features), free_raw_data=False)
    booster = lightgbm.train(settings, data, num_boost_round=rounds)
    return Grown("lightgbm", booster, tuple(features), classes, x[:_SAMPLE], threads)


def _useful(threads: int, rows: int) -> int:
    return max(1, min(threads, rows // _ROWS_A_THREAD))


def _from_xgboost(document: Mapping[str, Any], features: tuple[str, ...]) -> Trees:
    """XGBoost's JSON: a row goes left below (not at) the threshold; both are single precision, so "at most the number before" says it."""
    learner = document["learner"]
    if learner["objective"]["name"] != "binary:logistic":
        raise ValueError(f"no reader for XGBoost's objective {learner['objective']['name']}")
    base = float(str(learner["learner_model_param"]["base_score"]).strip("[]"))
    start = math.log(base / (1.0 - base))
    trees = []
    for tree in learner["gradient_booster"]["model"]["trees"]:
        left, right = tree["left_children"], tree["right_children"]
        is_leaf = [child < 0 for child in left]
        bounds = np.nextafter(np.asarray(tree["split_conditions"], dtype=np.float32), np.float32(-np.inf))
        trees.append(
            Tree(
                feature=tuple(-1 if leaf else int(f) for leaf, f in zip(is_leaf, tree["split_indices"], strict=True)),
                threshold=tuple(0.0 if leaf else float(b) for leaf, b in zip(is_leaf, bounds, strict=True)),
                left=tuple(max(0, child) for child in left),
                right=tuple(max(0, child) for child in right),
                unknown_left=tuple(int(side) for side in tree["default_left"]),
                value=tuple(float(v) if leaf else 0.0 for leaf, v in zip(is_leaf, tree["split_conditions"], strict=True)),
            )
        )
    return Trees(features, "sigmoid", (start,), tuple(trees))


def _from_lightgbm(document: Mapping[str, Any], features: tuple[str, ...], classes: int) -> Trees:
    trees = tuple(_flat(tree["tree_structure"]) for tree in document["tree_info"])
    return Trees(features, "softmax" if classes > 1 else "identity", (0.0,) * classes, trees)


def _flat(root: Mapping[str, Any]) -> Tree:
    """LightGBM's nested nodes in a row. A feature that had no unknown value in training reads an unknown one as 0."""
    rows: list[tuple[int, float, int, int, int, float]] = []
    for node, children in _walk(root):
        if children is None:
            rows.append((-1, 0.0, 0, 0, 0, float(node.get("leaf_value", 0.0))))
            continue
        if node["decision_type"] != "<=":
            raise ValueError(f"no reader for LightGBM's decision {node['decision_type']!r}")
        threshold = float(node["threshold"])
        unknown_left = node["default_left"] if node["missing_type"] == "NaN" else threshold >= 0.0
        rows.append((int(node["split_feature"]), threshold, children[0], children[1], int(unknown_left), 0.0))
    return Tree(*(tuple(column) for column in zip(*rows, strict=True)))


def _walk(root: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], tuple[int, int] | None]]:
    """Each node with its children's places in the row, a level after the other."""
    level: list[Mapping[str, Any]] = [root]
    placed = 1
    while level:
        below: list[Mapping[str, Any]] = []
        for node in level:
            if "split_feature" not in node:
                yield node, None
                continue
            yield node, (placed, placed + 1)
            below += [node["left_child"], node["right_child"]]
            placed += 2
        level = below
