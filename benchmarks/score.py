"""How fast champions answer: rows a second and one row alone, as the night answers them, beside the library that grew the trees.

`predict_*` is the whole task in a fresh process, imports included. The baseline is the library's own model on the same rows; its answers
must be the same, and a digest of ours is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import publish
from benchmarks.train import published, train_all
from ml.problem import open_marts, problem
from ml.registry import champion_folder, read_champion
from nocturne.settings import Settings

_TASK = """
import json, sys, time
from datetime import date
from ml.prediction import predict
from nocturne.ledger import MemoryMarks
from nocturne.settings import load_settings
from nocturne.tenants import Tenant
given = json.load(sys.stdin)
receipt = predict(Tenant.model_validate(given["tenant"]), date.fromisoformat(given["day"]), load_settings(), MemoryMarks())
print(json.dumps({"cpu": time.process_time(), "rows": receipt.count("answered")}))
"""


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of `work`."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def environment(settings: Settings) -> dict[str, str]:
    """This installation, for another process."""
    key = settings.master_key.get_secret_value() if settings.master_key else ""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "NOCTURNE_VAR": str(settings.var),
        "NOCTURNE_MASTER_KEY": key,
        "NOCTURNE_POSTGRES_PORT": str(settings.postgres_port),
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plays", type=int, default=300_000)
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--rows", type=int, default=200_000)
    arguments = parser.parse_args()
    with published(arguments.plays, arguments.days) as (tenant, _, day, settings, marks):
        train_all(tenant, day, settings, marks)
        champion = read_champion(tenant, "churn", settings)
        if champion is None:
            raise SystemExit("no churn champion was promoted in this world: take more plays")
        with open_marts(tenant, settings) as there:
            x = problem("churn").today(there, day).select(champion.features)
        many = np.tile(x, (arguments.rows // len(x) + 1, 1))[: arguments.rows]
        trees = champion.trees
        answers = trees.predict(many)
        ours = {"many": seconds(lambda: trees.predict(many), 3), "one": seconds(lambda: trees.predict(many[:1]), 300)}
        theirs = by_library(champion_folder(tenant, "churn", settings), many, answers, settings)
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _TASK],
            input=json.dumps({"tenant": tenant.model_dump(mode="json", by_alias=True), "day": day.isoformat()}),
            env=environment(settings),
            capture_output=True,
            text=True,
            check=True,
        )
        wall = time.perf_counter() - started
        task = json.loads(done.stdout)
        results: dict[str, Any] = {
            "rows_per_second": round(len(many) / ours["many"]),
            "single_ms": round(1_000 * ours["one"], 3),
            "predict_wall_seconds": round(wall, 2),
            "predict_cpu_seconds": round(task["cpu"], 2),
            "predict_rows": task["rows"],
            "answers_sha256": hashlib.sha256(np.round(answers, 6).tobytes()).hexdigest()[:16],
        }
        baselines = {"library_rows_per_second": round(len(many) / theirs["many"]), "library_single_ms": round(1_000 * theirs["one"], 3)}
        ratios = {
            "rows_per_second_vs_library": round(theirs["many"] / ours["many"], 3),
            "single_vs_library": round(ours["one"] / theirs["one"], 3),
        }
        params = {"rows": len(many), "trees": len(trees.trees), "features": len(trees.features)}
        publish("score", params=params, results=results, baselines=baselines, ratios=ratios)


def by_library(folder: Any, x: Any, answers: Any, settings: Settings) -> dict[str, float]:
    """Seconds of XGBoost's own model on the same rows. Stops if it answers otherwise."""
    import xgboost

    run = json.loads((folder / "metadata.json").read_text())["run_id"]
    (saved,) = (settings.var / "mlflow").glob(f"*/{run}/artifacts/model/model.*")
    booster = xgboost.Booster(model_file=str(saved))
    names = booster.feature_names

    def predict(rows: Any) -> Any:
        return booster.predict(xgboost.DMatrix(rows, feature_names=names))

    if not np.allclose(predict(x), answers[:, 0], atol=1e-5):
        raise SystemExit("the library answers otherwise")
    return {"many": seconds(lambda: predict(x), 3), "one": seconds(lambda: predict(x[:1]), 100)}


if __name__ == "__main__":
    main()
