"""Artists: their audiences, growth and reach, and whom to look at, in one handmade world, and what must stand in its marts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from nocturne.tenants import Tenant
from tests.integration.marts.reference import differences
from tests.integration.marts.world import World, local, make_tenant

BEGINS = date(2026, 1, 5)
TODAY = BEGINS + timedelta(55)
DATASETS = ("plays", "tracks", "artists", "listeners", "interactions")
NUMBERS = itertools.count()
Rows = dict[str, dict[str, Any]]


def hear(world: World, artist: str, listener: str, ago: int, streams: int = 1, **more: Any) -> None:
    """So many intentional streams of an artist by a listener, so many days before the business day."""
    for n in range(streams):
        at = local(f"{TODAY - timedelta(ago)}T12:00") + timedelta(seconds=n)
        row = {"play_id": f"play-{next(NUMBERS)}", "listener_key": listener, "track_id": artist, "played_at": at, "ms_played": 60_000}
        world.add("plays", row | {"context_type": "search", "country": "FR"} | more)


def crowd(world: World, artist: str, now: int, before: int, **more: Any) -> None:
    """Listeners of the newest 28 days, and those of the 28 days before."""
    for n in range(now):
        hear(world, artist, f"{artist} {n}", 27 if n else 0, **more)
    for n in range(before):
        hear(world, artist, f"{artist} {n}", 28 if n else 55, **more)


def fill(world: World) -> None:
    """Each artist has one track, and is there for one thing."""
    names = [
        "band", "duo", "solo", "memory", "world", "people", "ages", "short", "unheard", "debut", "too small", "touring", "two homes",
        "middle", "middle too", "nearly large", "large",
    ]  # fmt: skip
    for name in [*names, *(f"small {n}" for n in range(10))]:
        world.add("artists", {"artist_id": name, "artist_name": name.title(), "country": "FR", "genre": "pop"})
        world.add("tracks", {"track_id": name, "title": name, "artist_id": name, "duration_ms": 200_000})

    # 101 active listeners, of whom the best three are the top 2 %
    for n, streams in enumerate((15, 12, 11, 10, 3, 2)):
        hear(world, "band", f"fan {n}", n, streams)
    for n in range(95):
        hear(world, "band", f"one {n}", n % 28)
    hear(world, "duo", "fan 0", 1, 9)
    hear(world, "duo", "fan 1", 1, 1)
    hear(world, "solo", "fan 0", 1, 10)
    hear(world, "solo", "radio", 1, 20, context_type="radio")

    # the last 28 days, and two years
    two_years = (TODAY - date(TODAY.year - 2, TODAY.month, TODAY.day)).days
    for ago in (27, 28, 56, two_years - 1, two_years):
        hear(world, "memory", f"{ago} ago", ago)
    hear(world, "memory", "28 ago", 3, context_type="radio")
    hear(world, "memory", f"{two_years} ago", 3, context_type="radio")
    hear(world, "memory", "by radio", 3, context_type="radio")
    hear(world, "memory", "by radio, long ago", 28, context_type="radio")
    hear(world, "memory", "nobody knows how", 3, context_type=None)
    hear(world, "short", "hasty", 1, ms_played=20_000)

    for country, streams in (("FR", 3), ("DE", 3), ("US", 2), (None, 5)):
        hear(world, "world", f"of {country}", 2, streams, country=country)
    hear(world, "world", "long ago", 28, country="JP")

    # 5 and 8 of known gender, and 4 who say another one
    born = [2026 - age for age in (17, 17, 17, 17, 17, 18, 24, 25, 34, 35, 44, 45, 54, 55, 80)]
    for n, year in enumerate([*born, None, None]):
        gender, country = ("female", "FR") if n < 5 else ("male", "DE") if n < 13 else ("other", "US" if n < 16 else "JP")
        world.add("listeners", {"listener_key": f"person {n}", "birth_year": year, "gender": gender, "country": country})
        hear(world, "people", f"person {n}", 3, country="FR" if n < 9 else "DE" if n < 13 else "US")
    for age in (17, 18, 24, 25, 34, 35, 44, 45, 54, 55):
        for n in range(5):
            world.add("listeners", {"listener_key": f"{age} years {n}", "birth_year": 2026 - age})
            hear(world, "ages", f"{age} years {n}", 3)
    grow(world)


def grow(world: World) -> None:
    """Artists whose listeners are more than they were, or new."""
    # ten small artists of 20 listeners, and two larger ones, of which the smaller one has as many as a small one has at most
    for n in range(10):
        crowd(world, f"small {n}", 20, 10 + n, context_type="radio")
    crowd(world, "middle", 100, 99)
    crowd(world, "middle too", 99, 90)
    crowd(world, "nearly large", 999, 1)
    crowd(world, "large", 1000, 1)
    crowd(world, "debut", 10, 0)
    crowd(world, "too small", 9, 0)
    for n in range(10):
        place, where = "search" if n < 5 else "radio", "FR" if n < 5 else "DE" if n < 8 else "US"
        hear(world, "touring", f"touring {n}", 5, country=where, context_type=place)
        hear(world, "two homes", f"two homes {n}", 5, country="FR" if n < 5 else "DE", context_type="search" if n < 4 else "radio")


@pytest.fixture(scope="module")
def world(new_world: Callable[[Tenant], World]) -> World:
    made = new_world(make_tenant("artistry", DATASETS, begins_on=BEGINS))
    fill(made)
    made.night(TODAY)
    return made


@pytest.fixture(scope="module")
def facts(world: World) -> Rows:
    return {row["artist_id"]: row for row in world.mart("artist_facts")}


@pytest.fixture(scope="module")
def watched(world: World) -> Rows:
    return {row["artist_id"]: row for row in world.mart("artist_watchlist")}


def test_all_of_it_is_what_the_slow_reading_of_the_definitions_says(world: World) -> None:
    assert differences(world, TODAY) == []


def test_super_listeners_are_the_top_2_percent_of_the_active_with_10_streams_or_more(facts: Rows) -> None:
    segments = ("active_count", "super_count", "moderate_count", "light_count", "programmed_only_count")
    assert [facts["band"][name] for name in segments] == [101, 3, 2, 96, 0]
    assert [facts["duo"][name] for name in segments] == [2, 0, 1, 1, 0]
    assert [facts["solo"][name] for name in segments] == [1, 1, 0, 0, 1]
    assert [facts["short"][name] for name in segments if "short" in facts] == [0, 0, 0, 0, 0]


def test_active_is_28_days_and_previously_active_two_years(facts: Rows) -> None:
    memory = facts["memory"]
    assert (memory["active_count"], memory["previously_active_count"], memory["programmed_only_count"]) == (1, 3, 3)
    assert memory["listeners_28d"] == 5


def test_an_artist_whom_nobody_heard_has_no_listeners_and_no_ratio(facts: Rows) -> None:
    row = facts["unheard"]
    assert (row["streams_28d"], row["listeners_28d"], row["streams_per_listener_28d"], row["top_country_28d"]) == (0, 0, None, None)
    assert row["growth_unknown_because"] == "no_streams_before"


def test_reach_tells_countries_and_how_evenly_they_share(facts: Rows) -> None:
    row = facts["world"]
    assert (row["country_count_28d"], row["top_country_28d"], row["top_country_share_ratio"]) == (3, "DE", 3 / 8)
    assert row["country_spread_28d"] == pytest.approx((8 / 3) ** (6 / 8) * (8 / 2) ** (2 / 8))
    assert facts["band"]["country_spread_28d"] == 1


def test_a_territorys_day_counts_each_listener_once(world: World) -> None:
    (row,) = [row for row in world.mart("artist_territory_days") if row["artist_id"] == "world" and row["country"] == "ZZ"]
    assert (row["stream_count"], row["listeners_1d"], row["intentional_count"]) == (5, 1, 5)


def test_growth_is_28_days_against_the_28_before(facts: Rows) -> None:
    row = facts["small 0"]
    assert (row["listeners_28d"], row["listeners_previous_28d"], row["listener_growth_ratio"]) == (20, 10, 1.0)
    assert (row["new_listeners_28d"], row["listener_count"]) == (10, 20)
    assert facts["debut"]["growth_unknown_because"] == "no_streams_before"


def test_groups_of_fewer_than_five_are_not_told_nor_to_be_found_by_subtraction(world: World) -> None:
    groups = {
        (row["dimension"], row["audience_group"]): row["listeners_28d"]
        for row in world.mart("artist_audience")
        if row["artist_id"] == "people"
    }
    assert {name: groups["gender", name] for name in ("female", "male", "other")} == {"female": None, "male": 8, "other": None}
    assert {name: groups["country", name] for name in ("FR", "DE", "US", "JP")} == {"FR": None, "DE": 8, "US": None, "JP": None}
    bands = {name: count for (dimension, name), count in groups.items() if dimension == "age_band"}
    assert bands == {"0-17": 5} | dict.fromkeys(("18-24", "25-34", "35-44", "45-54", "55+", "unknown"))


def groups_of(world: World, artist: str) -> dict[tuple[str, str], int | None]:
    rows = [row for row in world.mart("artist_audience") if row["artist_id"] == artist]
    return {(row["dimension"], row["audience_group"]): row["listeners_28d"] for row in rows}


def test_ages_are_told_in_bands(world: World) -> None:
    bands = {name: count for (dimension, name), count in groups_of(world, "ages").items() if dimension == "age_band"}
    assert bands == {"0-17": 5, "18-24": 10, "25-34": 10, "35-44": 10, "45-54": 10, "55+": 5}


def test_the_watchlist_compares_growth_among_artists_of_a_size(watched: Rows) -> None:
    # of the eleven small ones two are at or above nine tenths; the large one has nobody to be compared with
    fast = {name: watched[name]["growth_rank_ratio"] for name in watched if watched[name]["is_fast_for_its_size"]}
    assert fast == {"small 0": 1, "small 1": 0.9, "nearly large": 1}
    assert set(watched) - set(fast) == {"band", "people", "ages", "debut", "touring", "two homes"}


def test_the_watchlist_says_its_reasons(watched: Rows) -> None:
    reasons = ("is_breaking_out", "is_fast_for_its_size", "is_gaining_listeners", "is_chosen", "is_spreading")
    assert [watched["debut"][name] for name in reasons] == [True, False, True, True, False]
    assert [watched["small 0"][name] for name in reasons] == [False, True, True, False, False]
    assert [watched["touring"][name] for name in reasons] == [True, False, True, True, True]
    assert [watched["two homes"][name] for name in reasons] == [True, False, True, False, False]
    assert [watched["people"][name] for name in reasons] == [True, False, True, True, False]  # more than half of it in one country
    assert sorted(watched, key=lambda name: watched[name]["watch_rank"]) == [
        "touring", "band", "ages", "people", "debut", "nearly large", "two homes", "small 0", "small 1",
    ]  # fmt: skip


def test_what_reaches_back_before_the_first_delivery_is_not_known(new_world: Callable[[Tenant], World]) -> None:
    young = new_world(make_tenant("artistry", DATASETS, begins_on=BEGINS))
    young.add("tracks", {"track_id": "band", "title": "band", "artist_id": "band"})
    for ago in (0, 30, 54):
        hear(young, "band", "fan", ago)
    week, month = ["new_listeners_7d"], ["new_listeners_7d", "new_listeners_28d"]
    for days, known in ((6, []), (7, week), (26, week), (27, week), (28, month), (54, month)):
        young.night(BEGINS + timedelta(days))
        (row,) = young.mart("artist_facts")
        assert [name for name in ("new_listeners_7d", "new_listeners_28d", "listeners_previous_28d") if row[name] is not None] == known
        assert row["growth_unknown_because"] == "before_first_delivery"
        assert differences(young, BEGINS + timedelta(days)) == []
