"""Scores, table-days and incidents, from what gates found."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import pytest

from nocturne.quality import Incident, Judgement, Outcome, Result, Severity, incidents, score, table_days

DAY = date(2026, 3, 1)


def result(outcome: Outcome = "passed", severity: Severity = "stop", check: str = "check", **more: Any) -> Result:
    return Result(check, "expectations/bronze/plays.yml:3", severity, outcome, "Because.", **more)


def judged(*results: Result, after: int = 0, table: str = "plays", part: str = "app/1", **counts: int) -> Judgement:
    return Judgement("bronze", table, DAY + timedelta(after), part, results, counts)


def test_a_score_weighs_what_stops_five_times() -> None:
    passed = [result(), result(severity="warn")]
    assert score(passed) == 1
    assert score([*passed, result("failed", "warn")]) == pytest.approx(6 / 7)
    assert score([*passed, result("failed")]) == pytest.approx(6 / 11)


@pytest.mark.parametrize("outcome", ["muted", "unknown"])
def test_what_was_not_asked_or_is_muted_counts_neither_way(outcome: Outcome) -> None:
    assert score([result(outcome)]) is None
    assert score([result(), result("failed", "warn"), result(outcome)]) == score([result(), result("failed", "warn")])


def test_a_tables_day_fails_what_any_of_its_batches_failed() -> None:
    one = judged(result(asked=10), result("failed", "warn", "other", asked=10, failing=4, samples=("a:1",)), rows=10, quarantined=1)
    two = judged(result("failed", asked=5, failing=5, observed="all"), result("passed", "warn", "other", asked=5), part="app/2", rows=5)
    (day,) = table_days([two, one])
    told = [(each.check, each.outcome, each.asked, each.failing) for each in day.results]
    assert told == [("check", "failed", 15, 5), ("other", "failed", 15, 4)]
    assert (day.score, day.counts["rows"]) == (0, 15)
    assert day.quarantined_ratio is None  # silver has not taken the second batch
    (whole,) = table_days([one, judged(result(), part="app/2", rows=30, quarantined=3)])
    assert whole.quarantined_ratio == pytest.approx(0.1)


def test_the_checks_of_a_day_are_told_by_what_came_of_them() -> None:
    outcomes: tuple[Outcome, ...] = ("failed", "muted", "unknown", "passed")
    (day,) = table_days(
        [judged(*(result(one, severity, f"{one} {severity}") for one in outcomes for severity in ("stop", "warn", "warn")))]
    )
    assert day.outcomes == {"passed": 2, "warned": 1, "stopped": 1, "muted": 2, "unknown": 2}  # the same check twice is one


def test_table_days_stand_in_order() -> None:
    found = table_days([judged(after=1), Judgement("marts", "a", DAY, "", ()), judged(), judged(table="artists")])
    assert [(one.layer, one.table, one.day) for one in found] == [
        ("bronze", "artists", DAY), ("bronze", "plays", DAY), ("bronze", "plays", DAY + timedelta(1)), ("marts", "a", DAY)
    ]  # fmt: skip


def found_in(*outcomes: Outcome) -> list[Incident]:
    return incidents(table_days([judged(result(one, failing=number + 1), after=number) for number, one in enumerate(outcomes)]))


def test_an_incident_lasts_from_the_first_failure_to_the_last_before_it_passes() -> None:
    now, before = found_in("failed", "failed", "passed", "failed")
    assert (now.is_open, now.first_on, now.last_on, now.days, now.rows) == (True, DAY + timedelta(3), DAY + timedelta(3), 1, 4)
    assert (before.is_open, before.first_on, before.last_on, before.days, before.rows) == (False, DAY, DAY + timedelta(1), 2, 2)
    assert found_in("passed", "unknown", "muted") == []


def test_a_day_that_says_nothing_does_not_end_an_incident_and_muting_does() -> None:
    (only,) = found_in("failed", "unknown", "failed")
    assert (only.is_open, only.days, only.first_on, only.last_on) == (True, 2, DAY, DAY + timedelta(2))
    assert [one.is_open for one in found_in("failed", "muted")] == [False]


def test_a_check_whose_line_moved_is_the_same_incident() -> None:
    moved = Result("check", "expectations/bronze/plays.yml:9", "stop", "failed", "Because.")
    (only,) = incidents(table_days([judged(result("failed")), judged(moved, after=1)]))
    assert only.days == 2


def test_what_is_kept_is_what_was_found() -> None:
    one = judged(result("failed", "warn", asked=4, failing=2, observed="half", samples=("a:1", "a:2")), result("unknown"), rows=4)
    kept = Judgement.of(one.layer, one.table, one.day, one.part, one.counts, json.loads(json.dumps(one.facts)))
    assert kept == one
    assert "samples" not in one.facts["results"][1]
