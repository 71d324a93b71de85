"""The main job: bring every tenant to its day through Airflow, show how it goes, and say where the results are.

For a tenant that was never published, the night before its day runs first: it takes in the whole history, the training that it starts
makes the first champions, and the day's own night then has predictions to show. Run again, it takes up where it stands.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from nocturne.errors import TransientError
from nocturne.installation.airflow_api import TERMINAL, AirflowApi
from nocturne.ledger import Ledger, Recorded
from nocturne.settings import Settings
from nocturne.tenants import Tenant

Say = Callable[[str, str, str], None]
"""Told of each change: tenant, what (a task or a run), its state."""


@dataclass
class Step:
    """One run to see through. `run_id` is None until the run is known (a training is made by Airflow itself)."""

    kind: str
    dag_id: str
    day: date
    run_id: str | None = None
    state: str = "waiting"
    tasks: dict[str, str] = field(default_factory=dict)
    since: datetime | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in TERMINAL | {"skipped"}


class TenantNight:
    """The runs of one tenant, in their order."""

    def __init__(self, tenant: Tenant, day: date, api: AirflowApi, say: Say) -> None:
        self.tenant = tenant
        self.day = day
        self.api = api
        self.say = say
        self.started = time.monotonic()
        self.seconds = 0.0
        self.steps: list[Step] = []

    def plan(self) -> None:
        """Decide which runs there must be: the history first if no night ever succeeded."""
        nights = self.api.runs(self.tenant.nightly_dag, limit=50)
        if not any(run["state"] == "success" for run in nights) and self.day > self.tenant.begins_on:
            self.steps.append(Step("history", self.tenant.nightly_dag, self.day - timedelta(days=1)))
        self.steps.append(Step("night", self.tenant.nightly_dag, self.day))
        for dag in self.tenant.dags:
            self.api.unpause(dag)

    @property
    def current(self) -> Step | None:
        """The step that is under way, or None when all is over."""
        return next((step for step in self.steps if not step.is_over), None)

    @property
    def failed(self) -> bool:
        """Whether a run failed; later runs are then not started."""
        return any(step.state == "failed" for step in self.steps)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be done."""
        return self.failed or self.current is None

    def advance(self) -> None:
        """Look at the run under way, start the next when it is over."""
        step = self.current
        if self.is_over or step is None:
            return
        if step.run_id is None:
            self._begin(step)
            return
        run = self.api.run(step.dag_id, step.run_id)
        for task_id, task in sorted(self.api.tasks(step.dag_id, step.run_id).items(), key=lambda item: item[1].get("start_date") or "~"):
            state = task["state"] or "none"
            if step.tasks.get(task_id) != state:
                step.tasks[task_id] = state
                if state not in {"none", "scheduled", "queued"}:
                    self.say(self.tenant.slug, f"{step.kind} {step.day} {task_id}", state)
        if run is not None and run["state"] in TERMINAL:
            step.state = run["state"]
            self.say(self.tenant.slug, f"{step.kind} {step.day}", step.state)
            self._after(step)
        self.seconds = time.monotonic() - self.started

    def _begin(self, step: Step) -> None:
        if step.kind == "training":
            self._find_training(step)
            return
        running = next((run for run in self.api.runs(step.dag_id) if run["state"] not in TERMINAL and self._is_about(run, step)), None)
        if running is not None:  # an earlier command was ended in the middle: go on with its run
            step.run_id = running["dag_run_id"]
        else:
            now = datetime.now(UTC)
            run_id = f"nightly__{step.day}__{now:%Y%m%dT%H%M%S.%f}"
            self.api.trigger(step.dag_id, run_id, logical_date=None, conf={"day": step.day.isoformat()})
            step.run_id = run_id
        step.state = "running"
        step.since = datetime.now(UTC)

    @staticmethod
    def _is_about(run: Mapping[str, Any], step: Step) -> bool:
        return bool((run.get("conf") or {}).get("day") == step.day.isoformat())

    def _after(self, step: Step) -> None:
        """A night whose watch_models came to its end has asked for a training: see it through before the next night."""
        if step.kind != "training" and step.tasks.get("watch_models") == "success":
            position = self.steps.index(step) + 1
            self.steps.insert(position, Step("training", self.tenant.training_dag, step.day, since=step.since))

    def _find_training(self, step: Step) -> None:
        for run in self.api.runs(step.dag_id):
            if step.since is None or datetime.fromisoformat(run["run_after"]) >= step.since:
                step.run_id, step.state = run["dag_run_id"], "running"
                return
        if step.since and datetime.now(UTC) - step.since > timedelta(minutes=30):
            step.state = "failed"
            self.say(self.tenant.slug, f"training {step.day}", "never started")


@dataclass(frozen=True)
class Outcome:
    """What came of a tenant's night, as the closing table shows it and `nightly.json` keeps it."""

    tenant: str
    day: date
    state: str
    seconds: float
    failures: Mapping[str, str]
    datasets: Mapping[str, Mapping[str, int]]
    gates: Mapping[str, str]
    marts: Mapping[str, int]
    models: Mapping[str, Mapping[str, Any]]
    reports: tuple[str, ...]
    warnings: tuple[str, ...]
    tasks: Mapping[str, Mapping[str, float]]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**self.__dict__, "day": self.day.isoformat(), "reports": list(self.reports), "warnings": list(self.warnings)}


def run_nights(
    nights: list[TenantNight], *, poll_seconds: float = 1.0, tick: Callable[[], None] = lambda: None, patience_seconds: float = 300
) -> None:
    """See all tenants' runs through; `tick` is called before every round: it watches the services, and starts again what has ended.

    While Airflow cannot answer the rounds go on, because what it lacks may be on its way back; after `patience_seconds` of that in a row
    its TransientError is raised.
    """
    silent_since: float | None = None
    while not all(night.is_over for night in nights):
        tick()
        try:
            for night in nights:
                night.advance()
            silent_since = None
        except TransientError:
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > patience_seconds:
                raise
        time.sleep(poll_seconds)


def outcome(night: TenantNight, settings: Settings, ledger: Ledger) -> Outcome:
    """Gather what the receipts of the tenant's last run say."""
    tenant = night.tenant
    last = next((step for step in reversed(night.steps) if step.run_id and step.kind != "training"), night.steps[-1])
    history = {step.day: ledger.receipts(tenant.slug, step.day) for step in night.steps if step.kind != "training"}
    receipts = history.get(last.day) or ledger.receipts(tenant.slug, last.day)
    failed = {name: recorded.error or "" for name, recorded in receipts.items() if recorded.outcome == "failed"}
    failures = {name: error for name, error in failed.items() if name != "raise_alerts"}
    for name, state in last.tasks.items():
        if state == "failed" and name != "raise_alerts":
            failures.setdefault(name, f"the task ended without a receipt: see its log below {settings.var / 'log' / 'tasks'}")
    return Outcome(
        tenant=tenant.slug,
        day=last.day,
        state="success" if not night.failed and last.state == "success" else "failed",
        seconds=round(night.seconds, 1),
        failures=failures,
        datasets=_datasets(tenant, ledger),
        gates={
            name: "passed" if receipts[name].outcome == "done" else "failed" for name in ("gate_bronze", "gate_marts") if name in receipts
        },
        marts=_marts(receipts),
        models=_models(receipts),
        reports=tuple(_reports(settings.reports_root / tenant.slug / last.day.isoformat())),
        warnings=tuple(sorted({warning for recorded in receipts.values() for warning in recorded.receipt.warnings})),
        tasks={
            name: {"wall_seconds": round(recorded.receipt.seconds, 3), "cpu_seconds": round(recorded.cpu_seconds or 0.0, 3)}
            for name, recorded in receipts.items()
        },
    )


def write_outcomes(path: Path, outcomes: list[Outcome], *, seconds: float) -> None:
    """Keep the facts of the closing table as JSON, whole or not at all."""
    document = {
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "succeeded": all(one.state == "success" for one in outcomes),
        "tenants": [one.document() for one in outcomes],
    }
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    fresh.replace(path)


def _datasets(tenant: Tenant, ledger: Ledger) -> dict[str, dict[str, int]]:
    """Rows by dataset as they stand: delivered, left out by the mapping's condition, kept, duplicates, quarantined."""
    found = {}
    for dataset in tenant.datasets:
        bronze = ledger.marks(tenant, "bronze", dataset.name).values()
        silver = ledger.marks(tenant, "silver", dataset.name).values()
        quarantine = ledger.marks(tenant, "quarantine", dataset.name).values()
        found[dataset.name] = {
            "landed": sum(mark.facts.get("rows", 0) for mark in bronze),
            "left_out": sum(mark.facts.get("left_out", 0) for mark in bronze),
            "kept": sum(mark.facts.get("rows", 0) for mark in silver),
            "duplicates": sum(mark.facts.get("duplicates", 0) for mark in silver),
            "quarantined": sum(mark.facts.get("quarantined", 0) for mark in quarantine),
        }
    return found


def _marts(receipts: Mapping[str, Recorded]) -> dict[str, int]:
    published = receipts.get("publish_marts")
    return {entry.name: entry.counts.get("rows", 0) for entry in published.receipt.entries} if published else {}


def _models(receipts: Mapping[str, Recorded]) -> dict[str, dict[str, Any]]:
    predicted = receipts.get("predict")
    return {entry.name: {**entry.facts, **entry.counts} for entry in predicted.receipt.entries} if predicted else {}


def _reports(folder: Path) -> Iterator[str]:
    if folder.exists():
        yield from (str(path) for path in sorted(folder.iterdir()) if path.suffix in {".pdf", ".xlsx", ".html"})
