"""The catalogue and how it is heard: ages, releases, platforms, distributions, trends, momentum and sharing, in one handmade world."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from nocturne.tenants import Tenant
from tests.integration.marts.reference import differences
from tests.integration.marts.world import World, local, make_tenant

BEGINS, TODAY = date(2026, 3, 2), date(2026, 3, 29)  # a Monday, and the Sunday that ends the fourth week
DATASETS = ("plays", "tracks", "artists", "releases", "interactions")
NUMBERS = itertools.count()


def hear(world: World, track: str, on: date, streams: int = 1, listener: str | None = None, **more: Any) -> None:
    """So many streams of a track on a day, each of another listener unless one is named."""
    for n in range(streams):
        at = local(f"{on}T12:00") + timedelta(seconds=n)
        row = {"play_id": f"play-{next(NUMBERS)}", "listener_key": listener or f"of {track} {n}", "track_id": track, "played_at": at}
        world.add("plays", row | {"ms_played": 60_000, "platform": "ios", "reason_end": "track_done"} | more)


def share(world: World, on: date, **what: Any) -> None:
    row = {"interaction_id": f"share-{next(NUMBERS)}", "interacted_at": local(f"{on}T20:00"), "interaction": "share"}
    world.add("interactions", row | what)


def fill(world: World) -> None:
    """Each track is there for one thing."""
    for track, genre, released in (
        ("old", "pop", date(2024, 9, 4)),
        ("not yet old", "pop", date(2024, 9, 5)),
        ("of no age", "jazz", None),
        ("rising", "jazz", date(2026, 3, 1)),
        ("gone", "folk", date(2026, 3, 1)),
    ):
        named = {"track_id": track, "title": track, "artist_id": f"artist of {track}", "genre": genre, "duration_ms": 200_000}
        world.add("tracks", named | {"released_on": released, "release_id": None if released is None else "release"})
        world.add("artists", {"artist_id": f"artist of {track}", "artist_name": track})
    world.add("releases", {"release_id": "release", "title": "Release", "released_on": date(2026, 3, 4)})

    for track, streams in (("old", 3), ("not yet old", 2), ("of no age", 1)):
        hear(world, track, date(2026, 3, 5), streams)
    hear(world, "old", date(2026, 3, 5), 2, listener="of old 0", platform=None, tier="(all)")
    hear(world, "old", date(2026, 3, 5), listener="in haste", ms_played=10_000, platform="web", reason_end="forward")

    # 101 plays of one track on a day: the p-th percentile is the p-th value
    for n in range(101):
        hear(world, "gone", date(2026, 3, 10), listener=f"measured {n}", ms_played=30_000 + n * 1_000)
    # streams in the last 7 days and in those before
    for ago, streams in ((28, 50), (27, 3), (7, 3), (6, 2), (0, 4)):
        hear(world, "rising", TODAY - timedelta(ago), streams)
    hear(world, "of no age", TODAY - timedelta(7), 5)
    hear(world, "old", TODAY, 1)
    for ago, what in (
        (7, {"track_id": "rising"}),
        (6, {"track_id": "rising"}),
        (0, {"artist_id": "artist of rising"}),
        (0, {"artist_id": "artist of old", "track_id": "rising"}),
        (0, {}),
    ):
        share(world, TODAY - timedelta(ago), **what)
    for track, what in (("rising", "save"), ("rising", "save"), ("rising", "unsave"), ("gone", "save"), ("gone", "unsave"), (None, "save")):
        share(world, TODAY, track_id=track, interaction=what)


@pytest.fixture(scope="module")
def world(new_world: Callable[[Tenant], World]) -> World:
    made = new_world(make_tenant("contents", DATASETS, begins_on=BEGINS))
    fill(made)
    made.night(TODAY)
    return made


def test_all_of_it_is_what_the_slow_reading_of_the_definitions_says(world: World) -> None:
    assert differences(world, TODAY) == []


def test_catalogue_is_what_was_released_more_than_18_months_before_the_day(world: World) -> None:
    days = {row["release_age"]: row for row in world.mart("catalogue_days") if row["played_on"] == date(2026, 3, 5)}
    assert {age: (row["stream_count"], row["listeners_1d"]) for age, row in days.items()} == {
        "catalogue": (5, 3),
        "current": (2, 2),
        "unknown": (1, 1),
    }
    assert days["current"]["stream_share_ratio"] == 0.25


def test_a_release_is_heard_through_its_tracks(world: World) -> None:
    (row,) = [row for row in world.mart("release_days") if row["played_on"] == date(2026, 3, 5)]
    assert (row["release_id"], row["days_since_release"], row["stream_count"], row["track_count"], row["listeners_1d"]) == (
        "release", 1, 7, 2, 5,
    )  # fmt: skip


def test_a_platform_that_is_not_told_is_unknown(world: World) -> None:
    days = {row["platform"]: row for row in world.mart("platform_days") if row["played_on"] == date(2026, 3, 5)}
    assert {name: (row["play_count"], row["stream_count"], row["skip_count"]) for name, row in days.items()} == {
        "ios": (6, 6, 0),
        "web": (1, 0, 1),
        "unknown": (2, 2, 0),
    }


def test_a_tier_that_is_called_all_is_not_taken_for_all(world: World) -> None:
    levels = [row for row in world.mart("listener_sketches") if row["played_on"] == date(2026, 3, 5)]
    assert {row["tier"] for row in levels} == {"(all)", "unknown"}
    assert len({(row["country"], row["platform"], row["tier"], row["level"]) for row in levels}) == len(levels)


def test_percentiles_are_of_plays_tracks_artists_and_listeners(world: World) -> None:
    day = {row["measure"]: row for row in world.mart("distribution_days") if row["played_on"] == date(2026, 3, 10)}
    lengths = day["ms_played"]
    assert [lengths[name] for name in ("p50", "p90", "p95", "p99", "maximum")] == [80_000, 120_000, 125_000, 129_000, 130_000]
    assert [day[f"streams_by_{name}"]["maximum"] for name in ("track", "artist", "listener")] == [101, 101, 1]
    day = {row["measure"]: row for row in world.mart("distribution_days") if row["played_on"] == date(2026, 3, 5)}
    assert (day["streams_by_track"]["value_count"], day["streams_by_track"]["p50"], day["streams_by_listener"]["maximum"]) == (3, 2, 3)


def test_a_genres_share_is_told_by_week_and_its_loss_in_the_week_after(world: World) -> None:
    weeks = {(row["genre"], row["week_on"]): row for row in world.mart("genre_weeks")}
    folk, after = weeks["folk", date(2026, 3, 9)], weeks["folk", date(2026, 3, 16)]
    assert (folk["stream_share_ratio"], folk["stream_share_change"]) == (1, 1)
    assert (after["stream_count"], after["stream_share_change"]) == (0, -1)
    assert ("folk", date(2026, 3, 23)) not in weeks
    assert weeks["pop", date(2026, 3, 2)]["stream_share_change"] is None
    assert weeks["pop", date(2026, 3, 2)]["listener_count"] == 5


def test_a_week_that_is_not_over_has_a_share_and_no_change(world: World) -> None:
    hear(world, "old", TODAY + timedelta(1), 2)
    world.night(TODAY + timedelta(1))
    weeks = {row["genre"]: row for row in world.mart("genre_weeks") if row["week_on"] == TODAY + timedelta(1)}
    assert {genre: (row["stream_share_ratio"], row["stream_share_change"], row["is_over"]) for genre, row in weeks.items()} == {
        "pop": (1, None, False),
        "jazz": (0, None, False),
    }
    assert differences(world, TODAY + timedelta(1)) == []
    for later in (6, 7):  # nothing is heard any more, and still the week ends, and another one begins
        world.night(TODAY + timedelta(later))
        assert differences(world, TODAY + timedelta(later)) == []
    (row,) = [row for row in world.mart("genre_weeks") if row["week_on"] == TODAY + timedelta(1) and row["genre"] == "pop"]
    assert (row["is_over"], row["stream_share_change"]) == (True, pytest.approx(1 - 1 / 7))


def test_saves_are_told_beside_those_who_heard_the_track_on_the_day(world: World) -> None:
    columns = ("save_count", "unsave_count", "net_save_count", "stream_count", "listeners_1d", "saves_per_listener", "saves_per_stream")
    assert {row["track_id"]: tuple(row[column] for column in columns) for row in world.mart("save_days")} == {
        "rising": (2, 1, 1, 4, 4, 0.5, 0.5),
        "gone": (1, 1, 0, 0, 0, None, None),
        "unknown": (1, 0, 1, 0, 0, None, None),
    }


def test_a_late_play_of_a_saved_track_moves_its_save_rate(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("contents", DATASETS, begins_on=BEGINS))
    fill(world)
    world.night(TODAY)
    hear(world, "gone", TODAY, listener="late", country="FR")
    hear(world, "gone", TODAY, listener="late", country="DE")
    world.night(TODAY)
    (row,) = [row for row in world.mart("save_days") if row["track_id"] == "gone"]
    assert (row["stream_count"], row["listeners_1d"], row["saves_per_listener"], row["saves_per_stream"]) == (2, 1, 1, 0.5)
    assert differences(world, TODAY) == []


def test_momentum_and_popularity(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("contents", DATASETS, begins_on=BEGINS))
    fill(world)
    world.night(TODAY)
    tracks = {row["track_id"]: row for row in world.mart("track_facts")}
    assert (tracks["rising"]["streams_28d"], tracks["rising"]["streams_7d"]) == (12, 6)
    assert tracks["rising"]["momentum_ratio"] == pytest.approx((6 / 7) / (12 / 28))
    assert [tracks[name]["popularity_ratio"] for name in ("gone", "rising", "not yet old")] == [1, 0.75, 0]
    assert tracks["of no age"]["momentum_ratio"] == 0

    artists = {row["artist_id"]: (row["share_count_7d"], row["virality_7d"]) for row in world.mart("artist_facts")}
    assert artists["artist of rising"] == (2, pytest.approx(2 / 4 * (0 / 2)))
    assert artists["artist of old"] == (1, 0)
    assert artists["artist of gone"] == (0, None)

    (day,) = [row for row in world.mart("virality_days") if row["day_on"] == TODAY]
    assert (day["share_count_7d"], day["listeners_7d"], day["new_listeners_7d"]) == (4, 5, 0)
    days = {row["day_on"]: row["new_listeners_7d"] for row in world.mart("virality_days")}
    assert (days[BEGINS + timedelta(6)], days[BEGINS + timedelta(7)]) == (None, 6)
