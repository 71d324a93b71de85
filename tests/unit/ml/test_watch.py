"""When a model is due, told from the champion's files and the marks alone; and what a card tells people."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml import card
from ml.registry import champion_folder, read_champion
from ml.training import judge, promote, train, tune, watch_models
from nocturne.errors import PermanentError
from nocturne.ledger import Mark, MemoryMarks
from nocturne.settings import Settings
from nocturne.tenants import Tenant

DAY = date(2026, 5, 20)
METADATA: dict[str, Any] = {
    "version": "3", "tenant": "alpha", "problem": "genre", "question": "Which?", "answer": "This.", "trained_on": "2026-05-01",
    "features": ["energy", "tempo"], "reference": {}, "settled": {}, "parameters": {"rounds": 60.0},
    "scores": {"macro_f1": 0.8, "accuracy": 0.9},
    "metric": {"name": "macro_f1", "value": 0.8, "higher_is_better": True, "description": "mean over the genres"},
    "baseline": {"name": "the neighbours", "value": 0.7}, "rows": {"all": 900, "train": 700, "test": 200},
    "window": {"from": "2026-01-01", "to": "2026-05-01"}, "judged_window": {"from": "2026-04-01", "to": "2026-05-01"},
    "segments": {"FR": {"rows": 120, "macro_f1": 0.81}},
}  # fmt: skip


@pytest.fixture
def tenant() -> Tenant:
    sources = [{"name": "tracks", "dataset": "tracks", "kind": "files", "location": "tracks.csv"}]
    return Tenant.model_validate(
        {"slug": "alpha", "name": "Alpha", "time_zone": "UTC", "currency": "EUR", "begins_on": date(2026, 1, 1), "sources": sources}
    )


@pytest.fixture
def champion(tenant: Tenant, settings: Settings) -> Path:
    """An exported champion of version 3, trained on 1 May."""
    folder = champion_folder(tenant, "genre", settings)
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps(METADATA))
    return folder


def verdict(tenant: Tenant, settings: Settings, marks: MemoryMarks, day: date = DAY) -> tuple[bool, str]:
    (entry,) = watch_models(tenant, day, settings, marks).entries
    return entry.facts["is_due"], entry.facts["reason"]


def seen(marks: MemoryMarks, tenant: Tenant, day: date, index: float | None, version: str = "3") -> None:
    drift = None if index is None else {"feature": "energy", "index": index, "rows": 300}
    marks.mark(tenant, "prediction", "genre", {day.isoformat(): Mark("f", {"version": version, "drift": drift})})


def attempt(marks: MemoryMarks, tenant: Tenant, day: date, *, promoted: bool) -> None:
    facts = {"day": day.isoformat(), "promoted": promoted, "reason": "too little"}
    marks.mark(tenant, "training", "genre", {"last": Mark("f", facts)})


def test_a_problem_without_a_champion_is_due(tenant: Tenant, settings: Settings) -> None:
    assert verdict(tenant, settings, MemoryMarks()) == (True, "there is no champion yet")


@pytest.mark.usefixtures("champion")
def test_a_young_champion_is_not_due(tenant: Tenant, settings: Settings) -> None:
    assert verdict(tenant, settings, MemoryMarks()) == (False, "the champion is in force and fit")


@pytest.mark.usefixtures("champion")
@pytest.mark.parametrize(("days", "is_due"), [(27, False), (28, True), (100, True)])
def test_a_champion_is_due_from_four_weeks_on(tenant: Tenant, settings: Settings, days: int, is_due: bool) -> None:
    assert verdict(tenant, settings, MemoryMarks(), date(2026, 5, 1) + timedelta(days=days))[0] is is_due


@pytest.mark.usefixtures("champion")
@pytest.mark.parametrize(("index", "is_due"), [(None, False), (0.24, False), (0.25, False), (0.26, True)])
def test_drift_over_a_quarter_makes_it_due(tenant: Tenant, settings: Settings, index: float | None, is_due: bool) -> None:
    marks = MemoryMarks()
    seen(marks, tenant, DAY - timedelta(days=1), 0.0)
    seen(marks, tenant, DAY, index)
    found, reason = verdict(tenant, settings, marks)
    assert found is is_due
    assert ("energy has moved" in reason) is is_due


@pytest.mark.usefixtures("champion")
def test_what_is_seen_of_a_champion_is_told_and_kept_by_day(tenant: Tenant, settings: Settings) -> None:
    marks = MemoryMarks()
    seen(marks, tenant, DAY, 0.26)
    for day in (DAY, DAY + timedelta(days=1)):
        (entry,) = watch_models(tenant, day, settings, marks).entries
        assert marks.marks(tenant, "watch", "genre")[day.isoformat()].facts == entry.facts
    told = ("version", "trained_on", "age_days", "oldest_days", "feature", "index", "index_limit", "metric", "promised")
    assert [entry.facts[name] for name in told] == ["3", "2026-05-01", 20, 28, "energy", 0.26, 0.25, "macro_f1", 0.8]
    assert (entry.facts["error"], entry.facts["error_limit"]) == (None, None)  # a genre meets no outcome
    assert entry.facts["is_due"] is True


def test_without_a_champion_the_reason_alone_is_kept(tenant: Tenant, settings: Settings) -> None:
    marks = MemoryMarks()
    watch_models(tenant, DAY, settings, marks)
    assert marks.marks(tenant, "watch", "genre")[DAY.isoformat()].facts == {"is_due": True, "reason": "there is no champion yet"}


@pytest.mark.usefixtures("champion")
def test_drift_of_another_version_or_of_a_later_day_is_not_looked_at(tenant: Tenant, settings: Settings) -> None:
    marks = MemoryMarks()
    seen(marks, tenant, DAY, 3.0, version="2")
    seen(marks, tenant, DAY + timedelta(days=1), 3.0)
    assert not verdict(tenant, settings, marks)[0]


@pytest.mark.parametrize(
    ("days", "promoted", "is_due"), [(0, False, False), (6, False, False), (7, False, True), (1, True, True), (-3, False, True)]
)
def test_an_attempt_that_promoted_nothing_is_waited_after(
    tenant: Tenant, settings: Settings, days: int, promoted: bool, is_due: bool
) -> None:
    marks = MemoryMarks()
    attempt(marks, tenant, DAY - timedelta(days=days), promoted=promoted)
    found, reason = verdict(tenant, settings, marks)
    assert found is is_due
    assert "there is no champion yet" in reason


def test_a_problem_that_the_tenant_lacks_has_no_entry(tenant: Tenant, settings: Settings) -> None:
    for step in (tune, train, judge, promote):
        assert step(tenant, DAY, settings, MemoryMarks(), problem="churn").entries == ()


def test_a_step_whose_forerunner_left_nothing_is_passed_over(tenant: Tenant, settings: Settings) -> None:
    for step, needs in ((train, "tuned.json"), (judge, "trained.json"), (promote, "verdict.json")):
        (entry,) = step(tenant, DAY, settings, MemoryMarks(), problem="genre").entries
        assert entry.skipped and needs in entry.facts["reason"]


def test_an_unknown_problem_is_refused(tenant: Tenant, settings: Settings) -> None:
    with pytest.raises(PermanentError, match="no problem 'weather'"):
        tune(tenant, DAY, settings, MemoryMarks(), problem="weather")


@pytest.mark.usefixtures("champion")
def test_a_champion_is_what_its_files_say(tenant: Tenant, settings: Settings) -> None:
    found = read_champion(tenant, "genre", settings)
    assert found is not None
    assert (found.version, found.features, found.trained_on) == ("3", ("energy", "tempo"), date(2026, 5, 1))
    assert read_champion(tenant, "churn", settings) is None


def test_a_card_says_window_metric_baseline_and_segments() -> None:
    text = card.write(METADATA)
    for part in (
        "900 rows with outcomes from 2026-01-01 to 2026-05-01",
        "macro_f1 (higher is better) | 0.8",
        "the neighbours | 0.7",
        "| FR | 120 | 0.81 |",
    ):
        assert part in text
    assert "No segment has" in card.write(METADATA | {"segments": {}})
