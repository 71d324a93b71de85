"""Playlists: what entered and left them, whom it reached, and what it did, in one handmade world, and what must stand in its marts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from nocturne.tenants import Tenant
from tests.integration.marts.reference import differences
from tests.integration.marts.world import World, local, make_tenant

BEGINS, ADDED, TODAY = date(2026, 1, 6), date(2026, 2, 10), date(2026, 3, 1)
DATASETS = ("plays", "tracks", "playlists", "playlist_tracks")
NUMBERS = itertools.count()
Effects = dict[tuple[str, str, date], dict[str, Any]]


def hear(world: World, track: str, day: date, streams: int) -> None:
    """So many streams of a track on a day."""
    for n in range(streams):
        at = local(f"{day}T12:00") + timedelta(seconds=n)
        row = {"play_id": f"play-{next(NUMBERS)}", "listener_key": f"of {track} {n}", "track_id": track, "played_at": at}
        world.add("plays", row | {"ms_played": 60_000})


def change(world: World, track: str, on: date, what: str = "added", playlist: str = "top", clock: str = "12:00") -> None:
    row = {"change_id": f"change-{next(NUMBERS)}", "playlist_id": playlist, "track_id": track, "change": what}
    world.add("playlist_tracks", row | {"changed_at": local(f"{on}T{clock}")})


def fill(world: World) -> None:
    """One track that a playlist takes in, and others near it in one way and not in another."""
    after, before = ADDED + timedelta(3), ADDED - timedelta(3)
    streams = {  # before, after
        "treated": (8, 30), "equal a": (8, 10), "equal b": (8, 12), "one more": (9, 9), "placed": (8, 90), "placed at the end": (8, 90), "placed long after": (7, 7),
        "placed long before": (10, 10), "other genre": (8, 90), "fresh": (0, 5), "alone": (200, 200), "early": (8, 8), "late": (8, 8),
        "folk": (10, 12), "folk half": (5, 7), "folk double": (20, 24), "folk below half": (4, 90), "folk above double": (21, 90),
    }  # fmt: skip
    for track, (then, now) in streams.items():
        genre = "jazz" if track == "other genre" else "folk" if track.startswith("folk") else "pop"
        world.add("tracks", {"track_id": track, "title": track, "artist_id": "artist", "duration_ms": 200_000, "genre": genre})
        hear(world, track, before, then)
        hear(world, track, after, now)
    for days in (-15, 0, 15):  # none of these days is in a window
        hear(world, "treated", ADDED + timedelta(days), 50)
    for days in (-14, -1, 1, 14):
        hear(world, "treated", ADDED + timedelta(days), 1)
    for track, day in (
        ("treated", ADDED),
        ("fresh", ADDED),
        ("alone", ADDED),
        ("folk", ADDED),
        ("placed", ADDED - timedelta(14)),
        ("placed at the end", ADDED + timedelta(14)),
        ("placed long before", ADDED - timedelta(15)),
        ("placed long after", ADDED + timedelta(15)),
        ("early", BEGINS + timedelta(13)),
        ("late", TODAY - timedelta(13)),
    ):
        change(world, track, day)
    change(world, "alone", BEGINS + timedelta(14), playlist="second")
    for week in (0, 7):  # deliveries begin on a Tuesday: a genre's share of the second week has no whole week before it
        hear(world, "fresh", BEGINS + timedelta(week), 1)
    change(world, "treated", ADDED, playlist="mine")
    change(world, "treated", ADDED - timedelta(14), playlist="forgotten")
    change(world, "treated", ADDED + timedelta(15), playlist="forgotten")
    change(world, "treated", ADDED, clock="23:59")
    change(world, "treated", ADDED, "removed", clock="18:00")
    change(world, "treated", ADDED + timedelta(1), playlist="second")
    world.add(
        "playlists",
        playlist("top", "editorial", BEGINS, 100, ADDED),
        playlist("top", "editorial", ADDED, 120, ADDED + timedelta(1)),
        playlist("top", "editorial", ADDED + timedelta(1), 150),
        playlist("second", "editorial", BEGINS, 7),
        playlist("second", "editorial", ADDED - timedelta(1), None),
        playlist("mine", "user", BEGINS, 5),
        playlist("forgotten", "user", BEGINS, 5, ADDED - timedelta(14)),
    )


def playlist(name: str, kind: str, since: date, followers: int | None, until: date | None = None) -> dict[str, Any]:
    own = {"playlist_id": name, "title": name, "playlist_type": kind, "follower_count": followers}
    return own | {"valid_from_on": since, "valid_to_on": until}


@pytest.fixture(scope="module")
def world(new_world: Callable[[Tenant], World]) -> World:
    made = new_world(make_tenant("playlists", DATASETS, begins_on=BEGINS))
    fill(made)
    made.night(TODAY)
    return made


@pytest.fixture(scope="module")
def effects(world: World) -> Effects:
    return {(row["playlist_id"], row["track_id"], row["added_on"]): row for row in world.mart("playlist_effects")}


def test_all_of_it_is_what_the_slow_reading_of_the_definitions_says(world: World) -> None:
    assert differences(world, TODAY) == []


def test_adds_and_reach_are_of_the_day_and_of_the_type(world: World) -> None:
    days = {(row["playlist_type"], row["changed_on"]): row for row in world.mart("playlist_days") if row["track_id"] == "treated"}
    editorial = days["editorial", ADDED]
    assert (editorial["add_count"], editorial["removal_count"], editorial["reach_count"]) == (1, 1, 120)
    assert (days["user", ADDED]["add_count"], days["user", ADDED]["reach_count"]) == (1, 5)
    assert days["editorial", ADDED + timedelta(1)]["reach_count"] is None  # the newer row takes over, and says nothing of followers
    assert days["unknown", ADDED + timedelta(15)]["add_count"] == 1


def test_an_effect_is_the_difference_of_14_days_less_that_of_the_controls(effects: Effects) -> None:
    effect = effects["top", "treated", ADDED]
    assert (effect["streams_before_14d"], effect["streams_after_14d"]) == (10, 32)
    # nearest to 10: placed long before (10), one more (9), early, equal a, equal b (8); placed long after (7) is the sixth
    assert effect["control_count"] == 5
    assert effect["control_streams_before_14d"] == pytest.approx((10 + 9 + 8 + 8 + 8) / 5)
    assert effect["control_streams_after_14d"] == pytest.approx((10 + 9 + 10 + 12 + 8) / 5)
    assert effect["effect_streams"] == pytest.approx(22 - (9.8 - 8.6))
    assert effect["other_add_count"] == 3  # "mine" and "second" about then, "forgotten" 14 days before, not the one 15 days after


def test_controls_have_half_to_double_the_streams_before(effects: Effects) -> None:
    effect = effects["top", "folk", ADDED]
    assert (effect["control_count"], effect["control_streams_before_14d"], effect["control_streams_after_14d"]) == (2, 12.5, 15.5)
    assert effect["effect_streams"] == pytest.approx(2 - 3)


def test_what_has_no_effect_says_why(effects: Effects) -> None:
    why = {track: effects["top", track, on]["unknown_because"] for _, track, on in effects if ("top", track, on) in effects}
    assert why == {
        "treated": None,
        "fresh": "no_streams_before",
        "alone": "no_control",
        "folk": None,
        "placed": why["placed"],
        "placed long before": why["placed long before"],
        "placed at the end": "window_open",
        "placed long after": "window_open",
        "early": "before_first_delivery",
        "late": "window_open",
    }
    assert effects["top", "alone", ADDED]["control_count"] == 0
    assert effects["second", "alone", BEGINS + timedelta(14)]["unknown_because"] == "no_streams_before"
    assert effects["top", "late", TODAY - timedelta(13)]["streams_before_14d"] is None


def test_a_week_after_half_a_week_of_deliveries_has_no_change(world: World) -> None:
    weeks = {row["week_on"]: row["stream_share_change"] for row in world.mart("genre_weeks") if row["genre"] == "pop"}
    assert weeks[BEGINS + timedelta(6)] is None


def test_a_window_that_ends_is_told_that_night_and_not_before(world: World) -> None:
    on = TODAY - timedelta(13)
    world.night(TODAY + timedelta(1))
    (row,) = [row for row in world.mart("playlist_effects") if row["added_on"] == on]
    assert row["unknown_because"] != "window_open"
    assert differences(world, TODAY + timedelta(1)) == []
