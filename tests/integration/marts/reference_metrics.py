"""The metrics once more, counted from the plays and tables that the reference of the marts gives: nothing is shared with the SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import Any

from tests.integration.marts.reference import known
from tests.integration.marts.world import Row

Group = tuple[Any, ...]
COUNTED: dict[str, Callable[[Sequence[Row]], Any]] = {
    "play_count": len,
    "stream_count": lambda plays: sum(play["is_stream"] for play in plays),
    "skip_count": lambda plays: known(play["is_skip"] for play in plays),
    "completed_count": lambda plays: known(play["is_completed"] for play in plays),
    "intentional_count": lambda plays: known(play["is_intentional"] for play in plays),
    "scrobble_count": lambda plays: known(play["is_scrobble"] for play in plays),
    "play_time_ms": lambda plays: sum(play["ms_played"] for play in plays),
    "avg_duration": lambda plays: sum(play["ms_played"] for play in plays) / len(plays),
    "stream_rate": lambda plays: sum(play["is_stream"] for play in plays) / len(plays),
    "listeners": lambda plays: len({play["listener_key"] for play in plays if play["is_stream"]}),
    "heard_tracks": lambda plays: len({play["track_id"] for play in plays}),
}
"""Metrics of plays, and what each is of some plays."""

MEMBER: dict[str, Callable[[Row], Any]] = {
    "country": lambda play: play["country"] or "ZZ",
    "genre": lambda play: play["genre"] or "unknown",
    "artist": lambda play: play["artist_id"] or "unknown",
    "track": lambda play: play["track_id"],
    "platform": lambda play: play["platform"] or "unknown",
    "tier": lambda play: play["tier"] or "unknown",
}


def stretch(step: str, day: date) -> date:
    """The first day of the day, week (from Monday), month, quarter or year that holds a day."""
    return {
        "day": day,
        "week": day - timedelta(day.weekday()),
        "month": day.replace(day=1),
        "quarter": day.replace(month=day.month - (day.month - 1) % 3, day=1),
        "year": day.replace(month=1, day=1),
    }[step]


def counted(plays: Iterable[Row], metric: str, dimensions: Sequence[str]) -> dict[Group, Any]:
    """A metric of plays by dimensions and stretches of time."""
    groups: dict[Group, list[Row]] = defaultdict(list)
    for play in plays:
        told = (MEMBER[name](play) if name in MEMBER else stretch(name, play["played_on"]) for name in dimensions)
        groups[tuple(told)].append(play)
    return {group: COUNTED[metric](of_group) for group, of_group in groups.items()}
