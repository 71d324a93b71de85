"""The definitions of the domain `content` once more, in plain Python: what playlists did, and what came of it."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from statistics import fmean
from typing import Any, Protocol

from nocturne.tenants import Tenant
from tests.integration.marts.world import Row

Key = tuple[Any, ...]
Table = dict[Key, Row]
KEYS = {
    "playlist_days": ("track_id", "playlist_type", "changed_on"),
    "playlist_effects": ("playlist_id", "track_id", "added_on"),
}


class Heard(Protocol):
    """What the reference knows once it has listened: plays as they are judged, and silver's rows."""

    tenant: Tenant
    today: date
    rows: dict[str, list[Row]]
    tracks: dict[str, Row]
    plays: list[Row]

    def has(self, *names: str) -> bool:
        """Whether the tenant delivers all of these datasets."""


_OF_EFFECTS = (
    "streams_before_14d", "streams_after_14d", "control_count", "control_streams_before_14d", "control_streams_after_14d",
    "other_add_count", "effect_streams", "unknown_because",
)  # fmt: skip


def tables(heard: Heard) -> dict[str, Table]:
    """The marts of the domain that the tenant has."""
    found: dict[str, Table] = {}
    if heard.has("playlists", "playlist_tracks"):
        found["playlist_days"] = _playlist_days(heard)
    if heard.has("plays", "tracks", "playlists", "playlist_tracks"):
        found["playlist_effects"] = _playlist_effects(heard)
    return found


def _playlist(heard: Heard, playlist: str, on: date) -> Row:
    """The playlist as it stood on a day; nothing of one that was not known then."""
    begun = [row for row in heard.rows["playlists"] if row["playlist_id"] == playlist and row["valid_from_on"] <= on]
    newest = max(begun, key=lambda row: row["valid_from_on"], default={})
    return newest if newest and on < (newest.get("valid_to_on") or date.max) else {}


def _changes(heard: Heard, change: str) -> set[tuple[str, str, date]]:
    """(playlist, track, day) of a kind of change."""
    return {(row["playlist_id"], row["track_id"], row["changed_on"]) for row in heard.rows["playlist_tracks"] if row["change"] == change}


def _playlist_days(heard: Heard) -> Table:
    found: Table = {}
    for change, column in (("added", "add_count"), ("removed", "removal_count")):
        for playlist, track, on in _changes(heard, change):
            stood = _playlist(heard, playlist, on)
            key = (track, stood.get("playlist_type", "unknown"), on)
            artist = heard.tracks.get(track, {}).get("artist_id")
            numbers = found.setdefault(key, {"add_count": 0, "removal_count": 0, "reach_count": None, "artist_id": artist})
            numbers[column] += 1
            if change == "added" and stood.get("follower_count") is not None:
                numbers["reach_count"] = (numbers["reach_count"] or 0) + stood["follower_count"]
    return found


def _playlist_effects(heard: Heard) -> Table:
    streams: dict[tuple[str, date], int] = defaultdict(int)
    for play in heard.plays:
        streams[play["track_id"], play["played_on"]] += play["is_stream"]
    adds = _changes(heard, "added")
    found: Table = {}

    def window(track: str, on: date, step: int) -> int:
        return sum(streams.get((track, on + timedelta(step * n)), 0) for n in range(1, 15))

    for playlist, track, on in adds:
        stood = _playlist(heard, playlist, on)
        numbers = found[playlist, track, on] = dict.fromkeys(_OF_EFFECTS) | {
            "playlist_type": stood.get("playlist_type", "unknown"),
            "follower_count": stood.get("follower_count"),
        }
        before, after = window(track, on, -1), window(track, on, 1)
        if on + timedelta(14) > heard.today:
            numbers["unknown_because"] = "window_open"
        elif on - timedelta(14) < heard.tenant.begins_on:
            numbers["unknown_because"] = "before_first_delivery"
        elif not before:
            numbers["unknown_because"] = "no_streams_before"
        else:
            near = {add for add in adds if abs((add[2] - on).days) <= 14}
            genre = heard.tracks.get(track, {}).get("genre")
            candidates = [
                (abs(streams_before - before), other, streams_before)
                for other in heard.tracks
                if genre is not None and heard.tracks[other]["genre"] == genre and other not in {add[1] for add in near}
                if (streams_before := window(other, on, -1)) and before / 2 <= streams_before <= before * 2
            ]
            controls = sorted(candidates)[:5]
            numbers |= {
                "streams_before_14d": before,
                "streams_after_14d": after,
                "control_count": len(controls),
                "other_add_count": len({add for add in near if add[1] == track} - {(playlist, track, on)}),
            }
            if controls:
                then, now = fmean(one[2] for one in controls), fmean(window(one[1], on, 1) for one in controls)
                numbers |= {"control_streams_before_14d": then, "control_streams_after_14d": now}
                numbers["effect_streams"] = (after - before) - (now - then)
            else:
                numbers["unknown_because"] = "no_control"
    return found
