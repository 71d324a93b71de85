"""A night of a small tenant on the production shape: Celery, Redis, users with passwords, MLflow's server, all as the compose file says."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from nocturne.installation.airflow_api import TERMINAL, AirflowApi, admin_password
from nocturne.installation.services import USER
from nocturne.ledger import Ledger
from nocturne.postgres import connect, fetch
from nocturne.settings import load_settings
from nocturne.tenants import Tenant, load_tenant
from tests.e2e.native_compose import NativeCompose
from tests.integration.compose.compose_file import PROJECT
from tests.integration.compose.test_compose_file import SECRETS

pytestmark = pytest.mark.slow

# It is about noon where the tenant lives: its day does not change while the test runs.
OFFSET = 12 - datetime.now(UTC).hour
ZONE = ZoneInfo(f"Etc/GMT{-OFFSET:+}")  # their signs are POSIX's: Etc/GMT-3 is three hours ahead of Greenwich
LAST_DAY = datetime.now(ZONE).date() - timedelta(days=1)
DAYS = (LAST_DAY - timedelta(days=2), LAST_DAY - timedelta(days=1), LAST_DAY)
DUE_IN = timedelta(minutes=4)
"""From when the tenant's file is written until its night is due: all is up by then, for a night that was due before is not made up for."""
LISTENERS, TRACKS = 5, 6
CODE = ("plugins", "dags", "dbt", "expectations", "ml")
TENANT = f"""
name: Night Owl
tier: free
time_zone: {ZONE.key}
night_at: "{{night_at}}"
currency: EUR
begins_on: {DAYS[0]}
sources:
  - {{name: plays, dataset: plays, kind: files, format: ndjson, location: "night_owl/plays/{{day}}.ndjson", required: true}}
  - {{name: tracks, dataset: tracks, kind: files, format: ndjson, location: night_owl/tracks.ndjson}}
  - {{name: artists, dataset: artists, kind: files, format: ndjson, location: night_owl/artists.ndjson}}
"""


def plays(day: date) -> Iterator[dict[str, Any]]:
    """Each listener hears each track once, for 200 s and 20 s less from track to track; the last one for too short a time to count."""
    for listener in range(LISTENERS):
        for track in range(TRACKS):
            is_last = track == TRACKS - 1
            yield {
                "play_id": f"{day}-{listener}-{track}",
                "played_at": datetime.combine(day, time(8 + listener, 10 + 5 * track), ZONE).isoformat(),
                "listener_id": f"l{listener}",
                "track_id": f"t{track}",
                "ms_played": 9_000 if is_last else 200_000 - 20_000 * track,
                "reason_end": "forward" if is_last else "track_done",
                "context_type": "library",
                "country": "PT",
                "platform": "web",
                "tier": "free",
            }


def tracks() -> Iterator[dict[str, Any]]:
    """The tracks, of two artists in turn."""
    for number in range(TRACKS):
        yield {
            "track_id": f"t{number}",
            "title": f"Track {number}",
            "artist_id": f"a{number % 2}",
            "duration_ms": 240_000,
            "genre": "fado",
            "released_on": "2025-01-01",
        }


def artists() -> Iterator[dict[str, Any]]:
    """The two artists."""
    for number in range(2):
        yield {"artist_id": f"a{number}", "artist_name": f"Artist {number}", "country": "PT", "genre": "fado"}


def write_world(folder: Path) -> None:
    """The tenant's file, and what its sources deliver."""

    def write(name: str, rows: Iterator[dict[str, Any]]) -> None:
        path = folder / "sources" / "night_owl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    (folder / "tenants").mkdir()
    due_at = datetime.now(ZONE) + DUE_IN
    (folder / "tenants" / "night_owl.yml").write_text(TENANT.replace("{night_at}", f"{due_at:%H:%M}"))
    write("artists.ndjson", artists())
    write("tracks.ndjson", tracks())
    for day in DAYS:
        write(f"plays/{day}.ndjson", plays(day))


def files_of_the_project() -> set[str]:
    """What stands in the folders of the code, which the image holds as root's."""
    found = (path for name in CODE for path in (PROJECT / name).rglob("*") if path.is_file())
    return {str(path.relative_to(PROJECT)) for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeCompose]:
    """Everything that the compose file starts, on this machine."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (Debian's package of that name)")
    folder = tmp_path_factory.mktemp("production")
    for part in (folder, *folder.parents[:2]):
        part.chmod(0o755)  # PostgreSQL's own user must reach its data
    write_world(folder)
    password = admin_password(load_settings(master_key=SECRETS["NOCTURNE_MASTER_KEY"]))
    few = {"NOCTURNE_API_WORKERS": "1", "NOCTURNE_WORKER_CONCURRENCY": "2", "NOCTURNE_THREADS": "1"}
    compose = NativeCompose(folder, {**SECRETS, **few, "AIRFLOW_ADMIN_PASSWORD": password})
    try:
        compose.start()
        yield compose
    finally:
        compose.stop()


@pytest.fixture(scope="module")
def api(production: NativeCompose) -> Iterator[AirflowApi]:
    """Airflow's API, logged in as the operator whom `prepare` made."""
    with closing(AirflowApi(production.settings, USER)) as client:
        yield client


@pytest.fixture(scope="module")
def tenant(production: NativeCompose) -> Tenant:
    """The tenant as its file declares it."""
    return load_tenant(production.settings.tenants / "night_owl.yml")


class Patience:
    """How long we wait in all, half a second at a time."""

    def __init__(self, seconds: float) -> None:
        self.deadline = monotonic() + seconds

    def wait(self, state: object) -> None:
        """Wait a little, or fail with what the state is at the deadline."""
        assert monotonic() < self.deadline, state
        sleep(0.5)


def errors_of(production: NativeCompose, tenant: Tenant) -> dict[str, str]:
    """What the night's stations say of their failures."""
    receipts = Ledger(production.settings).receipts(tenant.slug, LAST_DAY)
    return {name: recorded.error for name, recorded in receipts.items() if recorded.error}


@pytest.fixture(scope="module")
def night(production: NativeCompose, api: AirflowApi, tenant: Tenant) -> dict[str, Any]:
    """The tenant's night, which begins by itself, when it is over: the run, its tasks, and what it wrote among the code."""
    before = files_of_the_project()
    patience = Patience(600)
    while not (runs := api.runs(tenant.nightly_dag)):
        patience.wait(api.import_errors())
    run_id = runs[-1]["dag_run_id"]
    while (run := api.run(tenant.nightly_dag, run_id) or {}).get("state") not in TERMINAL:
        states = {name: task["state"] for name, task in api.tasks(tenant.nightly_dag, run_id).items()}
        patience.wait(states)
        # Nothing here is away for a moment: a task that wants another try has failed.
        assert "up_for_retry" not in states.values(), (states, errors_of(production, tenant))
    return {**run, "tasks": api.tasks(tenant.nightly_dag, run_id), "written": files_of_the_project() - before}


def test_the_night_begins_by_itself_and_succeeds(production: NativeCompose, night: dict[str, Any], tenant: Tenant) -> None:
    assert night["run_type"] == "scheduled"
    assert (night["state"], errors_of(production, tenant)) == ("success", {})
    states = {name: task["state"] for name, task in night["tasks"].items()}
    assert states.pop("watch_models") in {"success", "skipped"}  # skipped: no model is due
    assert set(states.values()) == {"success"}


def test_its_marts_are_published(production: NativeCompose, night: dict[str, Any], tenant: Tenant) -> None:
    found = fetch(
        production.settings,
        f"SELECT played_on, play_count, stream_count, listeners_1d FROM {tenant.marts_schema}.activity_days"
        f" WHERE play_count > 0 ORDER BY played_on",
        role=tenant.reader_role,
    )
    expected = (LISTENERS * TRACKS, LISTENERS * (TRACKS - 1), LISTENERS)
    assert [tuple(row.values()) for row in found] == [(day, *expected) for day in DAYS]
    assert list((production.settings.reports_root / tenant.slug / LAST_DAY.isoformat()).glob("*.pdf"))


def test_celery_ran_every_task(production: NativeCompose, night: dict[str, Any]) -> None:
    with connect(production.settings, database="airflow") as connection:
        ran = connection.execute(
            "SELECT ti.task_id FROM task_instance AS ti JOIN celery_taskmeta AS celery ON celery.task_id = ti.external_executor_id"
            " WHERE ti.dag_id = %s AND ti.run_id = %s",
            (night["dag_id"], night["dag_run_id"]),
        ).fetchall()
    assert {task for (task,) in ran} == night["tasks"].keys()


def test_the_worker_had_loaded_everything_before_it_forked(production: NativeCompose, night: dict[str, Any]) -> None:
    log = production.log_of("worker")
    assert "is left out" not in log
    assert re.search(r"preload: \d+ modules", log)
    assert log.index("preload: ") < log.index("Executing workload in Celery")


def test_a_night_writes_nothing_among_the_code(night: dict[str, Any]) -> None:
    """In the image it could not: the code belongs to root."""
    assert night["written"] == set()


def test_nobody_gets_in_without_a_login(production: NativeCompose) -> None:
    address = f"http://127.0.0.1:{production.ports['api-server']}"
    assert httpx.get(f"{address}/api/v2/dags").status_code == 401
    assert httpx.post(f"{address}/auth/token", json={"username": USER, "password": "wrong"}).status_code == 401
    task = f"{address}/execution/task-instances/00000000-0000-0000-0000-000000000000/heartbeat"
    assert httpx.put(task, json={"hostname": "elsewhere", "pid": 1}).status_code in {401, 403}


def test_mlflow_answers_those_alone_who_call_it_by_its_name(production: NativeCompose) -> None:
    address = f"http://127.0.0.1:{production.ports['mlflow']}/api/2.0/mlflow/experiments/search"
    assert httpx.post(address, json={"max_results": 1}).status_code == 200
    assert httpx.post(address, json={"max_results": 1}, headers={"Host": "elsewhere.example"}).status_code == 403


def test_preparing_again_changes_nothing(production: NativeCompose, api: AirflowApi, night: dict[str, Any], tenant: Tenant) -> None:
    """The operator's password stays as it is, even if the file has another one by now."""
    production.services["prepare"].environment["AIRFLOW_ADMIN_PASSWORD"] = "another"  # type: ignore[index]
    production.run("prepare")
    with closing(AirflowApi(production.settings, USER)) as fresh:
        assert fresh.run(tenant.nightly_dag, night["dag_run_id"]) == api.run(tenant.nightly_dag, night["dag_run_id"])
