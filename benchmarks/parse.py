"""How long Airflow takes to parse `dags/nightly.py` with 1,000 tenants, a task's own parse, and whether repeated parses make versions."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import publish, throwaway_installation
from nocturne.installation.database import EmbeddedDatabase
from nocturne.installation.services import airflow_environment
from nocturne.postgres import connect
from nocturne.settings import PROJECT, Settings

TENANT = """
name: Tenant {number}
time_zone: {zone}
currency: EUR
begins_on: 2026-01-01
sources:
  - {{name: plays, dataset: plays, kind: files, location: "{slug}/plays/{{day}}.ndjson", required: true}}
  - {{name: subscriptions, dataset: subscription_events, kind: files, location: "{slug}/subscriptions/{{day}}.ndjson"}}
  - {{name: tracks, dataset: tracks, kind: files, location: "{slug}/tracks.csv", format: csv}}
  - name: events
    dataset: interactions
    kind: files
    location: "{slug}/events/{{day}}.ndjson"
    columns: {{ts: bigint}}
    map: {{interaction_id: id, interacted_at: make_timestamp_ms(ts), listener_id: userId, interaction: lower(page)}}
"""
ZONES = ("Europe/Paris", "America/New_York", "Asia/Jakarta", "Asia/Kolkata")
PARSE = """
import time
from airflow.dag_processing.dagbag import DagBag
import nocturne.orchestration.dags
started, cpu = time.perf_counter(), time.process_time()
bag = DagBag({path!r})
assert not bag.import_errors, bag.import_errors
print("PARSED", len(bag.dags), time.perf_counter() - started, time.process_time() - cpu)
"""


def parse(settings: Settings, dag_id: str | None) -> tuple[int, float]:
    """(DAGs, seconds) of one parse in a fresh process; with `dag_id`, as in a task's process."""
    environment = airflow_environment(settings) | ({"_AIRFLOW_PARSING_CONTEXT_DAG_ID": dag_id} if dag_id else {})
    code = PARSE.format(path=str(PROJECT / "dags" / "nightly.py"))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    _, dags, seconds, _ = next(line for line in done.stdout.splitlines() if line.startswith("PARSED")).split()
    return int(dags), float(seconds)


def versions(settings: Settings, parses: int) -> tuple[int, int]:
    """(DAGs, most versions of one DAG) in Airflow's metadata after its own DAG processor parsed the files `parses` times."""
    environment = airflow_environment(settings) | {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "0"}
    for command in (
        [sys.executable, "-m", "nocturne.orchestration.prepare"],
        [sys.executable, "-m", "airflow", "dag-processor", "--num-runs", str(parses)],
    ):
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    with connect(settings, database="airflow") as connection:
        row = connection.execute(
            "SELECT count(*), max(n) FROM (SELECT count(*) AS n FROM dag_version WHERE dag_id LIKE %s GROUP BY dag_id) AS v",
            ("%__nightly",),
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def main() -> None:
    """Run the benchmark."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tenants", type=int, default=int(os.environ.get("TENANTS", 1_000)))
    options.add_argument("--parses", type=int, default=20)
    given = options.parse_args()
    with throwaway_installation() as base:
        folder = Path(base.var) / "tenants"
        folder.mkdir()
        for number in range(given.tenants):
            slug = f"tenant_{number:04d}"
            (folder / f"{slug}.yml").write_text(TENANT.format(number=number, slug=slug, zone=ZONES[number % len(ZONES)]))
        settings = base.model_copy(update={"tenants": folder})
        dags, full = parse(settings, None)
        assert dags == given.tenants
        _, single = parse(settings, f"tenant_{given.tenants // 2:04d}__nightly")
        EmbeddedDatabase(settings).start()
        started = time.perf_counter()
        known, most = versions(settings, given.parses)
        publish(
            "parse",
            params={"tenants": given.tenants, "parses": given.parses, "dags_in_metadata": known},
            results={
                "tenants": given.tenants,
                "full_parse_seconds": round(full, 3),
                "single_parse_seconds": round(single, 4),
                f"dag_versions_after_{given.parses}_parses": most,
                "processor_wall_seconds": round(time.perf_counter() - started, 1),
            },
            baselines={"bound_full_parse_seconds": 30, "bound_single_parse_seconds": 1},
            ratios={"single_to_full": round(single / full, 5)},
        )


if __name__ == "__main__":
    main()
