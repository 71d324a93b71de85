"""Training of every problem on published marts: what the search costs, what a refit costs, and how good each champion is.

The marts are built and published by their own stations from the true silver of a simulated world. `search_seconds` is the task `tune`,
`refit_seconds` the task `train` (all fits of the final model, MLflow included), each of all problems together with all imports. Beside each
metric stand its naive baseline and, where the world knows it, the best that anybody could reach who knows the world's law.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

from benchmarks import publish, start_database, throwaway_installation
from benchmarks.warehouse import tenant_of, world_of, write_silver
from ml.registry import read_champion
from ml.training import judge, promote, train, tune
from nocturne.ledger import MemoryMarks
from nocturne.marts import build_marts, publish_marts
from nocturne.settings import Settings
from nocturne.simulator import World
from nocturne.simulator.answers import churn_oracle
from nocturne.tenants import Tenant
from nocturne.warehouse import load_warehouse


@contextmanager
def published(plays: int, days: int) -> Iterator[tuple[Tenant, World, date, Settings, MemoryMarks]]:
    """A tenant whose marts of a whole world are published."""
    world = world_of(plays, days)
    tenant, marks, day = tenant_of(world), MemoryMarks(), world.parameters.last_day
    with throwaway_installation() as settings:
        start_database(settings, tenant)
        write_silver(world, tenant, settings, marks, world.days)
        for station in (load_warehouse, build_marts, publish_marts):
            station(tenant, day, settings, marks)
        yield tenant, world, day, settings, marks


def train_all(tenant: Tenant, day: date, settings: Settings, marks: MemoryMarks) -> dict[str, tuple[float, float]]:
    """(wall seconds, CPU seconds of this process) of each step of a training of all problems."""
    spent = {}
    for step in (tune, train, judge, promote):
        wall, cpu = time.perf_counter(), time.process_time()
        step(tenant, day, settings, marks)
        spent[step.__name__] = (round(time.perf_counter() - wall, 2), round(time.process_time() - cpu, 2))
    return spent


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plays", type=int, default=600_000)
    parser.add_argument("--days", type=int, default=120)
    arguments = parser.parse_args()
    with published(arguments.plays, arguments.days) as (tenant, world, day, settings, marks):
        spent = train_all(tenant, day, settings, marks)
        results: dict[str, Any] = {
            "search_seconds": spent["tune"][0],
            "search_cpu_seconds": spent["tune"][1],
            "refit_seconds": spent["train"][0],
            "refit_cpu_seconds": spent["train"][1],
            "judge_seconds": spent["judge"][0],
            "promote_seconds": spent["promote"][0],
        }
        baselines: dict[str, Any] = {}
        ratios: dict[str, Any] = {}
        for name in ("churn", "forecast", "genre"):
            champion = read_champion(tenant, name, settings)
            if champion is None:
                results[f"{name}_promoted"] = False
                continue
            metric, baseline = champion.metadata["metric"], champion.metadata["baseline"]
            results |= {f"{name}_{score}": round(value, 5) for score, value in champion.metadata["scores"].items()}
            baselines[f"{name}_{metric['name']}"] = round(baseline["value"], 5)
            ratios[f"{name}_{metric['name']}_vs_baseline"] = round(metric["value"] / baseline["value"], 4)
        first = champion_window(tenant, settings)
        if first is not None:
            baselines["churn_best_roc_auc"] = churn_oracle(world, first).scores()["auc"]
        params = {"plays": arguments.plays, "days": arguments.days, "listeners": world.parameters.listeners, "trials": tenant.limits.trials}
        publish("train", params=params, results=results, baselines=baselines, ratios=ratios)


def champion_window(tenant: Tenant, settings: Settings) -> date | None:
    """The day of the first snapshot that the churn champion was judged on, about."""
    champion = read_champion(tenant, "churn", settings)
    return None if champion is None else date.fromisoformat(champion.metadata["judged_window"]["from"]) - timedelta(days=1)


if __name__ == "__main__":
    main()
