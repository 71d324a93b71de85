"""The words for numbers, with the tenant's own rules."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from benchmarks.report_marts import tenant_of
from nocturne.reports.definitions import DEFINITIONS, definitions
from nocturne.reports.queries import QUERIES
from nocturne.tenants import Tenant


def formula(tenant: Tenant, day: date, term: str) -> str:
    return next(each.formula for each in definitions(tenant, day, ["activity"]) if each.term == term)


def test_the_rule_of_the_day_is_told_not_todays(tmp_path: Path) -> None:
    rules = {
        "stream_min_ms": [{"from": date(2020, 1, 1), "value": 30_000}, {"from": date(2026, 3, 1), "value": 20_000}],
        "stream_rule": "gt",
    }
    tenant = tenant_of(tmp_path, "aurora", rules=rules)
    assert formula(tenant, date(2026, 2, 28), "Stream") == "plays with ms played > 30\u202f000"
    assert formula(tenant, date(2026, 3, 1), "Stream") == "plays with ms played > 20\u202f000"


def test_only_what_the_report_speaks_of_is_defined(tenant: Tenant) -> None:
    terms = {each.term for each in definitions(tenant, date(2026, 3, 1), ["statements"])}
    assert terms == {"Stream", "Royalties"}


def test_no_definition_is_left_with_a_gap_or_without_a_subject(tenant: Tenant) -> None:
    subjects = {query.subject for query in QUERIES}
    found = definitions(tenant, date(2026, 3, 1), subjects)
    assert len(found) == len(DEFINITIONS)
    assert all("{" not in each.meaning + each.formula for each in found)
    assert all(each.subjects <= subjects for each in DEFINITIONS)
