"""What every DAG of every tenant must have: an owner, tags, retries, a pool, notes for the person on call; and no work in the files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nocturne.tenants import load_tenants

PROJECT = Path(__file__).resolve().parents[2]
FILES = ("nightly.py", "training.py", "maintenance.py", "rollback.py", "deliveries.py")
GOOD = """
name: A label
time_zone: America/New_York
currency: USD
tier: {tier}
begins_on: 2026-01-01
night_at: "04:30"
sources:
  - {{name: plays, dataset: plays, kind: files, location: "plays/{{day}}.ndjson"}}
  - {{name: subscriptions, dataset: subscription_events, kind: files, location: "subscriptions/{{day}}.ndjson"}}
  - {{name: tracks, dataset: tracks, kind: files, location: tracks.csv, format: csv}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tenants whose files are right and one whose file is broken."""
    tenants = tmp_path / "tenants"
    tenants.mkdir()
    (tenants / "first_label.yml").write_text(GOOD.format(tier="pro"))
    (tenants / "second_label.yml").write_text(GOOD.format(tier="enterprise"))
    (tenants / "broken_label.yml").write_text("name: Broken\ncurrency: EURO\n")
    monkeypatch.setenv("NOCTURNE_TENANTS", str(tenants))
    return tenants


def parse(name: str) -> dict[str, Any]:
    """The DAGs of a file, as Airflow would find them."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(PROJECT / "dags" / name)
    assert bag.import_errors == {}
    return dict(bag.dags)


def all_tasks(folder: Path) -> Iterator[tuple[Any, Any]]:
    for file in FILES:
        for dag in parse(file).values():
            for task in dag.tasks:
                yield dag, task


def test_a_night_reads_like_the_path_of_the_data(folder: Path) -> None:
    dag = parse("nightly.py")["first_label__nightly"]
    assert [task.task_id for task in dag.topological_sort()] == [
        "land", "load_bronze", "gate_bronze", "refine_silver", "load_warehouse", "build_marts", "gate_marts", "publish_marts",
        "predict", "find_insights", "render_reports", "watch_models", "raise_alerts",
    ]  # fmt: skip


def test_a_night_has_at_most_fifteen_tasks(folder: Path) -> None:
    assert all(len(dag.tasks) <= 15 for dag in parse("nightly.py").values())


@pytest.mark.parametrize("file", ["nightly.py", "maintenance.py"])
def test_what_was_due_before_its_tenant_was_there_is_not_made_up_for(folder: Path, file: str) -> None:
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable

    now = datetime.now(ZoneInfo("America/New_York"))
    path, due = folder / "first_label.yml", now - timedelta(minutes=5)
    path.write_text(path.read_text().replace("04:30", f"{due:%H:%M}"))
    dag = parse(file)[f"first_label__{file.removesuffix('.py')}"]
    stored = CronTriggerTimetable.deserialize(json.loads(json.dumps(dag.timetable.serialize())))
    first = stored.next_dagrun_info(last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False))
    assert first is not None
    assert first.run_after > now


def test_nothing_flows_around_a_gate(folder: Path) -> None:
    dag = parse("nightly.py")["first_label__nightly"]
    for before, gate, after in (("load_bronze", "gate_bronze", "refine_silver"), ("build_marts", "gate_marts", "publish_marts")):
        assert dag.get_task(gate).upstream_task_ids == {before}
        assert dag.get_task(after).upstream_task_ids == {gate}
        assert dag.get_task(after).trigger_rule == "all_success"


def test_a_person_says_in_a_form_what_is_taken_back(folder: Path) -> None:
    dag = parse("rollback.py")["first_label__rollback"]
    assert dag.schedule is None
    assert [task.task_id for task in dag.tasks] == ["steer_marts"]
    assert {name: dag.params[name] for name in dag.params} == {"action": "roll back", "publish": None, "reason": ""}
    context = {
        "params": {"action": "roll back", "publish": 7, "reason": "wrong prices"},
        "dag_run": SimpleNamespace(dag_id="d", run_id="r"),
    }
    more = dag.get_task("steer_marts")._extra(None, context)
    assert more == {"action": "roll back", "publish_id": 7, "reason": "wrong prices", "asked": "d/r", "by": "Airflow's run r"}


def test_a_person_says_in_a_form_which_delivery_is_taken_back(folder: Path) -> None:
    dag = parse("deliveries.py")["first_label__deliveries"]
    assert dag.schedule is None
    assert dag.params.get_param("source").schema["enum"] == ["plays", "subscriptions", "tracks"]
    given = {"source": "plays", "delivered": "2026-03-29", "action": "withdraw", "number": None, "reason": "another's plays"}
    context = {"params": given, "dag_run": SimpleNamespace(dag_id="d", run_id="r")}
    assert dag.get_task("steer_deliveries")._extra(None, context) == {
        "source": "plays",
        "of": date(2026, 3, 29),
        "action": "withdraw",
        "number": None,
        "reason": "another's plays",
        "asked": "d/r",
        "by": "Airflow's run r",
    }


def test_maintenance_removes_before_it_packs(folder: Path) -> None:
    tasks = parse("maintenance.py")["first_label__maintenance"].topological_sort()
    assert [task.task_id for task in tasks] == ["trim_deliveries", "pack_landing", "tidy_lake", "trim_journal"]


def test_alerts_are_raised_whatever_happened(folder: Path) -> None:
    dag = parse("nightly.py")["first_label__nightly"]
    assert dag.get_task("raise_alerts").trigger_rule == "all_done"
    assert dag.leaves == [dag.get_task("raise_alerts")]


def test_every_task_has_what_the_person_on_call_needs(folder: Path) -> None:
    for dag, task in all_tasks(folder):
        assert "When it fails" in task.doc_md, task.task_id
        assert task.owner == "operations"
        assert task.retries >= 1
        assert task.execution_timeout is not None
        assert task.pool in {"nocturne_pro", "nocturne_enterprise"}
        assert {"nocturne", f"tenant:{dag.dag_id.split('__')[0]}"} <= set(dag.tags)
        assert dag.max_active_runs == 1
        assert dag.doc_md


def test_a_broken_file_takes_down_its_own_tenant_only(folder: Path) -> None:
    assert set(parse("nightly.py")) == {"first_label__nightly", "second_label__nightly"}


def test_a_broken_file_is_an_import_error_that_names_file_and_line(folder: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    (errors,) = DagBag(PROJECT / "dags" / "broken_tenants.py").import_errors.values()
    assert "broken_label.yml:2" in errors
    (folder / "broken_label.yml").unlink()
    assert DagBag(PROJECT / "dags" / "broken_tenants.py").import_errors == {}


def test_a_task_builds_its_own_dag_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "second_label__nightly")
    assert set(parse("nightly.py")) == {"second_label__nightly"}


def test_a_dag_is_written_the_same_at_every_parse(folder: Path) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    def written() -> dict[str, str]:
        return {dag_id: json.dumps(DagSerialization.to_dict(dag), sort_keys=True) for file in FILES for dag_id, dag in parse(file).items()}

    assert written() == written()


def test_no_secret_is_in_a_dag(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    monkeypatch.setenv("NOCTURNE_MASTER_KEY", "ab" * 32)
    written = "".join(json.dumps(DagSerialization.to_dict(dag)) for dag in parse("nightly.py").values())
    assert "abab" not in written
    assert "password" not in written.lower()


def test_the_demo_tenants_files_are_right() -> None:
    roll = load_tenants(PROJECT / "dags" / "tenants")
    assert roll.broken == ()
    assert len(roll.tenants) == 3
