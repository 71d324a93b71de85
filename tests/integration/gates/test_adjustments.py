"""What a tenant's file may say of the checks of its tables, what it may not, and that it is read strictly."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nocturne.adjusting import Adjustments
from nocturne.errors import GateFailed, TenantError
from nocturne.gates.adjustments import check_adjustments, of_mart
from nocturne.gates.suites import load_mart_suites
from nocturne.quality import table_days
from nocturne.settings import Settings
from nocturne.tenants import Tenant, load_tenant
from tests.integration.gates.test_gate_bronze import FIRST, NIGHT, TENANT, Bronze, plays

TEXT = """\
name: Gated
time_zone: UTC
currency: EUR
begins_on: 2026-01-01
sources:
  - {{name: app, dataset: plays, kind: files, location: "plays/{{day}}.ndjson"}}
  - {{name: shop, dataset: payments, kind: files, location: "payments/{{day}}.ndjson"}}
  - {{name: catalogue, dataset: tracks, kind: files, location: "tracks/{{day}}.ndjson"}}
checks:
  {table}:
    {kind}:
      - {one}
"""
COUNTRY = "expect_column_values_to_match_regex"
WORDS = "expect_column_values_to_be_in_set"
BETWEEN = "expect_column_values_to_be_between"


def said(settings: Settings, one: str, *, kind: str = "mute", table: str = "plays") -> tuple[Settings, Tenant]:
    """An installation with a tenant whose file says one thing of the checks of a table."""
    folder = settings.var / "tenants"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{TENANT.slug}.yml"
    path.write_text(TEXT.format(table=table, kind=kind, one=one))
    return settings.model_copy(update={"tenants": folder}), load_tenant(path)


@pytest.fixture
def bronze(settings: Settings) -> Bronze:
    return Bronze(settings)


def gated(bronze: Bronze, one: str, *, kind: str = "mute", table: str = "plays") -> Bronze:
    bronze.settings, bronze.tenant = said(bronze.settings, one, kind=kind, table=table)
    return bronze


def test_a_check_of_its_own_is_asked_like_any_other(bronze: Bronze) -> None:
    bronze.load("plays", "app", FIRST, plays(FIRST, platform="web"))
    one = "{type: expect_column_values_to_be_in_set, kwargs: {column: platform, value_set: [ios]}, severity: stop, why: We sell to phones.}"
    with pytest.raises(GateFailed, match=r"value_set=\['ios'\]\) \[\w+.yml:12\].*We sell to phones"):
        gated(bronze, one, kind="add").gate()


def test_a_threshold_is_raised_or_lowered_with_a_reason(bronze: Bronze) -> None:
    bronze.load("plays", "app", FIRST, plays(FIRST, reason_end=lambda n: "ended" if n < 10 else "stop"))
    with pytest.raises(GateFailed, match="10 of 40 rows fail"):
        bronze.gate()
    lower = f"{{check: {WORDS}, columns: [reason_end], set: {{mostly: 0.7}}, reason: An old client has its own words.}}"
    assert gated(bronze, lower, kind="change").gate().warnings == ()
    assert bronze.passed("plays") == {f"app/{FIRST}"}
    higher = f"{{check: {WORDS}, columns: [reason_end], set: {{mostly: 1.0}}, becomes: warn, reason: We look at each of them.}}"
    (warning,) = gated(bronze, higher, kind="change").gate().warnings
    assert "10 of 40 rows fail (25.0%, allowed are 0.0%)" in warning


def test_a_threshold_of_a_batch_is_the_tenants_and_of_that_dataset_alone(bronze: Bronze) -> None:
    bronze.load("plays", "app", FIRST, plays(FIRST))
    bronze.load("tracks", "catalogue", FIRST, [{"track_id": f"t{n}", "title": "T", "duration_ms": 200_000} for n in range(5)])
    more = f"{{check: {BETWEEN}, columns: [rows], set: {{min_value: 50}}, reason: It has never had fewer.}}"
    with pytest.raises(GateFailed) as refused:
        gated(bronze, more, kind="change").gate()
    assert "plays, expect_column_values_to_be_between(rows; min_value=50)" in str(refused.value)
    assert "tracks" not in str(refused.value)


def test_a_muted_check_stops_and_tells_nothing_until_its_day(bronze: Bronze) -> None:
    until = FIRST + timedelta(days=2)
    for number in range(3):
        bronze.load("plays", "app", FIRST + timedelta(days=number), plays(FIRST + timedelta(days=number), country="France"))
    mute = f"{{check: {COUNTRY}, columns: [country], until: {until}, reason: The shop mends it this week.}}"
    code = f"{{check: {BETWEEN}, columns: [_wrong_code_count], until: {until}, reason: The shop mends it this week.}}"
    with pytest.raises(GateFailed) as refused:
        gated(bronze, f"{mute}\n      - {code}").gate()
    assert f"batch app/{until}" in str(refused.value)
    assert f"app/{FIRST}" not in str(refused.value)
    assert bronze.passed("plays") == {f"app/{FIRST}", f"app/{FIRST + timedelta(days=1)}"}
    first, *_, last = table_days(bronze.marks.judgements(bronze.tenant, FIRST, NIGHT))
    (muted,) = [one for one in first.results if one.outcome == "muted" and one.check.startswith(COUNTRY)]
    assert "40 of 40 rows fail" in muted.observed
    assert f"muted until {until}: The shop mends it this week." in muted.observed
    assert (first.score, first.failed) == (1, ())
    assert last.score is not None
    assert last.score < 1


WRONG = {
    # what the file says, where, and what is said of it: with the line
    "reconciliation of a batch": (f"{{check: {BETWEEN}, columns: [rows_lost], until: 2027-01-01, reason: No time for it.}}", "mute", "plays",
        ":12: checks.plays.mute.0: expect_column_values_to_be_between of rows_lost guards reconciliation: no tenant's file touches it"),
    "reconciliation lowered": (f"{{check: {BETWEEN}, columns: [rows_lost], set: {{max_value: 9}}, reason: No time for it.}}", "change", "plays",
        "guards reconciliation"),
    "reconciliation of a mart": (f"{{check: {BETWEEN}, columns: [difference_count], until: 2027-01-01, reason: No time for it.}}", "mute",
        "marts.reconciliation", "guards reconciliation"),
    "reconciliation made a warning": (f"{{check: {BETWEEN}, columns: [difference_count], becomes: warn, reason: No time for it.}}", "change",
        "marts.reconciliation_days", "guards reconciliation"),
    "a check that is not": (f"{{check: {BETWEEN}, columns: [country], until: 2027-01-01, reason: No time for it.}}", "mute", "plays",
        f"of these columns there are {COUNTRY} of country"),
    "one of two alike": (f"{{check: {BETWEEN}, columns: [_problem_count], until: 2027-01-01, reason: No time for it.}}", "mute", "plays",
        "2 checks are alike; say with `severity`"),
    "another word": (f"{{check: {COUNTRY}, columns: [country], set: {{mostli: 0.5}}, reason: No time for it.}}", "change", "plays",
        ":12: checks.plays.change.0: expect_column_values_to_match_regex takes no 'mostli'"),
    "another column": (f"{{check: {COUNTRY}, columns: [country], set: {{column: platform}}, reason: No time for it.}}", "change", "plays",
        "column says what is asked, which is another check"),
    "an unknown kind": ("{type: expect_table, kwargs: {column: country}, severity: warn, why: Because I say so.}", "add", "plays",
        "there is no kind of check 'expect_table'"),
    "an unknown column": (f"{{type: {COUNTRY}, kwargs: {{column: land, regex: a}}, severity: warn, why: Because I say so.}}", "add", "plays",
        "there is no column 'land'"),
    "no table": (f"{{check: {COUNTRY}, columns: [country], until: 2027-01-01, reason: No time for it.}}", "mute", "marts.nothing",
        ":10: checks.marts.nothing: there is nothing of that name to check"),
    "a dataset that it does not have": (f"{{check: {COUNTRY}, columns: [country], until: 2027-01-01, reason: No time for it.}}", "mute", "rights",
        "there is nothing of that name to check"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_right_is_refused_with_file_and_line(settings: Settings, case: str) -> None:
    one, kind, table, says = WRONG[case]
    installed, tenant = said(settings, one, kind=kind, table=table)
    with pytest.raises(TenantError) as refused:
        check_adjustments(tenant, installed)
    assert says in str(refused.value)
    assert f"{TENANT.slug}.yml:1" in str(refused.value)


@pytest.mark.parametrize(
    ("one", "kind", "says"),
    [
        (f"{{check: {COUNTRY}, columns: [country], reason: No time for it.}}", "mute", "until: Field required"),
        (f"{{check: {COUNTRY}, columns: [country], until: 2027-01-01}}", "mute", "reason: Field required"),
        (f"{{check: {COUNTRY}, columns: [country], until: 2027-01-01, reason: short}}", "mute", "at least 8 characters"),
        (f"{{check: {COUNTRY}, columns: [country], reason: No time for it.}}", "change", "a change says what is `set`"),
        (f"{{check: {COUNTRY}, columns: [country], becomes: gone, reason: No time for it.}}", "change", "'stop' or 'warn'"),
        ("{why: nothing}", "silence", "Extra inputs are not permitted"),
    ],
)
def test_a_file_that_says_too_little_is_refused_when_it_is_read(settings: Settings, one: str, kind: str, says: str) -> None:
    with pytest.raises(TenantError) as refused:
        said(settings, one, kind=kind)
    assert says in str(refused.value)
    assert f"{TENANT.slug}.yml:1" in str(refused.value)


def test_a_marts_checks_are_the_tenants_as_well(settings: Settings) -> None:
    one = f"{{check: {BETWEEN}, columns: [skip_ratio], until: 2027-01-01, reason: Skips are counted twice.}}"
    installed, tenant = said(settings, one, table="marts.activity_days")
    check_adjustments(tenant, installed)
    models = {path.stem for path in (settings.dbt_project / "models" / "marts").rglob("*.sql")}
    (suite,) = [one for one in load_mart_suites(settings.expectations, models) if one.mart == "activity_days"]
    assert of_mart(TENANT, installed, suite) == suite  # of a tenant that says nothing
    assert tenant.checks["marts.activity_days"].add == Adjustments().add == ()
    (muted,) = [check for check in of_mart(tenant, installed, suite).rows if check.muted_until]
    assert muted.is_muted(NIGHT)
    assert not muted.is_muted(NIGHT.replace(year=2027))
    assert muted.columns == ("skip_ratio",)


def test_what_the_file_says_asks_the_batches_of_that_dataset_again(bronze: Bronze, tmp_path: Path) -> None:
    bronze.load("plays", "app", FIRST, plays(FIRST))
    bronze.load("tracks", "catalogue", FIRST, [{"track_id": f"t{n}", "title": "T", "duration_ms": 200_000} for n in range(5)])
    bronze.gate()
    mute = f"{{check: {COUNTRY}, columns: [country], until: 2027-01-01, reason: No time for it.}}"
    asked = {entry.name: entry.skipped for entry in gated(bronze, mute).gate().entries}
    assert asked == {"plays": False, "payments": True, "tracks": True}
