"""The definitions of cohorts, segments and shared listeners once more in plain Python; registered in `reference.py`."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from tests.integration.marts import reference_content
from tests.integration.marts.world import Row

if TYPE_CHECKING:
    from tests.integration.marts.reference import Marts, Table

KEYS = {
    "audience_days": ("channel", "gender", "home_country", "played_on"),
    "listener_months": ("listener_key", "month_on"),
    "artist_pairs": ("artist_id", "other_artist_id"),
    "retention_cohorts": ("unit", "cohort_on", "number"),
}


def expected(marts: Marts, found: dict[str, Table]) -> dict[str, Table]:
    """The marts of audience beside weeks and facts."""
    told = {"retention_cohorts": _cohorts(marts), "listener_months": _months(found["listener_days"])}
    if marts.has("listeners"):
        told["audience_days"] = _alike(marts, found)
    return told


_ADDED = ("play_count", "stream_count", "ms_played", "session_count")


def _months(days: Table) -> Table:
    rows = [row | {"listener_key": listener, "played_on": on} for (listener, on), row in days.items()]
    found: Table = {}
    for month, members in reference_content.grouped_by(rows, lambda row: (row["listener_key"], row["played_on"].replace(day=1))).items():
        streamed = [row["played_on"] for row in members if row["stream_count"]]
        found[month] = {name: sum(row[name] for row in members) for name in _ADDED} | {
            "active_day_count": len(streamed),
            "first_streamed_on": min(streamed, default=None),
            "last_streamed_on": max(streamed, default=None),
        }
    return found


def _alike(marts: Marts, found: dict[str, Table]) -> Table:
    accounts = {row["listener_key"]: row for row in marts.rows["listeners"]}

    def group(row: Row) -> tuple[str, str, str, date]:
        account = accounts.get(row["listener_key"], {})
        return account.get("channel") or "unknown", account.get("gender") or "unknown", account.get("country") or "ZZ", row["on"]

    days = [row | {"listener_key": listener, "on": on} for (listener, on), row in found["listener_days"].items()]
    sessions = [row | {"listener_key": listener, "on": row["started_on"]} for (listener, _), row in found["sessions"].items()]
    begun = reference_content.grouped_by(sessions, group)
    return {
        key: {name: sum(row[name] for row in members) for name in _ADDED}
        | {
            f"{word}_count": reference_content.known(row[f"{word}_count"] for row in members)
            for word in ("skip", "completed", "intentional")
        }
        | {
            "listeners_1d": sum(row["stream_count"] > 0 for row in members),
            "session_play_count": sum(row["play_count"] for row in begun.get(key, ())),
            "session_seconds": math.fsum(row["duration_seconds"] for row in begun.get(key, ())),
        }
        for key, members in reference_content.grouped_by(days, group).items()
    }


def _cohorts(marts: Marts) -> Table:
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


def pairs(marts: Marts, most_listeners: int = 5000) -> Table:
    """Which artists share listeners in the 28 days that end with the business day."""
    recent = [play for play in marts.plays if play["is_stream"] and 0 <= (marts.today - play["played_on"]).days < 28]
    counted = set(sorted({play["listener_key"] for play in recent})[:most_listeners])
    listeners: dict[str, set[str]] = defaultdict(set)
    for play in recent:
        if play["artist_id"] is not None and play["listener_key"] in counted:
            listeners[play["artist_id"]].add(play["listener_key"])
    known = sorted(listeners, key=lambda artist: (-len(listeners[artist]), artist))[:100]
    shared = {(one, other): len(listeners[one] & listeners[other]) for one, other in itertools.combinations(sorted(known), 2)}
    kept = sorted((pair for pair in shared if shared[pair]), key=lambda pair: (-shared[pair], pair))[:1000]
    return {
        (one, other): {
            "listener_count": shared[one, other],
            "artist_listener_count": len(listeners[one]),
            "other_listener_count": len(listeners[other]),
            "counted_listener_count": len(counted),
            "lift": shared[one, other] * len(counted) / len(listeners[one]) / len(listeners[other]),
        }
        for one, other in kept
    }


def segments(marts: Marts) -> Table:
    """What the 28 days that end with the business day say of every listener."""
    played: dict[str, list[Row]] = defaultdict(list)
    for play in marts.plays:
        played[play["listener_key"]].append(play)
    everybody = {row["listener_key"] for row in marts.rows["listeners"]}
    everybody |= {event.listener for session in marts.sessions for event in session.events}
    found = {listener: _recent(played[listener], marts.today) for listener in everybody}
    active = [row for row in found.values() if row["active_days_28d"]]
    for row in found.values():
        is_active = bool(row["active_days_28d"])
        scores = [
            5 - 5 * sum(sign * other[name] > sign * row[name] for other in active) // len(active) if is_active else None
            for name, sign in (("recency_days", -1), ("active_days_28d", 1), ("play_time_28d_ms", 1))
        ]
        row |= dict(zip(("recency_score", "frequency_score", "listening_score"), scores, strict=True))
        row["segment"] = _segment(row.pop("_first_days"), row["recency_days"], *scores)
        row["engagement_score"] = _engagement(row) if is_active else 0
    return {(listener,): row for listener, row in found.items()}


def _recent(plays: list[Row], today: date) -> Row:
    streamed = [(today - play["played_on"]).days for play in plays if play["is_stream"]]
    recent = [days for days in streamed if 0 <= days < 28]
    is_told = recent or all(days >= 0 for days in streamed)
    return {
        "active_days_28d": len(set(recent)),
        "play_time_28d_ms": sum(play["ms_played"] for play in plays if 0 <= (today - play["played_on"]).days < 28),
        "recency_days": min(recent or streamed, default=None) if is_told else None,
        "_first_days": max(streamed, default=None),
    }


def _segment(first_days: int | None, recency: int | None, recent: int | None, frequent: int | None, much: int | None) -> str:
    if first_days is None or first_days < 0:
        return "never_listened"
    if recent is None or frequent is None or much is None:
        return "lost" if recency is not None and recency >= 56 else "lapsed"
    if first_days < 28:
        return "new"
    if min(recent, frequent, much) >= 4:
        return "champion"
    if recent >= 3:
        return "loyal" if frequent >= 4 else "promising" if recent >= 4 else "regular"
    return "at_risk" if max(frequent, much) >= 3 else "fading"


def _engagement(row: Row) -> Decimal:
    hours = min(Fraction(row["play_time_28d_ms"], 3_600_000), Fraction(28))
    score = (40 * row["active_days_28d"] + 30 * (28 - row["recency_days"]) + 30 * hours) / 28
    return (Decimal(score.numerator) / score.denominator).quantize(Decimal("0.1"), rounding=ROUND_HALF_UP)


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
