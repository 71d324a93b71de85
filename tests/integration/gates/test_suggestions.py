"""Profiles tell nothing of a person, and a suggested suite passes on what it was made from and fails on what is unlike it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nocturne.datasets import DATASETS
from nocturne.errors import PermanentError
from nocturne.gates.bronze import failures
from nocturne.gates.profiles import lines, profile
from nocturne.gates.suggestions import suggest
from nocturne.gates.suites import Suite, load_suite
from nocturne.settings import Settings
from tests.integration.gates.test_gate_bronze import FIRST, TENANT, Bronze, payments, plays

PLAYS = DATASETS["plays"]


@pytest.fixture
def bronze(settings: Settings) -> Bronze:
    """Ten days of plays, with some dirt on one of them, and of payments."""
    made = Bronze(settings)
    for number in range(10):
        day = FIRST + timedelta(days=number)
        dirt = {"country": lambda n: None if n % 4 == 0 else "FR", "ms_played": lambda n: 1_000 * n} if number == 3 else {}
        made.load("plays", "app", day, plays(day, 50, **dirt))
        made.load("payments", "shop", day, payments(day))
    return made


def suite_of(bronze: Bronze, dataset: str) -> Suite:
    suggest(TENANT, DATASETS[dataset], bronze.settings, bronze.marks)
    return load_suite(bronze.settings.var / "suggestions" / TENANT.slug, dataset)


def test_a_profile_counts_what_is_there(bronze: Bronze) -> None:
    found = profile(TENANT, PLAYS, bronze.settings)
    columns = {one.column.name: one for one in found.columns}
    assert (found.rows, found.batches, found.first, found.last) == (500, 10, str(FIRST), str(FIRST + timedelta(days=9)))
    assert (columns["country"].filled, columns["country"].values) == (487, {"FR": 487})
    assert (columns["ms_played"].quantiles[0], columns["ms_played"].quantiles[4], columns["ms_played"].quantiles[-1]) == (0, 60_000, 60_000)
    assert (columns["track_id"].distinct, columns["session_id"].filled) == (5, 0)


def test_a_profile_tells_nothing_of_a_person_and_no_identifier(bronze: Bronze) -> None:
    bronze.load("plays", "app", FIRST, plays(FIRST, 50, platform=lambda n: "ann@example.org" if n < 20 else "web" if n < 48 else f"odd{n}"))
    found = profile(TENANT, PLAYS, bronze.settings)
    told = "\n".join(" ".join(line) for line in lines(found))
    assert "(not shown: it knows of a person)" in told
    for secret in ("l3", "t3", "ann@", "example.org", "odd48", str(FIRST) + "-7"):
        assert secret not in told
    assert "web" in told
    (listener,) = (one for one in found.columns if one.column.name == "listener_id")
    assert (listener.distinct, listener.values, listener.forms, listener.quantiles) == (7, {}, {}, ())


def test_large_datasets_are_estimated_but_for_their_ends(bronze: Bronze, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nocturne.gates.profiles.LARGE", 100)
    found = profile(TENANT, PLAYS, bronze.settings)
    (played,) = (one for one in found.columns if one.column.name == "ms_played")
    assert found.is_estimated
    assert (played.quantiles[0], played.quantiles[-1]) == (0, 60_000)
    assert all("~" in line[3] for line in lines(found))


@pytest.mark.parametrize("dataset", ["plays", "payments"])
def test_a_suggested_suite_loads_and_passes_on_what_it_comes_from(bronze: Bronze, dataset: str) -> None:
    suite = suite_of(bronze, dataset)
    assert len(suite.rows) > 8
    assert failures(TENANT, DATASETS[dataset], bronze.settings, bronze.marks, suite) == frozenset()
    assert all(len(check.why) > 20 for check in suite.rows)


def test_its_thresholds_come_from_the_worst_batch(bronze: Bronze) -> None:
    suite = suite_of(bronze, "plays")
    (filled,) = [one for one in suite.rows if one.type.endswith("not_be_null") and one.columns == ("country",)]
    assert (filled.mostly, filled.severity) == (0.72, "warn")
    assert "In the worst batch 74.0% of the rows had it." in filled.why
    (bounds,) = [one for one in suite.rows if one.type.endswith("be_between") and one.columns == ("ms_played",)]
    assert (bounds.kwargs["min_value"], bounds.kwargs["max_value"]) == (0, 100_000)
    (words,) = [one for one in suite.rows if one.columns == ("reason_end",) and one.type.endswith("in_set")]
    assert words.kwargs["value_set"] == ["track_done"]
    (ordered,) = [one for one in suite_of(bronze, "payments").rows if "pair" in one.type]
    assert ordered.columns == ("amount", "tax_amount")


@pytest.mark.parametrize(
    ("damage", "column"),
    [({"track_id": None}, "track_id"), ({"ms_played": 5_000_000}, "ms_played"), ({"reason_end": "ended"}, "reason_end")],
)
def test_what_is_unlike_all_before_fails_it(bronze: Bronze, damage: dict[str, object], column: str) -> None:
    suite = suite_of(bronze, "plays")
    day = FIRST + timedelta(days=10)
    bronze.load("plays", "app", day, plays(day, 50, **damage))
    failed = failures(TENANT, PLAYS, bronze.settings, bronze.marks, suite)
    assert column in {name for number in failed for name in suite.rows[number].columns}


def test_an_edited_suite_is_not_written_over(bronze: Bronze) -> None:
    written = suggest(TENANT, PLAYS, bronze.settings, bronze.marks)
    edited = written.path.read_text() + "# edited\n"
    written.path.write_text(edited)
    with pytest.raises(PermanentError, match="is there already"):
        suggest(TENANT, PLAYS, bronze.settings, bronze.marks)
    assert written.path.read_text() == edited
    suggest(TENANT, PLAYS, bronze.settings, bronze.marks, again=True)
    assert "# edited" not in written.path.read_text()


def test_of_nothing_nothing_is_suggested(bronze: Bronze) -> None:
    with pytest.raises(PermanentError, match="Nothing of tracks stands in bronze"):
        suggest(TENANT, DATASETS["tracks"], bronze.settings, bronze.marks)
