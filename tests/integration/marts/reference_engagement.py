"""The definitions of weeks, months, hours and of what was heard of a track, once more in plain Python; registered in `reference.py`."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from tests.integration.marts import reference_content
from tests.integration.marts.hashing import number_of
from tests.integration.marts.world import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.marts.reference import Key, Marts, Session, Table

KEYS = {
    "activity_periods": ("period", "starts_on"),
    "hour_days": ("played_on", "hour"),
    "listener_sketches": ("country", "platform", "tier", "played_on", "level"),
    "listening_days": ("played_on",),
    "path_days": ("started_on", "context_path"),
    "path_transitions": ("step", "source", "target"),
    "session_days": ("country", "platform", "started_on"),
}

ALL = "(all)"


def expected(marts: Marts, found: dict[str, Table]) -> dict[str, Table]:
    """The marts of engagement beside plays, sessions, listener-days and days; `found` are those."""
    plays: dict[date, list[Row]] = defaultdict(list)
    for play in marts.plays:
        plays[play["played_on"]].append(play)
    return {
        "activity_periods": _periods(marts, found["activity_days"]),
        "hour_days": {key: row for on, played in plays.items() for key, row in _hours(marts, on, played).items()},
        "listener_sketches": _sketches(marts.plays),
        "listening_days": {(on,): _listening(played) for on, played in plays.items()},
        "path_days": _paths(marts),
        "path_transitions": _transitions(marts),
        "session_days": _session_days(found["sessions"]),
    }


def _periods(marts: Marts, days: Table) -> Table:
    groups: dict[tuple[str, date], list[date]] = defaultdict(list)
    for (on,) in days:
        groups["week", marts.week_of(on)].append(on)
        groups["month", on.replace(day=1)].append(on)
    return {(period, first): _period(marts, days, first, _last_day(period, first), held) for (period, first), held in groups.items()}


def _last_day(period: str, first: date) -> date:
    if period == "week":
        return first + timedelta(6)
    return (first + timedelta(31)).replace(day=1) - timedelta(1)


def _period(marts: Marts, days: Table, first: date, last: date, held: list[date]) -> Row:
    is_over = last <= marts.today
    regular = [on for on in held if marts.tenant.begins_on <= on <= marts.today]
    row: Row = {"ends_on": last, "day_count": len(regular), "is_over": is_over}
    for name in ("play_count", "stream_count", "session_count", "play_time_ms", "new_listener_count"):
        row[name] = sum(days[on,][name] for on in held)
    for name in ("skip_count", "completed_count", "intentional_count"):
        row[name] = reference_content.known(days[on,][name] for on in held)
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


def _hours(marts: Marts, on: date, plays: list[Row]) -> Table:
    """Minute by minute: what the clock showed, and who was heard."""
    found: Table = {}
    begins = datetime(on.year, on.month, on.day, tzinfo=UTC) - timedelta(hours=20)
    for minute in range(64 * 60):
        clock = _clock(marts, begins + timedelta(minutes=minute))
        if clock.date() == on:
            row = found.setdefault((on, clock.hour), {"weekday": on.isoweekday(), "minutes": 0, "plays": []})
            row["minutes"] += 1
    for play in plays:
        found[on, _clock(marts, play["played_at"]).hour]["plays"].append(play)
    for row in found.values():
        heard = row.pop("plays")
        row["clock_hours"] = row.pop("minutes") / 60
        row["play_count"] = len(heard)
        row["stream_count"] = sum(play["is_stream"] for play in heard)
        row["ms_played"] = sum(play["ms_played"] for play in heard)
        row["listeners_in_hour"] = len({play["listener_key"] for play in heard if play["is_stream"]})
    return found


def _clock(marts: Marts, at: datetime) -> datetime:
    return at.astimezone(marts.tenant.zone_at(at))


def _sketches(plays: list[Row]) -> Table:
    """Where each listener stands: by the leading zeros of his number, and by its last 13 bits."""
    places: dict[tuple[str, str, str, date, int], set[int]] = defaultdict(set)
    for play in plays:
        if play["is_stream"]:
            number = number_of(play["listener_key"])
            country = play["country"] or "ZZ"
            platform, tier = ((play[name] if play[name] != ALL else None) or "unknown" for name in ("platform", "tier"))
            for split in ((ALL, ALL, ALL), (country, ALL, ALL), (ALL, platform, ALL), (ALL, ALL, tier)):
                places[*split, play["played_on"], 64 - number.bit_length()].add(number % 8_192)
    return {key: {"sketch": "".join("1" if place in held else "0" for place in range(8_192))} for key, held in places.items()}


def track_days(marts: Marts) -> Table:
    """What was heard of a track in a territory, and how far its plays came."""
    return _of_tracks(marts, _place)


def track_months(marts: Marts) -> Table:
    """What was heard of a track in a month, everywhere."""
    found = _of_tracks(marts, _month)
    for month, plays in reference_content.grouped_by(marts.plays, _month).items():
        row, streamed = found[month], [play["played_on"] for play in plays if play["is_stream"]]
        del row["listeners_1d"]
        row |= {"first_streamed_on": min(streamed, default=None), "last_streamed_on": max(streamed, default=None)}
    return found


def territory_curve_days(marts: Marts) -> Table:
    """How far tracks were heard in a territory on a day."""
    return _curves(marts, lambda play: (play["country"] or "ZZ", play["played_on"]))


def _of_tracks(marts: Marts, key: Callable[[Row], Key]) -> Table:
    found, called, curves = marts._grouped(key), reference_content.called(marts.plays, key), _curves(marts, key)
    for group in found:
        found[group] |= called[group] | curves[group]
    return found


def _curves(marts: Marts, key: Callable[[Row], Key]) -> Table:
    found: Table = {}
    for play in marts.plays:
        row = found.setdefault(key(play), {"timed_play_count": 0} | {f"reached_{tenth}0_count": 0 for tenth in range(1, 11)})
        if play["tenths_heard"] is not None:
            row["timed_play_count"] += 1
            for tenth in range(1, play["tenths_heard"] + 1):
                row[f"reached_{tenth}0_count"] += 1
    return found


def _place(play: Row) -> tuple[str, date, str]:
    return play["track_id"], play["played_on"], play["country"] or "ZZ"


def _month(play: Row) -> tuple[str, date]:
    return play["track_id"], play["played_on"].replace(day=1)


def _listening(plays: list[Row]) -> Row:
    is_told = any(play["is_skip"] is not None for play in plays)
    row: Row = {"play_count": len(plays)}
    for bucket in ("before_5s", "before_30s", "before_end"):
        count = sum(play["skip_bucket"] == bucket for play in plays)
        row[f"skip_{bucket}_count"] = count if is_told else None
        row[f"skip_{bucket}_ratio"] = count / len(plays) if is_told else None
    timed = [play["tenths_heard"] for play in plays if play["tenths_heard"] is not None]
    row["timed_play_count"] = len(timed)
    for tenth in range(1, 11):
        row[f"reached_{tenth}0_ratio"] = sum(heard >= tenth for heard in timed) / len(timed) if timed else None
    by_listener: dict[str, int] = defaultdict(int)
    for play in plays:
        by_listener[play["listener_key"]] += play["ms_played"]
    row["player_count"] = len(by_listener)
    for percent in (50, 90, 95, 99):
        row[f"play_time_p{percent}_ms"] = _percentile(sorted(by_listener.values()), Fraction(percent, 100))
    return row


def _percentile(values: list[int], share: Fraction) -> float:
    place = share * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return float(values[below] + (values[above] - values[below]) * (place - below))


def path(session: Session) -> str | None:
    """The places where a session's plays started, without stays; None if no play tells."""
    plays = sorted(session.plays, key=lambda play: (play["played_at"], play["play_id"]))
    if all(play["context_type"] is None for play in plays):
        return None
    places = [name for name, _ in itertools.groupby(play["context_type"] or "unknown" for play in plays)]
    return " > ".join([*places[:5], "(more)"] if len(places) > 5 else places)


def _paths(marts: Marts) -> Table:
    groups: dict[tuple[date, str], list[Session]] = defaultdict(list)
    for session in marts.sessions:
        taken = path(session)
        if taken is not None:
            groups[session.events[0].on, taken].append(session)
    return {
        key: {
            "session_count": len(sessions),
            "listener_count": len({session.listener for session in sessions}),
            "stream_count": sum(play["is_stream"] for session in sessions for play in session.plays),
            "ms_played": sum(play["ms_played"] for session in sessions for play in session.plays),
        }
        for key, sessions in groups.items()
    }


def _session_days(sessions: Table) -> Table:
    def place(session: Row) -> Key:
        return session["country"] or "ZZ", session["platform"] or "unknown", session["started_on"]

    added = ("play_count", "stream_count", "interaction_count", "ms_played")
    return {
        key: {
            "session_count": len(members),
            **{name: sum(one[name] for one in members) for name in added},
            "skip_count": reference_content.known(one["skip_count"] for one in members),
            "duration_seconds": math.fsum(one["duration_seconds"] for one in members),
        }
        for key, members in reference_content.grouped_by(sessions.values(), place).items()
    }


def _transitions(marts: Marts) -> Table:
    moves: Counter[tuple[int, str, str]] = Counter()
    for session in marts.sessions:
        taken = path(session)
        if taken is not None and 0 <= (marts.today - session.events[0].on).days < 28:
            places = ["(start)", *taken.split(" > ")]
            places += [] if places[-1] == "(more)" else ["(end)"]
            moves.update((step, source, target) for step, (source, target) in enumerate(itertools.pairwise(places)))
    left: Counter[tuple[int, str]] = Counter()
    for (step, source, _), count in moves.items():
        left[step, source] += count
    return {
        (step, source, target): {"session_count": count, "transition_ratio": count / left[step, source]}
        for (step, source, target), count in moves.items()
    }
