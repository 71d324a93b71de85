"""The definitions of the domain `content` once more, in plain Python: what playlists did, and what came of it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
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
    "catalogue_days": ("release_age", "played_on"),
    "release_days": ("release_id", "played_on"),
    "platform_days": ("platform", "played_on"),
    "territory_days": ("country", "platform", "tier", "played_on"),
    "context_days": ("context_type", "skip_bucket", "played_on"),
    "distribution_days": ("measure", "played_on"),
    "genre_weeks": ("genre", "week_on"),
    "virality_days": ("day_on",),
    "save_days": ("track_id", "saved_on"),
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

    def week_of(self, on: date) -> date:
        """The first day of the tenant's week."""


_OF_EFFECTS = (
    "streams_before_14d", "streams_after_14d", "control_count", "control_streams_before_14d", "control_streams_after_14d",
    "other_add_count", "effect_streams", "unknown_because",
)  # fmt: skip


def tables(heard: Heard, days: Iterable[date]) -> dict[str, Table]:
    """The marts of the domain that the tenant has; `days` are those that activity is told of."""
    found: dict[str, Table] = {}
    if heard.has("plays"):
        found["platform_days"] = _without_tracks(_grouped(heard.plays, lambda play: (play["platform"] or "unknown", play["played_on"])))
        for mart, key in (("territory_days", _territory), ("context_days", _context)):
            numbers, more = _without_tracks(_grouped(heard.plays, key)), called(heard.plays, key)
            found[mart] = {group: numbers[group] | more[group] for group in numbers}
        for numbers_of_context in found["context_days"].values():
            del numbers_of_context["listeners_1d"]
        found["distribution_days"] = _distribution_days(heard)
        found["genre_weeks"] = _genre_weeks(heard)
    if heard.has("plays", "tracks"):
        found["catalogue_days"] = _catalogue_days(heard)
        found["release_days"] = _release_days(heard)
    if heard.has("plays", "interactions"):
        found["virality_days"] = _virality_days(heard, days)
        found["save_days"] = _save_days(heard)
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
                if genre is not None and heard.tracks[other].get("genre") == genre and other not in {add[1] for add in near}
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


def _catalogue_days(heard: Heard) -> Table:
    def age(play: Row) -> str:
        released = heard.tracks.get(play["track_id"], {}).get("released_on")
        if released is None:
            return "unknown"
        year, month = divmod(released.month - 1 + 18, 12)
        return "catalogue" if released.replace(year=released.year + year, month=month + 1) < play["played_on"] else "current"

    found = _grouped(heard.plays, lambda play: (age(play), play["played_on"]))
    streams: dict[date, int] = defaultdict(int)
    for (_, on), numbers in found.items():
        streams[on] += numbers["stream_count"]
    for (_, on), numbers in found.items():
        numbers["stream_share_ratio"] = numbers["stream_count"] / streams[on] if streams[on] else None
    return found


def _release_days(heard: Heard) -> Table:
    of_track = {track: row.get("release_id") for track, row in heard.tracks.items()}
    released = {row["release_id"]: row.get("released_on") for row in heard.rows.get("releases", [])}
    plays = [play for play in heard.plays if of_track.get(play["track_id"])]
    found = _grouped(plays, lambda play: (of_track[play["track_id"]], play["played_on"]))
    for (release, on), numbers in found.items():
        since = released.get(release)
        numbers["days_since_release"] = None if since is None else (on - since).days
    return found


def _territory(play: Row) -> Key:
    return play["country"] or "ZZ", play["platform"] or "unknown", play["tier"] or "unknown", play["played_on"]


def _context(play: Row) -> Key:
    return play["context_type"] or "unknown", play["skip_bucket"] or "none", play["played_on"]


def grouped_by(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """The rows of each key."""
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def known(values: Iterable[int | None]) -> int | None:
    """The sum (or how many are true) of those that are known; None if none is known."""
    told = [value for value in values if value is not None]
    return sum(told) if told else None


def called(plays: list[Row], key: Callable[[Row], Key]) -> Table:
    """How many plays of each group are what a play may be called."""
    words = ("skip", "intentional", "scrobble", "offline", "estimated")
    return {
        group: {f"{word}_count": known(play[f"is_{word}"] for play in members) for word in words}
        | {"completed_count": known(play["is_completed"] for play in members)}
        for group, members in grouped_by(plays, key).items()
    }


def _without_tracks(found: Table) -> Table:
    for numbers in found.values():
        del numbers["track_count"]
    return found


def _grouped(plays: list[Row], key: Callable[[Row], Key]) -> Table:
    return {
        group: {
            "play_count": len(members),
            "stream_count": sum(play["is_stream"] for play in members),
            "ms_played": sum(play["ms_played"] for play in members),
            "track_count": len({play["track_id"] for play in members}),
            "listeners_1d": len({play["listener_key"] for play in members if play["is_stream"]}),
        }
        for group, members in grouped_by(plays, key).items()
    }


def _distribution_days(heard: Heard) -> Table:
    values: dict[Key, list[int]] = defaultdict(list)
    streams: Counter[Key] = Counter()
    for play in heard.plays:
        values["ms_played", play["played_on"]].append(play["ms_played"])
        for subject, column in (("track", "track_id"), ("artist", "artist_id"), ("listener", "listener_key")):
            if play["is_stream"] and play[column]:
                streams[subject, play["played_on"], play[column]] += 1
    for (subject, on, _), count in streams.items():
        values[f"streams_by_{subject}", on].append(count)
    return {key: _distribution(sorted(some)) for key, some in values.items()}


def _distribution(values: list[int]) -> Row:
    def percentile(share: float) -> float:
        place = share * (len(values) - 1)
        below, above = values[math.floor(place)], values[math.ceil(place)]
        return below + (above - below) * (place - math.floor(place))

    shares = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
    told = {"value_count": len(values), "mean": sum(values) / len(values), "maximum": values[-1]}
    return told | {name: percentile(share) for name, share in shares.items()}


def _genre_weeks(heard: Heard) -> Table:
    weeks: dict[date, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for play in heard.plays:
        weeks[heard.week_of(play["played_on"])][play["genre"] or "unknown"].append(play)
    found: Table = {}
    for week in list(weeks):
        for genre in weeks[week]:
            found[genre, week] = {}
            if week + timedelta(7) <= heard.today:
                found[genre, week + timedelta(7)] = {}
    for genre, week in found:
        now, before = (_share(weeks.get(on, {}), genre) for on in (week, week - timedelta(7)))
        is_over = week + timedelta(6) <= heard.today
        is_told = is_over and week - timedelta(7) >= heard.tenant.begins_on and now is not None and before is not None
        streams = [play for play in weeks.get(week, {}).get(genre, []) if play["is_stream"]]
        found[genre, week] = {
            "stream_count": len(streams),
            "listener_count": len({play["listener_key"] for play in streams}),
            "stream_share_ratio": now,
            "stream_share_change": (now or 0) - (before or 0) if is_told else None,
            "is_over": is_over,
        }
    return found


def _share(genres: Mapping[str, list[Row]], genre: str) -> float | None:
    streams = {name: sum(play["is_stream"] for play in plays) for name, plays in genres.items()}
    return streams.get(genre, 0) / sum(streams.values()) if sum(streams.values()) else None


def _save_days(heard: Heard) -> Table:
    found: Table = {}
    saves = [row for row in heard.rows["interactions"] if row["interaction"] in ("save", "unsave")]
    for (track, on), rows in grouped_by(saves, lambda row: (row.get("track_id") or "unknown", row["interacted_on"])).items():
        streams = [play for play in heard.plays if play["is_stream"] and (play["track_id"], play["played_on"]) == (track, on)]
        listeners = {play["listener_key"] for play in streams}
        made = sum(row["interaction"] == "save" for row in rows)
        found[track, on] = {
            "save_count": made,
            "unsave_count": len(rows) - made,
            "net_save_count": 2 * made - len(rows),
            "stream_count": len(streams),
            "listeners_1d": len(listeners),
            "saves_per_listener": made / len(listeners) if listeners else None,
            "saves_per_stream": made / len(streams) if streams else None,
        }
    return found


def _virality_days(heard: Heard, days: Iterable[date]) -> Table:
    firsts: dict[str, date] = {}
    for play in heard.plays:
        if play["is_stream"]:
            firsts[play["listener_key"]] = min(firsts.get(play["listener_key"], date.max), play["played_on"])
    shares = [row["interacted_on"] for row in heard.rows["interactions"] if row["interaction"] == "share"]
    found: Table = {}
    for on in days:
        first = on - timedelta(6)
        listeners = len({p["listener_key"] for p in heard.plays if p["is_stream"] and first <= p["played_on"] <= on})
        shared = sum(first <= one <= on for one in shares)
        new = sum(first <= one <= on for one in firsts.values()) if on - timedelta(7) >= heard.tenant.begins_on else None
        a_listener = shared / listeners if listeners else None
        a_share = new / shared if shared and new is not None else None
        found[on,] = {
            "listeners_7d": listeners,
            "share_count_7d": shared,
            "new_listeners_7d": new,
            "shares_per_listener_7d": a_listener,
            "new_listeners_per_share_7d": a_share,
            "virality_7d": None if a_listener is None or a_share is None else a_listener * a_share,
        }
    return found


def momentum(heard: Heard, track: str) -> Row:
    """Of a track: how often it was heard of late, and against the others."""

    def streams(of: str, days: int) -> int:
        return sum(p["is_stream"] and p["track_id"] == of and 0 <= (heard.today - p["played_on"]).days < days for p in heard.plays)

    own, week = streams(track, 28), streams(track, 7)
    others = [count for other in {p["track_id"] for p in heard.plays} - {track} if (count := streams(other, 28))]
    rank = sum(count < own for count in others) / len(others) if others else 0
    is_known = heard.today - timedelta(27) >= heard.tenant.begins_on
    return {
        "streams_7d": week,
        "momentum_ratio": week * 4 / own if own and is_known else None,
        "popularity_ratio": rank if own else None,
    }
