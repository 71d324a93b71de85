"""Trees read as arrays answer what their library answers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ml.trees import Grown, Tree, Trees, grow_lightgbm, grow_xgboost
from nocturne.errors import PermanentError

FEATURES = ("a", "b", "c", "d")


def rows(count: int, seed: int, *, unknown: bool = True, whole: bool = True) -> np.ndarray:
    """Rows on a coarse grid, so that values fall on thresholds, with unknown values in the first feature."""
    dice = np.random.default_rng(seed)
    x = dice.integers(-4, 5, (count, 4)).astype(np.float32) if whole else dice.normal(size=(count, 4)).astype(np.float32)
    if unknown:
        x[dice.random(count) < 0.2, 0] = np.nan
    return x


def label(x: np.ndarray) -> np.ndarray:
    return (np.nan_to_num(x[:, 0], nan=3.0) + x[:, 1] * x[:, 2] > 1).astype(np.float64)


def grow(library: str, x: np.ndarray, seed: int) -> Grown:
    plain = {"learning_rate": 0.3, "lambda_l2": 1.0, "num_leaves": 9, "min_data_in_leaf": 3}
    if library == "xgboost":
        parameters = {"eta": 0.3, "max_depth": 4, "subsample": 0.8}
        return grow_xgboost(x, label(x), FEATURES, parameters, objective="binary:logistic", threads=1, rounds=12)
    if library == "regression":
        return grow_lightgbm(x, label(x) * 3 + x[:, 3], FEATURES, plain, objective="regression_l1", threads=1, rounds=12)
    classes = (label(x) + 2 * (x[:, 3] > 0)).astype(int)
    return grow_lightgbm(x, classes, FEATURES, plain, objective="multiclass", threads=1, rounds=6, classes=4)


@pytest.mark.parametrize("library", ["xgboost", "regression", "multiclass"])
@pytest.mark.parametrize("whole", [True, False], ids=["on thresholds", "between them"])
def test_unseen_rows_get_the_librarys_answer(library: str, whole: bool) -> None:
    grown = grow(library, rows(800, 1, whole=whole), 1)
    unseen = rows(3_333, 2, whole=whole)  # more than one block, the last one not full
    np.testing.assert_allclose(grown.trees.predict(unseen), grown.predict(unseen), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("library", ["xgboost", "regression", "multiclass"])
def test_unknown_values_where_training_had_none(library: str) -> None:
    grown = grow(library, rows(800, 3, unknown=False), 3)
    unseen = rows(500, 4)
    unseen[::7, 2] = np.nan
    np.testing.assert_allclose(grown.trees.predict(unseen), grown.predict(unseen), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("library", ["xgboost", "regression", "multiclass"])
def test_text_gives_the_same_trees_back(library: str) -> None:
    trees = grow(library, rows(400, 5), 5).trees
    assert Trees.from_json(trees.to_json()) == trees


@pytest.mark.parametrize("library", ["xgboost", "regression", "multiclass"])
def test_the_same_rows_give_the_same_trees(library: str) -> None:
    assert grow(library, rows(400, 6), 6).trees == grow(library, rows(400, 6), 6).trees


def test_a_row_at_the_threshold_goes_left() -> None:
    stump = Tree(
        feature=(0, -1, -1), threshold=(2.0, 0.0, 0.0), left=(1, 0, 0), right=(2, 0, 0), unknown_left=(0, 0, 0), value=(0.0, 1.0, 5.0)
    )
    trees = Trees(("a",), "identity", (10.0,), (stump,))
    assert trees.predict(np.array([[1.0], [2.0], [2.5], [np.nan]])).ravel().tolist() == [11.0, 11.0, 15.0, 15.0]


def test_an_ensemble_without_trees_answers_with_its_start() -> None:
    assert Trees(("a",), "identity", (2.0,), ()).predict(np.zeros((3, 1))).ravel().tolist() == [2.0, 2.0, 2.0]


def test_no_rows_get_no_answers() -> None:
    assert Trees(("a", "b"), "softmax", (0.0, 0.0), ()).predict(np.zeros((0, 2))).shape == (0, 2)


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="read 1 features"):
        Trees(("a",), "identity", (0.0,), ()).predict(np.zeros((3, 2)))


def test_a_library_whose_answers_differ_is_refused() -> None:
    class Liar:
        def __init__(self, booster: object) -> None:
            self.booster = booster

        def __getattr__(self, name: str) -> object:
            return getattr(self.booster, name)

        def predict(self, data: object) -> np.ndarray:
            return np.full(400, 0.5)

    true = grow("xgboost", rows(400, 7), 7)
    with pytest.raises(PermanentError, match="answer otherwise"):
        Grown("xgboost", Liar(true.booster), true.features, 1, true.sample, 1).trees  # noqa: B018


@pytest.mark.parametrize("module", ["ml.prediction", "ml.training", "ml.registry", "ml.churn", "ml.forecast", "ml.genre"])
def test_importing_a_room_imports_no_heavy_library(module: str) -> None:
    heavy = "mlflow", "optuna", "sklearn", "scipy", "xgboost", "lightgbm", "pandas", "duckdb"
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=sys.path[0] or None, env=_environment()
    )
    assert done.stdout.strip() == "[]"


def _environment() -> dict[str, str]:
    from nocturne.settings import PROJECT

    return {"PYTHONPATH": f"{PROJECT / 'plugins'}:{PROJECT}", "PATH": "/usr/bin:/bin"}
