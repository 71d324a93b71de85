"""One night of one tenant with 100,000 new events through Airflow: wall and CPU seconds, task by task; then the same night again.

The history is taken in and the models are trained before the measurement begins. CPU seconds are what the kernel counted for the task
processes with their children (from the receipts), for PostgreSQL with its ended backends, and for each of Airflow's own processes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks import publish, throwaway_installation
from nocturne.installation.airflow_api import AirflowApi
from nocturne.installation.commands import NIGHT_SERVICES, set_up, start_services, wait_for_dags
from nocturne.installation.database import EmbeddedDatabase
from nocturne.installation.display import Display
from nocturne.installation.nightly import TenantNight, run_nights
from nocturne.installation.services import USER, Processes
from nocturne.ledger import Ledger
from nocturne.postgres import fetch
from nocturne.settings import Settings
from nocturne.simulator import World, WorldParameters, write_sources
from nocturne.tenants import Tenant, load_tenants

TICKS = os.sysconf("SC_CLK_TCK")
TENANT = """
name: A service that is measured
tier: enterprise
time_zone: Europe/Paris
currency: EUR
begins_on: 2026-03-01
sources:
  - {name: plays, dataset: plays, kind: files, location: "measured/plays/{day}.ndjson", required: true}
  - {name: subscriptions, dataset: subscription_events, kind: files, location: "measured/subscription_events/{day}.ndjson"}
  - {name: payments, dataset: payments, kind: files, location: "measured/payments/{day}.ndjson"}
  - {name: listeners, dataset: listeners, kind: files, location: "measured/listeners.ndjson"}
  - {name: plans, dataset: plans, kind: files, location: "measured/plans.ndjson"}
  - {name: tracks, dataset: tracks, kind: files, location: "measured/tracks.ndjson"}
  - {name: artists, dataset: artists, kind: files, location: "measured/artists.ndjson"}
"""
LISTENERS_FOR_EVENTS = 5.69
"""Plays of a listener and day in this world, about."""
BARE_TASK = "from airflow.sdk import DAG; import resource; u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime)"


def cpu_of(pid: int, *, with_ended_children: bool = True) -> float:
    """CPU seconds that the kernel counted for a process, and for those of its children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    own, ended = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return (own + (ended if with_ended_children else 0)) / TICKS


def postgres_cpu(settings: Settings) -> float:
    """CPU seconds of the server, its ended backends and those that run."""
    server = int((EmbeddedDatabase(settings).data_folder / "postmaster.pid").read_text().splitlines()[0])
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return cpu_of(server) + sum(cpu_of(int(child)) for child in children if Path(f"/proc/{child}").exists())


def services_cpu(processes: Processes) -> dict[str, float]:
    """CPU seconds of each of Airflow's own processes; those of tasks are counted in their receipts."""
    found = {}
    for name in NIGHT_SERVICES:
        pid = processes.pid(name)
        if pid is not None:
            # The scheduler's ended children are its workers and, through them, the tasks.
            found[name] = cpu_of(pid, with_ended_children=name != "scheduler")
    return found


def one_night(settings: Settings, tenant: Tenant, api: AirflowApi, processes: Processes, day: date) -> dict[str, Any]:
    """Run the night of a day and measure it."""
    night = TenantNight(tenant, day, api, lambda *_: None)
    night.plan()
    postgres, services = postgres_cpu(settings), services_cpu(processes)
    started = time.perf_counter()
    run_nights([night], poll_seconds=0.5)
    wall = time.perf_counter() - started
    if night.failed:
        raise SystemExit(f"the night of {day} failed: see {settings.var / 'log'}")
    receipts = Ledger(settings).receipts(tenant.slug, day)
    now = services_cpu(processes)
    return {
        "wall": wall,
        "tasks": {name: round(found.cpu_seconds or 0.0, 2) for name, found in sorted(receipts.items())},
        "task_walls": {name: round(found.receipt.seconds, 2) for name, found in sorted(receipts.items())},
        "postgres": postgres_cpu(settings) - postgres,
        "services": {name: round(now[name] - services.get(name, 0.0), 2) for name in now},
    }


def write_world(settings: Settings, tenant: Tenant, events: int, days: int) -> tuple[date, int]:
    """Write the sources; (the last day, the plays that are delivered on it)."""
    parameters = WorldParameters(
        seed=3, days=days, listeners=round(events / LISTENERS_FOR_EVENTS), artists=400, tracks=4_000, sessions_a_day=1.4, existing=0.9
    )
    world = World(parameters)
    write_sources(tenant, world, settings.sources_root)
    return parameters.last_day, len(world.delivered("plays", parameters.last_day))


def import_cpu() -> tuple[float, float]:
    """(CPU seconds of everything that workers load once before they fork, CPU seconds of a bare task process) in fresh processes."""
    code = "from nocturne.orchestration.preload import preload; print(preload())"
    done = [subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True) for text in (code, BARE_TASK)]
    preload, bare = (float(one.stdout.splitlines()[-1]) for one in done)
    return preload, bare


def total(measured: Mapping[str, Any]) -> float:
    """CPU seconds of the tasks and of PostgreSQL."""
    return float(sum(measured["tasks"].values()) + measured["postgres"])


def main() -> None:
    """Run the benchmark."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=100_000, help="plays of the measured day")
    options.add_argument("--days", type=int, default=45, help="days of history")
    given = options.parse_args()
    with throwaway_installation() as base:
        folder = base.var / "tenants"
        folder.mkdir()
        (folder / "measured.yml").write_text(TENANT)
        settings = base.model_copy(update={"tenants": folder})
        roll = load_tenants(folder)
        tenant = roll.get("measured")
        last, events = write_world(settings, tenant, given.events, given.days)
        display, processes = Display(), Processes(settings)
        set_up(settings, display, roll)
        started = start_services(settings, display, processes, NIGHT_SERVICES)
        try:
            api = AirflowApi(settings, USER)
            wait_for_dags(api, roll, processes)
            one_night(settings, tenant, api, processes, last - timedelta(days=1))
            measured = one_night(settings, tenant, api, processes, last)
            again = one_night(settings, tenant, api, processes, last)
        finally:
            processes.stop(started)
        rows = fetch(settings, f"SELECT count(*) AS plays FROM {tenant.marts_schema}.plays", role=tenant.owner_role)[0]["plays"]
        preload, bare = import_cpu()
    publish(
        "nightly",
        params={"new_events": events, "history_days": given.days, "plays_in_marts": rows},
        results={
            "wall_seconds": round(measured["wall"], 1),
            "cpu_seconds": round(total(measured), 1),
            "cpu_seconds_by_task": measured["tasks"],
            "wall_seconds_by_task": measured["task_walls"],
            "cpu_seconds_of_postgres": round(measured["postgres"], 1),
            "cpu_seconds_of_airflow": measured["services"],
            "import_cpu_seconds": round(preload, 1),
            "second_run_wall_seconds": round(again["wall"], 1),
            "second_run_cpu_seconds": round(total(again), 1),
        },
        baselines={"bare_task_process_cpu_seconds": round(bare, 2), "aim_cpu_seconds": 57},
        ratios={"cpu_to_aim": round(total(measured) / 57, 2), "second_run_to_first_cpu": round(total(again) / total(measured), 2)},
    )


if __name__ == "__main__":
    main()
