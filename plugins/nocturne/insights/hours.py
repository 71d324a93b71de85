"""Hours of a day in which nothing was played, though it usually is: an outage too short to show in the day's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from statistics import median
from zoneinfo import ZoneInfo

from nocturne.insights.baselines import ENOUGH, Comparison
from nocturne.insights.findings import Finding, Member
from nocturne.insights.metrics import PLAYS

_ENOUGH_SESSIONS = 10  # listening sessions that must be missing: their absence by chance is rarer than one day in ten thousand


def local_hours(day: date, zone: ZoneInfo) -> list[int]:
    """The local hours that a calendar day has, in their order: 23, 24 or 25 of them."""
    at = datetime.combine(day, time(), zone).astimezone(UTC)
    end = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
    hours = []
    while at < end:
        hours.append(at.astimezone(zone).hour)
        at += timedelta(hours=1)
    return hours


def silent_hours(by_hour: Mapping[date, Mapping[int, int]], day: date, earlier: Sequence[date], zone: ZoneInfo) -> Finding | None:
    """The run of silent hours in which most is missing, against the median of the same hours of `earlier` days; None if chance explains it.

    A day that is silent altogether is no matter of hours.
    """
    known = [by_hour[one] for one in earlier if one in by_hour]
    if day not in by_hour or len(known) < ENOUGH:
        return None
    worst: tuple[float, list[int]] = (0.0, [])
    run: list[int] = []
    missing = 0.0
    for hour in dict.fromkeys(local_hours(day, zone)):
        if by_hour[day].get(hour, 0):
            run, missing = [], 0.0
            continue
        run.append(hour)
        missing += median(one.get(hour, 0) for one in known)
        worst = max(worst, (missing, list(run)), key=lambda one: one[0])
    missing, hours = worst
    if missing < _ENOUGH_SESSIONS * PLAYS.noise:
        return None
    span = f"{hours[0]:02}:00-{hours[-1] + 1:02}:00"
    one = Comparison(0.0, missing, -missing / (PLAYS.noise * missing) ** 0.5)
    return Finding(PLAYS, "member", one, "high", Member("hours", span, span), total=one)
