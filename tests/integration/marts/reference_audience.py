"""The definitions of cohorts once more in plain Python; registered in `reference.py`."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from typing import TYPE_CHECKING

from tests.integration.marts.world import Row

if TYPE_CHECKING:
    from tests.integration.marts.reference import Table, _Marts

KEYS = {
    "retention_cohorts": ("unit", "cohort_on", "number"),
}


def expected(marts: _Marts) -> dict[str, Table]:
    """The marts of audience beside weeks and facts."""
    return {"retention_cohorts": _cohorts(marts)}


def _cohorts(marts: _Marts) -> Table:
    streamed: dict[str, set[date]] = defaultdict(set)
    for play in marts.plays:
        if play["is_stream"]:
            streamed[play["listener_key"]].add(play["played_on"])
    by_day, by_month = defaultdict(list), defaultdict(list)
    for days in streamed.values():
        by_day[min(days)].append(days)
        by_month[min(days).replace(day=1)].append(days)
    found: Table = {}
    for first, members in by_day.items():
        for number in (1, 3, 7, 14, 28, 60, 90):
            on = first + timedelta(number)
            found["day", first, number] = _cell(members, on, on, marts.today)
    for first, members in by_month.items():
        begins = first
        for number in range(25):
            ends = _next_month(begins) - timedelta(1)
            if begins <= marts.today:
                found["month", first, number] = _cell(members, begins, ends, marts.today)
            begins = _next_month(begins)
    return found


def _cell(members: list[set[date]], begins: date, ends: date, today: date) -> Row:
    is_mature = ends <= today
    retained = sum(any(begins <= on <= ends for on in days) for days in members)
    rolling = sum(max(days) >= begins for days in members)
    return {
        "listener_count": len(members),
        "retained_count": retained if is_mature else None,
        "retention_ratio": retained / len(members) if is_mature else None,
        "rolling_count": rolling if is_mature else None,
        "rolling_ratio": rolling / len(members) if is_mature else None,
    }


def _next_month(first: date) -> date:
    return (first + timedelta(31)).replace(day=1)
