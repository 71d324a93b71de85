"""How a tenant's runs follow each other: history first, then the training that it asks for, then the day's night."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest

from nocturne.errors import TransientError
from nocturne.installation.nightly import TenantNight, run_nights
from nocturne.tenants import Tenant

DAY = date(2026, 6, 28)
TENANT = Tenant.model_validate(
    {
        "slug": "some_label",
        "name": "Some label",
        "time_zone": "UTC",
        "currency": "EUR",
        "begins_on": "2026-03-01",
        "sources": [{"name": "plays", "dataset": "plays", "kind": "files", "location": "plays/{day}.ndjson"}],
    }
)


class FakeAirflow:
    """Runs that end at the second look, with the outcome that `outcomes` names for their day."""

    def __init__(self, *, models_due: bool = False, outcomes: Mapping[str, str] | None = None) -> None:
        self.models_due = models_due
        self.outcomes = dict(outcomes or {})
        self.made: list[dict[str, Any]] = []
        self.looks: dict[str, int] = {}

    def unpause(self, dag_id: str) -> None:
        """DAGs are made unpaused here."""

    def trigger(self, dag_id: str, run_id: str, *, logical_date: datetime | None, conf: Mapping[str, Any]) -> None:
        self.made.append(
            {"dag_id": dag_id, "dag_run_id": run_id, "state": "running", "conf": conf, "run_after": datetime.now(UTC).isoformat()}
        )

    def runs(self, dag_id: str, *, limit: int = 20) -> list[dict[str, Any]]:
        return [run for run in reversed(self.made) if run["dag_id"] == dag_id][:limit]

    def run(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        run = next(run for run in self.made if run["dag_run_id"] == run_id)
        self.looks[run_id] = self.looks.get(run_id, 0) + 1
        if self.looks[run_id] == 2:
            run["state"] = self.outcomes.get(run["conf"].get("day", ""), "success")
            if run["state"] == "success" and dag_id == TENANT.nightly_dag and self.models_due:
                self.models_due = False
                self.trigger(TENANT.training_dag, f"training_{len(self.made)}", logical_date=None, conf={})
                run["trained"] = True
        return run

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        run = next(run for run in self.made if run["dag_run_id"] == run_id)
        state = "success" if self.models_due or run.get("trained") else "skipped"
        return {"watch_models": {"state": state, "start_date": None}} if dag_id == TENANT.nightly_dag else {}


def see_through(airflow: FakeAirflow) -> TenantNight:
    night = TenantNight(TENANT, DAY, airflow, lambda *_: None)  # type: ignore[arg-type]
    night.plan()
    run_nights([night], poll_seconds=0)
    return night


def kinds(night: TenantNight) -> list[tuple[str, date, str]]:
    return [(step.kind, step.day, step.state) for step in night.steps]


def test_a_new_tenant_takes_its_history_then_trains_then_has_its_night() -> None:
    night = see_through(FakeAirflow(models_due=True))
    before = date(2026, 6, 27)
    assert kinds(night) == [("history", before, "success"), ("training", before, "success"), ("night", DAY, "success")]


def test_a_tenant_that_was_published_before_has_its_night_alone() -> None:
    airflow = FakeAirflow()
    see_through(airflow)
    assert kinds(see_through(airflow)) == [("night", DAY, "success")]


def test_after_a_failed_history_nothing_more_is_started() -> None:
    airflow = FakeAirflow(outcomes={"2026-06-27": "failed"})
    night = see_through(airflow)
    assert night.failed
    assert len(airflow.made) == 1


def test_a_run_that_an_ended_command_left_is_gone_on_with() -> None:
    airflow = FakeAirflow()
    airflow.trigger(TENANT.nightly_dag, "left_over", logical_date=None, conf={"day": "2026-06-27"})
    night = see_through(airflow)
    assert night.steps[0].run_id == "left_over"
    assert [run["conf"]["day"] for run in airflow.made] == ["2026-06-27", "2026-06-28"]


def test_a_night_that_failed_before_is_run_again() -> None:
    airflow = FakeAirflow(outcomes={"2026-06-28": "failed"})
    assert see_through(airflow).failed
    airflow.outcomes.clear()
    assert kinds(see_through(airflow)) == [("night", DAY, "success")]


class SilentAirflow(FakeAirflow):
    """Cannot answer until it was asked `silent` times."""

    def __init__(self, silent: int) -> None:
        super().__init__()
        self.silent = silent

    def run(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        self.silent -= 1
        if self.silent >= 0:
            raise TransientError("Airflow cannot answer.", next_step="Wait.")
        return super().run(dag_id, run_id)


def silent_night(times: int) -> TenantNight:
    night = TenantNight(TENANT, DAY, SilentAirflow(times), lambda *_: None)  # type: ignore[arg-type]
    night.plan()
    return night


def test_an_airflow_that_cannot_answer_for_a_while_is_waited_for_and_watched_over() -> None:
    night, looks = silent_night(5), []
    run_nights([night], poll_seconds=0, tick=lambda: looks.append(night.is_over))
    assert not night.failed
    assert len(looks) > 5


def test_patience_with_an_airflow_that_cannot_answer_ends() -> None:
    with pytest.raises(TransientError):
        run_nights([silent_night(1_000_000)], poll_seconds=0, patience_seconds=0.01)
