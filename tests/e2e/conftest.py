"""One whole installation for all end-to-end tests: its own state, ports and tenants, started by `nocturne up`, ended by `nocturne down`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from nocturne import lake
from nocturne.installation.airflow_api import TERMINAL, AirflowApi
from nocturne.installation.services import USER, airflow_environment, settings_environment
from nocturne.ledger import Ledger
from nocturne.postgres import fetch
from nocturne.quality import FINDINGS
from nocturne.settings import PROJECT, Settings, load_settings
from nocturne.simulator import World, WorldParameters, write_sources
from nocturne.tenants import Tenant, load_tenant
from tests.conftest import free_ports

REAL_LOG = PROJECT.parent / "shared" / "data" / "event_logs" / "music_app_events_2018_11.tar.xz"
WHOLE = WorldParameters(seed=5, days=75, listeners=220, artists=60, tracks=400, holders=3, time_zone="Asia/Jakarta", currency="IDR")
SERVICE = """
name: {name}
tier: {tier}
time_zone: Asia/Jakarta
currency: IDR
begins_on: 2026-03-01
sources:
  - {{name: plays, dataset: plays, kind: files, location: "{slug}/plays/{{day}}.ndjson", required: true}}
  - {{name: subscriptions, dataset: subscription_events, kind: files, location: "{slug}/subscriptions/{{day}}.ndjson"}}
  - {{name: payments, dataset: payments, kind: files, format: csv, location: "{slug}/payments/{{day}}.csv"}}
  - {{name: listeners, dataset: listeners, kind: files, location: "{slug}/listeners/{{day}}.ndjson"}}
  - {{name: plans, dataset: plans, kind: files, location: "{slug}/plans/{{day}}.ndjson"}}
  - {{name: tracks, dataset: tracks, kind: files, format: parquet, location: "{slug}/tracks/{{day}}.parquet"}}
  - {{name: artists, dataset: artists, kind: files, location: "{slug}/artists/{{day}}.ndjson"}}
"""


@dataclass(frozen=True)
class Installation:
    """A running installation, and what tests ask of it."""

    settings: Settings
    api: AirflowApi

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which a person would call `nocturne`."""
        return {**os.environ, **settings_environment(self.settings)}

    @property
    def ledger(self) -> Ledger:
        """Its ledger."""
        return Ledger(self.settings)

    def nocturne(self, *arguments: str, expect: int | None = 0, seconds: float = 900) -> str:
        """Call `nocturne`; what it printed."""
        command = [str(Path(sys.executable).parent / "nocturne"), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=seconds)
        if expect is not None:
            assert done.returncode == expect, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def airflow(self, *arguments: str) -> str:
        """Call Airflow's own command line, as an operator would."""
        command = [sys.executable, "-m", "airflow", *arguments]
        done = subprocess.run(command, env=airflow_environment(self.settings), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def tenant(self, slug: str) -> Tenant:
        """A tenant as its file declares it."""
        return load_tenant(self.settings.tenants / f"{slug}.yml")

    def add(self, slug: str, world: WorldParameters, *, tier: str = "pro", up_to: date | None = None) -> Tenant:
        """A tenant of its own with the sources of a simulated world."""
        path = self.settings.tenants / f"{slug}.yml"
        path.write_text(SERVICE.format(slug=slug, name=slug.replace("_", " ").title(), tier=tier))
        tenant = load_tenant(path)
        write_sources(tenant, World(world), self.settings.sources_root, up_to=up_to)
        return tenant

    def facts(self) -> dict[str, Any]:
        """What the last `nocturne nightly` left in nightly.json."""
        return dict(json.loads((self.settings.var / "nightly.json").read_text()))

    def wait_for_runs(self, dag_id: str, count: int, *, seconds: float = 600) -> list[dict[str, Any]]:
        """Wait until a DAG has this many runs that somebody asked for, and all of its runs are over; those that somebody asked for."""
        deadline = time.monotonic() + seconds
        while True:
            runs = self.api.runs(dag_id, limit=50)
            asked = [run for run in runs if run["run_type"] != "scheduled"]
            if len(asked) >= count and all(run["state"] in TERMINAL for run in runs):
                return asked
            assert time.monotonic() < deadline, f"{dag_id}: {[(run['dag_run_id'], run['state']) for run in runs]}"
            time.sleep(1)

    def marts(self, tenant: Tenant, *, without: str = "^$", but: Iterable[str] = ()) -> dict[str, str]:
        """A digest of every published mart's rows, whatever their order; columns whose name matches `without`, and the marts `but`, are left
        out.
        """
        columns = fetch(
            self.settings,
            "SELECT table_name AS mart, string_agg(quote_ident(column_name), ', ' ORDER BY column_name) AS columns"
            " FROM information_schema.columns WHERE table_schema = %s AND column_name !~ %s AND table_name NOT LIKE %s GROUP BY 1",
            (tenant.marts_schema, without, r"\_%"),
            role=tenant.owner_role,
        )
        digest = (
            "SELECT count(*) || ' ' || md5(coalesce(string_agg(line, E'\\n' ORDER BY line), '')) AS digest"
            " FROM (SELECT ROW({columns})::text AS line FROM {schema}.{mart}) AS lines"
        )
        return {
            row["mart"]: fetch(self.settings, digest.format(schema=tenant.marts_schema, **row), role=tenant.owner_role)[0]["digest"]
            for row in columns
            if row["mart"] not in but
        }

    def marts_but_for_keys(self, tenant: Tenant) -> dict[str, str]:
        """The same of what two tenants with the same deliveries have in common: pseudonyms differ from tenant to tenant, as they must, and so
        does where a listener stands in a sketch; how the nights went is another story for each of them.
        """
        return self.marts(tenant, without="_key$", but=(*FINDINGS.values(), "listener_sketches"))

    def silver(self, tenant: Tenant, *, without: tuple[str, ...] = ()) -> dict[str, str]:
        """A digest of every silver table's rows, whatever their order; the columns `without` are left out."""
        found = {}
        with lake.duck(self.settings) as duck:
            for dataset in tenant.datasets:
                table = lake.table(self.settings, tenant, "silver", dataset)
                if table.exists():
                    columns = ", ".join(f'"{name}"' for name, _, _ in dataset.silver_columns if name not in without)
                    row = duck.execute(
                        "SELECT count(*) || ' ' || md5(coalesce(string_agg(line, '|' ORDER BY line), ''))"
                        f" FROM (SELECT ROW({columns})::VARCHAR AS line FROM {table.scan()})"
                    ).fetchone()
                    found[dataset.name] = str(row[0]) if row else ""
        return found


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running installation with three small services and, where the log is at hand, a real app's month."""
    var = tmp_path_factory.mktemp("house")
    for folder in (var, *var.parents[:2]):
        folder.chmod(0o755)  # PostgreSQL's own user must reach its data
    names = ("airflow_port", "mlflow_port", "demo_port", "log_port", "trigger_log_port", "postgres_port")
    settings = load_settings(var=var, tenants=var / "tenants", **dict(zip(names, free_ports(len(names)), strict=True)))
    (var / "tenants").mkdir()
    house = Installation(settings, AirflowApi(settings, USER))
    few_days = WorldParameters(seed=11, days=6, listeners=120, artists=30, tracks=150, holders=3, time_zone="Asia/Jakarta", currency="IDR")
    house.add("whole_service", WHOLE)
    house.add("night_by_night", few_days, tier="free")
    house.add("backfilled", few_days, tier="free")
    if REAL_LOG.exists():
        with tarfile.open(REAL_LOG) as archive:
            archive.extractall(settings.sources_root, filter="data")
        shutil.copy(PROJECT / "tests" / "e2e" / "tenants" / "event_log.yml", settings.tenants)
    house.nocturne("up")
    try:
        yield house
    finally:
        house.api.close()
        house.nocturne("down")
