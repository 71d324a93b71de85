"""Suites are read strictly: whatever is not exactly right is refused with file and line, before anything is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from nocturne.datasets import DATASETS, Column, Type
from nocturne.errors import SettingsError
from nocturne.gates.checks import KINDS, faults
from nocturne.gates.suites import WRONG_CODES, Suite, load_batch_checks, load_mart_suites, load_suite, suite_fingerprint
from nocturne.settings import PROJECT

OURS = PROJECT / "expectations"
GOOD = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "play_id"}, "severity": "stop", "why": "A reason."}


def written(folder: Path, text: str, name: str = "bronze/plays.yml") -> Path:
    path = folder / "expectations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder / "expectations"


def suite_of(folder: Path, check: dict[str, Any]) -> Suite:
    return load_suite(written(folder, yaml.safe_dump({"dataset": "plays", "rows": [check]})), "plays")


def test_a_good_check_is_loaded_as_declared(tmp_path: Path) -> None:
    (check,) = suite_of(tmp_path, GOOD | {"kwargs": {"column": "play_id", "mostly": 0.9}}).rows
    assert (check.type, check.columns, check.mostly, check.severity) == (GOOD["type"], ("play_id",), 0.9, "stop")
    assert check.place.startswith("expectations/bronze/plays.yml:")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"type": "expect_column_values_to_not_be_nul"}, "there is no kind of check 'expect_column_values_to_not_be_nul'"),
        ({"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}, "there is no kind of check"),
        ({"kwargs": {"column": "playid"}}, "there is no column 'playid'"),
        ({"kwargs": {"column": "play_id", "mostli": 0.9}}, "takes no 'mostli'"),
        ({"kwargs": {"column": "play_id", "mostly": 95}}, "mostly must be a share"),
        ({"kwargs": {}}, "needs 'column'"),
        ({"severity": "error"}, "the severity is stop or warn, not 'error'"),
        ({"why": ""}, "a text is wanted"),
        ({"comment": "x"}, "there is no field 'comment'"),
        ({"type": "expect_column_values_to_be_between"}, "needs min_value or max_value"),
        ({"type": "expect_column_values_to_be_between", "kwargs": {"column": "ms_played", "min_value": "0"}}, "min_value must be a number"),
        ({"type": "expect_column_values_to_be_between", "kwargs": {"column": "country", "min_value": 0}}, "cannot compare"),
        ({"type": "expect_column_values_to_match_regex", "kwargs": {"column": "country", "regex": "["}}, "regular expression"),
        ({"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "country", "value_set": []}}, "must be a list"),
        ({"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": "play_id"}}, "must be a list of columns"),
    ],
)
def test_a_wrong_check_is_refused_with_file_and_line(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        suite_of(tmp_path, GOOD | change)
    assert says in str(refused.value)
    assert str(refused.value).startswith("expectations/bronze/plays.yml:")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "plays.yml:1: the file is empty"),
        ("dataset: plays\nrows: []\n", "plays.yml:2: the list of checks is empty"),
        ("dataset: plays\n", "plays.yml:1: the fields rows are missing"),
        ("dataset: tracks\nrows: []\n", "plays.yml:1: the suite of plays must say"),
        ("dataset: plays\nrows: []\nrows: []\n", "plays.yml:3: 'rows' stands twice"),
        ("dataset: plays\nrow: []\n", "plays.yml:2: there is no field 'row'"),
        ("dataset: plays\nrows: [\n", "plays.yml:3: "),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_suite(written(tmp_path, text), "plays")
    assert says in str(refused.value)


def test_a_dataset_without_a_suite_passes_no_gate(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="passes no gate"):
        load_suite(tmp_path, "plays")


def test_the_fingerprint_follows_both_files(tmp_path: Path) -> None:
    folder = written(tmp_path, "batches: []", "bronze/every_dataset.yml")
    found = set()
    for name, text in (("bronze/plays.yml", "a"), ("bronze/plays.yml", "b"), ("bronze/every_dataset.yml", "c")):
        written(tmp_path, text, name)
        found.add(suite_fingerprint(folder, "plays"))
    assert len(found) == 3


# our own suites ------------------------------------------------------------------------------------------------------------
def test_every_dataset_has_a_suite_and_no_suite_is_left_over() -> None:
    files = {path.stem for path in (OURS / "bronze").glob("*.yml")}
    assert files == set(DATASETS) | {"every_dataset"}


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_suite_asks_what_silver_would_quarantine(dataset: str) -> None:
    """What silver quarantines row by row, the gate stops when a delivery is full of it; so no rule may be missing here."""
    suite = load_suite(OURS, dataset)
    asked = [(check.type, check.columns, dict(check.kwargs)) for check in suite.rows if check.severity == "stop"]
    for column in DATASETS[dataset].columns:
        for kind, expected in rules(column):
            own = [kwargs for type_, columns, kwargs in asked if type_ == kind and columns == (column.name,)]
            assert any(expected.items() <= kwargs.items() for kwargs in own), (column.name, kind, expected)
    if any(column.code for column in DATASETS[dataset].columns):
        assert any(columns == (WRONG_CODES,) for _, columns, _ in asked)


def rules(column: Column) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    if column.required:
        found.append(("expect_column_values_to_not_be_null", {}))
    if column.accepted:
        found.append(("expect_column_values_to_be_in_set", {"value_set": list(column.accepted)}))
    if column.code:
        found.append(("expect_column_values_to_match_regex", {"regex": column.code.form}))
    bounds = {"min_value": column.minimum, "max_value": column.maximum}
    if given := {name: value for name, value in bounds.items() if value is not None}:
        found.append(("expect_column_values_to_be_between", given))
    return found


def test_an_empty_batch_and_an_empty_required_column_are_stopped_for_every_dataset() -> None:
    checks = {(check.columns[0], check.severity): check.kwargs for check in load_batch_checks(OURS)}
    assert checks["rows", "stop"]["min_value"] == 1
    assert checks["empty_required_count", "stop"]["max_value"] == 0
    assert checks["rows_lost", "stop"]["max_value"] == checks["rows_lost", "stop"]["min_value"] == 0


def test_the_kinds_take_what_the_library_takes() -> None:
    """Our list stands for the library's: a renamed keyword there must not be accepted here."""
    from nocturne.gates.evaluation import library

    registry = library().expectations.registry
    for name, kind in KINDS.items():
        fields = registry.get_expectation_impl(name).__fields__
        assert {*kind.columns, *kind.required, *kind.optional, *kind.always, "mostly"} <= set(fields), name


def test_all_faults_of_a_check_are_told_at_once() -> None:
    found = faults("expect_column_values_to_be_between", {"column": "absent", "min_value": "x", "extra": 1}, {"a": Type.INTEGER})
    assert len(found) == 3


def test_every_marts_suite_asks_columns_that_dbt_describes() -> None:
    files = (PROJECT / "dbt" / "models" / "marts").rglob("*.yml")
    models = {model["name"]: model for path in files for model in yaml.safe_load(path.read_text())["models"]}
    suites = load_mart_suites(OURS, models)
    assert len(suites) > 10
    for suite in suites:
        described = {column["name"] for column in models[suite.mart]["columns"]}
        assert {*suite.columns, *([suite.day] if suite.day else [])} <= described, suite.mart


# marts ---------------------------------------------------------------------------------------------------------------------
MART = """
domain: engagement
marts:
  activity_days:
    needs: [plays]
    day: played_on
    columns: {stream_count: INTEGER, play_count: INTEGER}
    derive: {difference: play_count - stream_count}
    rows:
      - type: expect_column_values_to_be_between
        kwargs: {column: difference, min_value: 0}
        severity: stop
        why: A stream is a play.
"""


def test_a_marts_suite_is_loaded_as_declared(tmp_path: Path) -> None:
    (suite,) = load_mart_suites(written(tmp_path, MART, "marts/engagement.yml"), {"activity_days"})
    assert (suite.mart, suite.domain, suite.needs, suite.day) == ("activity_days", "engagement", ("plays",), "played_on")
    assert suite.rows[0].columns == ("difference",)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("activity_days:", "activity_dayz:", "there is no mart 'activity_dayz'"),
        ("column: difference", "column: differense", "there is no column 'differense'"),
        ("[plays]", "[playz]", "there are no datasets playz"),
        ("stream_count: INTEGER", "stream_count: INT", "there is no type 'INT'"),
        ("domain: engagement", "domain: revenue", "the file of domain engagement must say so"),
    ],
)
def test_a_wrong_marts_suite_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    folder = written(tmp_path, MART.replace(old, new), "marts/engagement.yml")
    with pytest.raises(SettingsError) as refused:
        load_mart_suites(folder, {"activity_days"})
    assert says in str(refused.value)
    assert "expectations/marts/engagement.yml:" in str(refused.value)
