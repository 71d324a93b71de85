"""A whole night through Airflow's own scheduler: files in, PDF out; and the same night again."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path

import pytest

from nocturne.postgres import connect, fetch
from nocturne.simulator import World
from tests.e2e.conftest import REAL_LOG, WHOLE, Installation

DAY = date(2026, 5, 14)
STATIONS = {
    "land", "load_bronze", "gate_bronze", "refine_silver", "load_warehouse", "build_marts", "gate_marts", "publish_marts",
    "predict", "find_insights", "render_reports", "watch_models", "raise_alerts",
}  # fmt: skip


@pytest.fixture(scope="module")
def night(installation: Installation) -> dict[str, object]:
    """The facts of the first command: history, training and the day's night."""
    said = installation.nocturne("nightly", "whole_service", "--day", DAY.isoformat())
    assert "All nights are done" in said
    return installation.facts()


def test_every_station_left_a_receipt(installation: Installation, night: dict[str, object]) -> None:
    receipts = installation.ledger.receipts("whole_service", DAY)
    assert set(receipts) == STATIONS
    assert {name for name, found in receipts.items() if found.outcome != "done"} == set()


def test_what_was_played_stands_in_the_marts(installation: Installation, night: dict[str, object]) -> None:
    tenant = installation.tenant("whole_service")
    world = World(WHOLE)
    (facts,) = night["tenants"]  # type: ignore[misc]
    rows = facts["datasets"]["plays"]  # type: ignore[index]
    assert rows["landed"] == sum(len(delivery) for _, delivery in world.deliveries("plays"))
    assert rows["landed"] == rows["left_out"] + rows["kept"] + rows["duplicates"] + rows["quarantined"]
    assert rows["quarantined"] > 0
    assert rows["duplicates"] > 0
    listeners = fetch(
        installation.settings, f"SELECT count(DISTINCT listener_key) AS n FROM {tenant.marts_schema}.plays", role=tenant.owner_role
    )
    assert 0 < listeners[0]["n"] <= 220


def test_every_problem_has_a_champion_that_beats_its_naive_baseline(night: dict[str, object]) -> None:
    (facts,) = night["tenants"]  # type: ignore[misc]
    assert set(facts["models"]) == {"churn", "forecast", "genre"}  # type: ignore[index]
    known = [model for model in facts["models"].values() if "metric" in model]  # type: ignore[index]
    assert known, facts["models"]  # type: ignore[index]
    assert all(math.isfinite(model["value"]) and math.isfinite(model["baseline"]) for model in known)


def test_the_report_is_a_pdf_of_real_pages(night: dict[str, object]) -> None:
    from pypdf import PdfReader

    (facts,) = night["tenants"]  # type: ignore[misc]
    paths = {Path(path).suffix: Path(path) for path in facts["reports"]}  # type: ignore[index]
    assert {".pdf", ".xlsx"} <= set(paths)
    pages = PdfReader(paths[".pdf"]).pages
    assert len(pages) >= 4
    assert "Whole Service" in pages[0].extract_text()
    assert {path.suffix for path in paths[".pdf"].parent.rglob("*")} >= {".png", ".svg"}


def test_the_same_night_again_does_nothing_new(installation: Installation, night: dict[str, object]) -> None:
    tenant = installation.tenant("whole_service")
    before = installation.marts(tenant), installation.silver(tenant)
    installation.nocturne("nightly", "whole_service", "--day", DAY.isoformat())
    assert (installation.marts(tenant), installation.silver(tenant)) == before
    receipts = installation.ledger.receipts("whole_service", DAY)
    for station in ("load_bronze", "refine_silver", "load_warehouse"):
        assert all(entry.skipped for entry in receipts[station].receipt.entries), station


def test_what_was_published_is_taken_back_and_brought_again_from_airflow(installation: Installation, night: dict[str, object]) -> None:
    tenant = installation.tenant("whole_service")
    before = installation.marts(tenant)
    publishes = f"SELECT max(publish_id) AS newest FROM {tenant.marts_schema}._publishes"
    newest = fetch(installation.settings, publishes, role=tenant.owner_role)[0]["newest"]
    asked: list[dict[str, object]] = [
        {"action": "roll back", "reason": "prices of plans were wrong"},
        {"action": "roll back", "publish": newest, "reason": "they were right"},
        {"action": "release"},
    ]
    installation.api.unpause(tenant.rollback_dag)
    found = []
    for number, conf in enumerate(asked, start=1):
        installation.api.trigger(tenant.rollback_dag, f"by-hand-{number}", logical_date=None, conf=conf)
        runs = installation.wait_for_runs(tenant.rollback_dag, number)
        assert {run["state"] for run in runs} == {"success"}
        found.append(installation.marts(tenant))
    assert found[0] != before
    assert found[1:] == [before, before]
    assert fetch(installation.settings, publishes, role=tenant.owner_role)[0]["newest"] == newest + 2


def test_a_delivery_is_taken_back_and_brought_again_from_airflow(installation: Installation, night: dict[str, object]) -> None:
    tenant = installation.tenant("whole_service")
    before = installation.marts(tenant), installation.silver(tenant)
    source = next(one for one in tenant.sources if one.dataset == "plays")
    asked = {"source": source.name, "delivered": DAY.isoformat(), "reason": "the plays of another service"}
    installation.api.unpause(tenant.deliveries_dag)
    found = []
    for number, action in enumerate(("withdraw", "restore"), start=1):
        conf: dict[str, object] = {**asked, "action": action}
        installation.api.trigger(tenant.deliveries_dag, f"by-hand-{number}", logical_date=None, conf=conf)
        assert {run["state"] for run in installation.wait_for_runs(tenant.deliveries_dag, number)} == {"success"}
        for station in ("load_bronze", "refine_silver"):
            installation.nocturne("run", station, "whole_service", "--day", DAY.isoformat())
        found.append(installation.silver(tenant))
    assert found[0] != before[1]
    assert found[1] == before[1]
    assert installation.marts(tenant) == before[0], "what is published waits for a night"


def test_no_secret_stands_in_logs_or_in_airflow_s_metadata(installation: Installation, night: dict[str, object]) -> None:
    settings = installation.settings
    tenant = installation.tenant("whole_service")
    secrets = [settings.password(role) for role in (settings.postgres_user, tenant.owner_role, tenant.reader_role)]
    secrets += [(settings.var / "secrets" / "master.key").read_text().strip(), settings.derive("listener", tenant.slug).hex()]
    for log in (settings.var / "log").rglob("*.log"):
        text = log.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], log
    with connect(settings, database="airflow") as connection:
        for table in ("xcom", "rendered_task_instance_fields", "serialized_dag", "log"):
            texts = connection.execute(f"SELECT t::text FROM {table} AS t").fetchall()  # type: ignore[call-overload]
            assert not [text for (text,) in texts for secret in secrets if secret in text], table


@pytest.mark.skipif(not REAL_LOG.exists(), reason="the real event log is not at hand beside the project")
def test_a_real_app_s_month_goes_the_whole_way(installation: Installation) -> None:
    installation.nocturne("nightly", "event_log", "--day", "2018-11-30")
    (facts,) = installation.facts()["tenants"]
    plays, pages = facts["datasets"]["plays"], facts["datasets"]["interactions"]
    assert plays["landed"] == pages["landed"] == 8_056
    assert plays["kept"] + plays["duplicates"] + plays["quarantined"] + plays["left_out"] == 8_056
    assert plays["kept"] > 6_500
    tenant = installation.tenant("event_log")
    (row,) = fetch(
        installation.settings,
        f"SELECT count(*) AS plays, bool_and(is_estimated) AS estimated, count(DISTINCT played_on) AS days FROM {tenant.marts_schema}.plays",
        role=tenant.owner_role,
    )
    assert row["estimated"] is True
    assert row["days"] == 30
    assert any(path.endswith(".pdf") for path in facts["reports"])
