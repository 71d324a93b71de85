"""Inputs: which batches decide an event date, and what makes it a touched one."""

from __future__ import annotations

from typing import Any

from nocturne.ledger import Mark
from nocturne.silver.inputs import Inputs, in_groups, inputs_by_date, joined, passed_batches


def mark(fingerprint: str, dates: dict[str, int], links: dict[str, Any] | None = None) -> Mark:
    return Mark(fingerprint, {"dates": dates, "rows": sum(dates.values()), **({"links": links} if links else {})})


def gate(fingerprint: str, *, passed: bool = True) -> Mark:
    return Mark(fingerprint, {"passed": passed})


def test_only_batches_that_passed_as_they_stand_now_are_read() -> None:
    bronze = {batch: mark("f2", {"1": 1}) for batch in ("passed", "older", "failed", "unjudged")}
    gates = {"passed": gate("f2:suite"), "older": gate("f1:suite"), "failed": gate("f2:suite", passed=False), "gone": gate("f2:suite")}
    assert list(passed_batches(bronze, gates)) == ["passed"]


def test_a_date_is_decided_by_the_batches_that_hold_rows_of_it() -> None:
    inputs = inputs_by_date({"a": mark("f", {"1": 5, "2": 1}), "b": mark("f", {"2": 7})})
    assert inputs == {"1": Inputs(5, frozenset("a"), frozenset()), "2": Inputs(8, frozenset("ab"), frozenset())}


def test_a_date_is_decided_by_rows_elsewhere_whose_keys_stand_at_it_too() -> None:
    passed = {"a": mark("f", {"1": 5}, {"b": [["1", "2"]]}), "b": mark("f", {"2": 7}, {"a": [["2", "1"]]})}
    assert {day: one.elsewhere for day, one in inputs_by_date(passed).items()} == {"1": {("b", "2")}, "2": {("a", "1")}}
    assert inputs_by_date({"a": passed["a"]})["1"].elsewhere == frozenset()


def test_a_changed_input_touches_the_dates_that_it_decides_and_no_other() -> None:
    before = {"a": mark("f", {"1": 5}, {"b": [["1", "2"]]}), "b": mark("f", {"2": 7}, {"a": [["2", "1"]]}), "c": mark("f", {"3": 1})}
    after = {**before, "b": mark("g", {"2": 7}, {"a": [["2", "1"]]})}
    old = {day: one.fingerprint("rules", before) for day, one in inputs_by_date(before).items()}
    new = {day: one.fingerprint("rules", after) for day, one in inputs_by_date(after).items()}
    assert [day for day in new if new[day] != old[day]] == ["1", "2"]
    assert all(one.fingerprint("other", before) != old[day] for day, one in inputs_by_date(before).items())


def test_neighbours_are_rebuilt_together_up_to_a_size() -> None:
    inputs = {day: Inputs(rows, frozenset(), frozenset()) for day, rows in (("1", 4), ("2", 4), ("3", 4), ("4", 99), ("5", 1))}
    assert list(in_groups(inputs, inputs, 10)) == [["1", "2"], ["3"], ["4"], ["5"]]


def test_rows_of_days_that_are_rebuilt_together_are_not_elsewhere() -> None:
    one = Inputs(5, frozenset("a"), frozenset({("b", "2"), ("c", "3")}))
    two = Inputs(7, frozenset("b"), frozenset({("a", "1")}))
    assert joined([one, two], ["1", "2"]) == Inputs(12, frozenset("ab"), frozenset({("c", "3")}))
