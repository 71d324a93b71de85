"""The definitions of weeks, months, hours and of what was heard of a track, once more in plain Python; registered in `reference.py`."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from typing import TYPE_CHECKING

from tests.integration.marts.world import Row

if TYPE_CHECKING:
    from tests.integration.marts.reference import Table, _Marts

KEYS = {
    "activity_periods": ("period", "starts_on"),
}


def expected(marts: _Marts, found: dict[str, Table]) -> dict[str, Table]:
    """The marts of engagement beside plays, sessions, listener-days and days; `found` are those."""
    return {"activity_periods": _periods(marts, found["activity_days"])}


def _periods(marts: _Marts, days: Table) -> Table:
    groups: dict[tuple[str, date], list[date]] = defaultdict(list)
    for (on,) in days:
        groups["week", marts.week_of(on)].append(on)
        groups["month", on.replace(day=1)].append(on)
    return {(period, first): _period(marts, days, first, _last_day(period, first), held) for (period, first), held in groups.items()}


def _last_day(period: str, first: date) -> date:
    if period == "week":
        return first + timedelta(6)
    return (first + timedelta(31)).replace(day=1) - timedelta(1)


def _period(marts: _Marts, days: Table, first: date, last: date, held: list[date]) -> Row:
    is_over = last <= marts.today
    regular = [on for on in held if marts.tenant.begins_on <= on <= marts.today]
    row: Row = {"ends_on": last, "day_count": len(regular), "is_over": is_over}
    for name in ("play_count", "stream_count", "session_count", "play_time_ms", "new_listener_count"):
        row[name] = sum(days[on,][name] for on in held)
    for name in ("skip_count", "completed_count", "intentional_count"):
        told = [days[on,][name] for on in held if days[on,][name] is not None]
        row[name] = sum(told) if told else None
    plays = row["play_count"]
    is_told = is_over and (last,) in days
    daily = [len(marts._listeners(on, 1)) for on in regular]
    return row | {
        "skip_ratio": row["skip_count"] / plays if row["skip_count"] is not None else None,
        "completion_ratio": row["completed_count"] / plays if row["completed_count"] is not None else None,
        "listeners_1d_mean": sum(daily) / len(daily) if daily else None,
        "listeners_7d": len(marts._listeners(last, 7)) if is_told else None,
        "listeners_28d": len(marts._listeners(last, 28)) if is_told else None,
        "listeners_in_period": len(marts._listeners(last, (last - first).days + 1)) if is_told else None,
        "stickiness_ratio": days[last,]["stickiness_ratio"] if is_told else None,
        "is_final": is_over and all(days[on,]["is_final"] for on in held),
    }
