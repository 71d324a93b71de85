"""The definitions at the places where they turn: one handmade world, built once, and what must stand in its marts, written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from nocturne.tenants import Tenant
from tests.integration.marts.reference import differences
from tests.integration.marts.world import World, local, make_tenant

TODAY = date(2026, 4, 30)
RULES = {"stream_rule": [{"from": "2025-01-01", "value": "gte"}, {"from": "2026-03-10", "value": "gt"}]}
WINTER, SUMMER = date(2025, 10, 26), date(2026, 3, 29)  # days of 25 and of 23 hours in Paris


def ms(milliseconds: int) -> timedelta:
    return timedelta(milliseconds=milliseconds)


def play(name: str, at: datetime, length: int, **more: Any) -> dict[str, Any]:
    """An attempt of a listener of its own, unless another is named."""
    row = {
        "play_id": name,
        "listener_key": f"of {name}",
        "track_id": "long",
        "played_at": at,
        "ms_played": length,
        "reason_end": "track_done",
    }
    return row | more


def fill(world: World, today: date = TODAY) -> None:  # noqa: C901 (a list of what happens in one world)
    """Everything that the tests below look at, as of a day; listeners do not meet."""
    durations = {"long": 600_000, "half": 30_001, "exact": 30_000, "short": 20_000, "song": 200_000, "nameless": None}
    for track, duration in durations.items():
        world.add("tracks", {"track_id": track, "title": track, "artist_id": "artist", "duration_ms": duration, "genre": "pop"})
    world.add("artists", {"artist_id": "artist", "artist_name": "The Artist"})
    noon = {day: local(f"2026-03-{day:02}T12:00") for day in range(1, 29)}

    # the threshold of a stream: `gte` until the 10th of March, `gt` from then
    for length in (29_999, 30_000, 30_001):
        world.add("plays", play(f"gte {length}", noon[9], length), play(f"gt {length}", noon[10], length))
    for length in (17_999, 18_000):
        world.add("plays", play(f"short {length}", noon[9], length, track_id="short"))
    for track, length in (("song", 179_999), ("song", 180_000), ("nameless", 180_000)):
        world.add("plays", play(f"complete {track} {length}", noon[9], length, track_id=track))
    for track, length in (("exact", 30_000), ("half", 15_000), ("half", 15_001), ("long", 239_999), ("long", 240_000)):
        world.add("plays", play(f"scrobble {track} {length}", noon[9], length, track_id=track))

    # skips
    for length in (4_999, 5_000, 29_999, 30_000, 199_999, 200_000):
        world.add("plays", play(f"skip {length}", noon[9], length, track_id="song", reason_end="forward"))
    for reason in ("back", "stop", "track_change", "network", "error", "session_end", "track_done", None):
        world.add("plays", play(f"ended by {reason}", noon[9], 7_000, reason_end=reason))

    # midnights, and days of 23 and 25 hours
    world.add("plays", play("before midnight", local("2026-03-05T23:59:59.999"), 60_000, listener_key="night owl"))
    world.add("plays", play("at midnight", local("2026-03-06T00:05"), 60_000, listener_key="night owl"))
    for day in (WINTER, SUMMER):
        first, last = local(f"{day}T00:00"), local(f"{day}T23:59:59")
        world.add("plays", play(f"first of {day}", first, 60_000, listener_key="clock"))
        world.add("plays", play(f"last of {day}", last, 60_000, listener_key="clock"))
        world.add("plays", play(f"after {day}", last + timedelta(seconds=1), 60_000, listener_key="clock"))
    world.add("plays", play("once", local(f"{WINTER}T02:30", fold=0), 60_000, listener_key="twice"))
    world.add("plays", play("again", local(f"{WINTER}T02:30", fold=1), 60_000, listener_key="twice"))

    # resumes
    for name, gap, reason in (("joins", 30_000, "stop"), ("parts", 30_001, "stop"), ("ends", 0, "track_done")):
        world.add("plays", play(f"{name} 1", noon[9], 20_000, listener_key=name, reason_end=reason))
        world.add("plays", play(f"{name} 2", noon[9] + ms(20_000 + gap), 25_000, listener_key=name))
    world.add("plays", play("over 1", local("2026-03-14T23:59:50"), 5_000, listener_key="over", reason_end="network"))
    world.add("plays", play("over 2", local("2026-03-15T00:00:10"), 40_000, listener_key="over"))
    world.add("plays", play("silent", noon[9], 0, listener_key="silent"))

    # gaps between sessions, and a chain of exactly 24 hours and of one millisecond more
    for name, gap in (("together", 1_800_000), ("apart", 1_800_001)):
        world.add("plays", play(f"{name} 1", noon[16], 60_000, listener_key=name, track_id="song"))
        world.add("plays", play(f"{name} 2", noon[16] + ms(60_000 + gap), 60_000, listener_key=name))
    world.add("interactions", {"interaction_id": "i", "interacted_at": noon[17], "listener_key": "apart", "interaction": "save"})
    for name, length in (("a day", 86_400_000), ("a day and more", 86_400_000)):
        world.add("plays", play(f"{name} 1", noon[18], length, listener_key=name))
    world.add("plays", play("a day and more 2", noon[19], 1, listener_key="a day and more", track_id="song"))

    # windows of 7 and 28 days
    for name, day in (
        ("window", date(2026, 1, 5)),
        ("window", date(2026, 1, 6)),
        ("other", date(2026, 2, 1)),
        ("window", date(2026, 2, 2)),
    ):
        world.add("plays", play(f"{name} {day}", local(f"{day}T12:00"), 60_000, listener_key=name))
    for name, back in (("56 days ago", 56), ("55 days ago", 55), ("28 days ago", 28), ("27 days ago", 27), ("today", 0)):
        world.add("plays", play(name, local(f"{today - timedelta(back)}T12:00"), 60_000))

    # ten who listen more and until later, one after the other, and one who hardly stops
    for fan in range(10):
        for back in (40, *range(9 - fan, 10)):
            at = local(f"{today - timedelta(back)}T12:00")
            world.add("plays", play(f"fan {fan} {back}", at, (fan + 1) * 60_000, listener_key=f"fan {fan}"))
    for back in (2, 4):
        world.add("plays", play(f"glutton {back}", local(f"{today - timedelta(back)}T01:00"), 72_000_000, listener_key="glutton"))
    world.add("listeners", {"listener_key": "nobody"})

    # a walk through places, five of them and then more; a day before the window and on its first day, too
    ways = {
        "wanderer": ("search", "search", "album", None, "radio"),
        "traveller": ("search", "album", "artist", "radio", "library", "album", "search"),
    }
    for name, places in ways.items():
        for back in (27, 28):
            at = local(f"{today - timedelta(back)}T15:00")
            for n, place in enumerate(places):
                world.add("plays", play(f"{name} {back} {n}", at + ms(n * 60_000), 45_000, listener_key=name, context_type=place))

    # who hears more artists than are told, and one long ago
    world.add("tracks", {"track_id": "old love", "title": "x", "artist_id": "an artist", "duration_ms": 60_000})
    long_ago = local(f"{today - timedelta(28)}T15:00")
    world.add("plays", play("of one", long_ago, 45_000, listener_key="omnivore", track_id="old love"))
    for n in range(105):
        world.add("tracks", {"track_id": f"by {n:03}", "title": "x", "artist_id": f"artist {n:03}", "duration_ms": 60_000})
        at = local(f"{today - timedelta(3)}T15:00") + ms(n * 60_000)
        world.add("plays", play(f"of many {n}", at, 45_000, listener_key="omnivore", track_id=f"by {n:03}"))

    # released 18 months ago, and more
    for name, released in (("18 months", date(2024, 10, 30)), ("more", date(2024, 10, 29)), ("nearly 19", date(2024, 10, 10))):
        world.add("tracks", {"track_id": name, "title": name, "artist_id": "artist", "duration_ms": 1, "released_on": released})

    # a sale and, on another day, a refund
    for status, day in (("succeeded", 2), ("refunded", 3)):
        paid = {"payment_id": status, "paid_at": local(f"2026-04-{day:02}T12:00"), "status": status, "amount": 12, "tax_amount": 2}
        world.add("payments", paid | {"currency": "EUR", "country": "FR"})

    world.add(
        "listeners",
        {"listener_key": "window", "signed_up_at": datetime(2026, 1, 3, 23, 30, tzinfo=UTC), "country": "FR", "channel": "search"},
    )
    world.add(
        "plans",
        {"plan_id": "m", "country": "FR", "valid_from_on": date(2020, 1, 1), "valid_to_on": date(2026, 2, 1), "price_amount": 10},
        {"plan_id": "m", "country": "FR", "valid_from_on": date(2026, 2, 1), "price_amount": 12},
        {"plan_id": "y", "country": "FR", "valid_from_on": date(2020, 1, 1), "price_amount": 120, "billing_period": "year"},
    )
    for plan in world.rows["plans"]:
        plan |= {"tier": "premium", "currency": "EUR", "billing_period": plan.get("billing_period", "month")}
    for name, gap in (("grace 30", 30), ("grace 31", 31)):
        tell(world, name, "started", date(2026, 1, 1), date(2026, 2, 1))
        tell(world, name, "reactivated", date(2026, 2, 1) + timedelta(gap), date(2026, 6, 1))
    tell(world, "yearly", "started", date(2026, 1, 10), date(2027, 1, 10), plan_id="y")
    for days in (17, 18):
        tell(world, f"trial {days}", "trial_started", date(2026, 1, 1), date(2026, 1, 15))
        tell(world, f"trial {days}", "started", date(2026, 1, 1) + timedelta(days), date(2026, 6, 1))
    # ended before its time; without an announced end; a trial after paid time
    tell(world, "ended", "started", date(2026, 2, 10), date(2026, 3, 10))
    tell(world, "ended", "ended", date(2026, 2, 20), None)
    tell(world, "a month", "started", date(2026, 2, 20), None)
    tell(world, "a year", "started", date(2025, 2, 15), None, plan_id="y")
    tell(world, "again", "started", date(2025, 11, 1), date(2025, 12, 1))
    tell(world, "again", "ended", date(2025, 11, 20), None)
    tell(world, "again", "trial_started", date(2026, 1, 20), date(2026, 2, 3))
    tell(world, "again", "ended", date(2026, 1, 25), None)
    world.add(
        "rights",
        right("song", "ours", "WW", 0.5, date(2020, 1, 1), date(2026, 3, 10)),
        right("song", "theirs", "WW", 0.5, date(2020, 1, 1)),
    )


def right(track: str, holder: str, territory: str, share: float, first: date, until: date | None = None) -> dict[str, Any]:
    return {
        "track_id": track, "holder_id": holder, "territory": territory, "share_ratio": share, "valid_from_on": first, "valid_to_on": until
    }  # fmt: skip


def tell(world: World, listener: str, kind: str, first: date, until: date | None, **more: Any) -> None:
    """An event that opens a period, or ends one."""
    at = datetime(first.year, first.month, first.day, 9, tzinfo=UTC)
    event = {"event_id": f"{listener} {kind} {first}", "occurred_at": at, "listener_key": listener, "subscription_id": f"sub {listener}"}
    world.add("subscription_events", event | {"event_type": kind, "plan_id": "m", "period_from_on": first, "period_to_on": until} | more)


@pytest.fixture(scope="module")
def world(new_world: Callable[[Tenant], World]) -> World:
    made = new_world(make_tenant("definitions", begins_on=date(2025, 10, 1), sees_whole_market=True, rules=RULES))
    fill(made)
    made.night(TODAY)
    return made


@pytest.fixture(scope="module")
def plays(world: World) -> dict[str, dict[str, Any]]:
    return {row["play_id"]: row for row in world.mart("plays")}


def test_all_of_it_is_what_the_slow_reading_of_the_definitions_says(world: World) -> None:
    assert differences(world, TODAY) == []


def test_a_stream_lasts_30_seconds_or_longer_than_30_seconds_as_the_rule_of_the_day_says(plays: dict[str, dict[str, Any]]) -> None:
    assert [plays[f"gte {length}"]["is_stream"] for length in (29_999, 30_000, 30_001)] == [False, True, True]
    assert [plays[f"gt {length}"]["is_stream"] for length in (29_999, 30_000, 30_001)] == [False, False, True]


def test_a_track_shorter_than_the_threshold_streams_when_completed(plays: dict[str, dict[str, Any]]) -> None:
    assert [plays[f"short {length}"]["is_stream"] for length in (17_999, 18_000)] == [False, True]


def test_a_play_is_completed_at_nine_tenths_and_of_unknown_length_nobody_knows(plays: dict[str, dict[str, Any]]) -> None:
    assert [plays[f"complete song {length}"]["is_completed"] for length in (179_999, 180_000)] == [False, True]
    assert plays["complete nameless 180000"]["is_completed"] is None


def test_a_scrobble_is_half_the_track_or_four_minutes_of_more_than_half_a_minute(plays: dict[str, dict[str, Any]]) -> None:
    names = ("exact 30000", "half 15000", "half 15001", "long 239999", "long 240000")
    assert [plays[f"scrobble {name}"]["is_scrobble"] for name in names] == [False, False, True, False, True]


def test_skips_fall_into_buckets_at_5_and_30_seconds(plays: dict[str, dict[str, Any]]) -> None:
    found = [plays[f"skip {length}"]["skip_bucket"] for length in (4_999, 5_000, 29_999, 30_000, 199_999, 200_000)]
    assert found == ["before_5s", "before_30s", "before_30s", "before_end", "before_end", None]


def test_only_the_listener_skips(plays: dict[str, dict[str, Any]]) -> None:
    reasons = ("back", "stop", "track_change", "network", "error", "session_end", "track_done", None)
    assert [plays[f"ended by {reason}"]["is_skip"] for reason in reasons] == [True, True, True, False, False, False, False, None]


def test_a_day_ends_at_local_midnight(world: World, plays: dict[str, dict[str, Any]]) -> None:
    assert plays["before midnight"]["played_on"] == date(2026, 3, 5)
    assert plays["at midnight"]["played_on"] == date(2026, 3, 6)
    (session,) = [row for row in world.mart("sessions") if row["listener_key"] == "night owl"]
    assert (session["started_on"], session["play_count"]) == (date(2026, 3, 5), 2)


@pytest.mark.parametrize(("day", "hours"), [(WINTER, 25), (SUMMER, 23)])
def test_a_day_has_as_many_hours_as_the_clock_gives_it(plays: dict[str, dict[str, Any]], day: date, hours: int) -> None:
    first, last, after = plays[f"first of {day}"], plays[f"last of {day}"], plays[f"after {day}"]
    assert (first["played_on"], last["played_on"], after["played_on"]) == (day, day, day + timedelta(1))
    assert after["played_at"] - first["played_at"] == timedelta(hours=hours)


@pytest.mark.parametrize(("day", "hours", "second"), [(WINTER, 25, 2), (SUMMER, 23, None), (date(2026, 3, 9), 24, 1)])
def test_hours_are_those_of_the_clock(world: World, day: date, hours: int, second: int | None) -> None:
    rows = {row["hour"]: row for row in world.mart("hour_days") if row["played_on"] == day}
    assert sum(row["clock_hours"] for row in rows.values()) == hours
    assert (rows[2]["clock_hours"] if 2 in rows else None) == second
    assert {row["weekday"] for row in rows.values()} == {day.isoweekday()}
    if day == WINTER:
        assert (rows[2]["play_count"], rows[2]["listeners_in_hour"], rows[0]["play_count"], rows[23]["play_count"]) == (2, 1, 1, 1)


def test_how_far_plays_came_is_told_in_tenths(world: World, plays: dict[str, dict[str, Any]]) -> None:
    names = ("complete song 179999", "complete song 180000", "skip 200000", "a day 1", "skip 4999", "complete nameless 180000")
    assert [plays[name]["tenths_heard"] for name in names] == [8, 9, 10, 10, 0, None]
    (day,) = [row for row in world.mart("listening_days") if row["played_on"] == date(2026, 3, 16)]
    # a minute each: two of 200 seconds, two of 600
    assert (day["timed_play_count"], day["reached_10_ratio"], day["reached_30_ratio"], day["reached_40_ratio"]) == (4, 1, 0.5, 0)


def test_the_hour_that_comes_twice_is_two_hours(world: World) -> None:
    assert len([row for row in world.mart("sessions") if row["listener_key"] == "twice"]) == 2


def test_a_resume_within_30_seconds_joins(plays: dict[str, dict[str, Any]]) -> None:
    assert (plays["joins 1"]["ms_played"], plays["joins 1"]["resume_count"], plays["joins 1"]["is_stream"]) == (45_000, 1, True)
    assert "joins 2" not in plays
    assert [plays[f"parts {n}"]["ms_played"] for n in (1, 2)] == [20_000, 25_000]


def test_what_was_heard_to_its_end_is_not_resumed(plays: dict[str, dict[str, Any]]) -> None:
    assert [plays[f"ends {n}"]["resume_count"] for n in (1, 2)] == [0, 0]


def test_a_resume_over_midnight_belongs_to_the_day_of_the_play_and_is_counted_on_its_own(
    world: World, plays: dict[str, dict[str, Any]]
) -> None:
    assert (plays["over 1"]["played_on"], plays["over 1"]["ms_played"]) == (date(2026, 3, 14), 45_000)
    days = {row["event_on"]: row for row in world.mart("reconciliation_days") if row["dataset"] == "plays"}
    assert (days[date(2026, 3, 15)]["mart_count"], days[date(2026, 3, 15)]["joined_count"]) == (0, 1)


def test_what_never_sounded_is_no_play_and_no_session_but_is_counted(world: World, plays: dict[str, dict[str, Any]]) -> None:
    assert "silent" not in plays
    assert not [row for row in world.mart("sessions") if row["listener_key"] == "silent"]
    (day,) = [row for row in world.mart("reconciliation_days") if row["dataset"] == "plays" and row["event_on"] == date(2026, 3, 9)]
    assert (day["zero_length_count"], day["joined_count"], day["difference_count"]) == (1, 1, 0)


def test_a_session_bears_a_gap_of_30_minutes_and_no_longer_one(world: World) -> None:
    sessions = [row["listener_key"] for row in world.mart("sessions") if row["started_on"] == date(2026, 3, 16)]
    assert (sessions.count("together"), sessions.count("apart")) == (1, 2)


def test_interactions_make_sessions_too(world: World) -> None:
    (session,) = [row for row in world.mart("sessions") if row["started_on"] == date(2026, 3, 17)]
    assert (session["play_count"], session["interaction_count"]) == (0, 1)


def test_a_chain_longer_than_24_hours_is_cut_at_midnight(world: World) -> None:
    sessions = [(row["listener_key"], row["started_on"].day, row["is_cut"]) for row in world.mart("sessions")]
    assert [one for one in sessions if one[0] == "a day"] == [("a day", 18, False)]
    assert sorted(one for one in sessions if one[0] == "a day and more") == [("a day and more", 18, True), ("a day and more", 19, True)]


def test_windows_reach_6_and_27_days_back(world: World) -> None:
    days = {row["played_on"]: (row["listeners_1d"], row["listeners_7d"], row["listeners_28d"]) for row in world.mart("activity_days")}
    assert days[date(2026, 1, 12)] == (0, 1, 1)
    assert days[date(2026, 1, 13)] == (0, 0, 1)
    assert days[date(2026, 2, 1)] == (1, 1, 2)
    assert days[date(2026, 2, 2)] == (1, 2, 2)
    assert days[date(2026, 3, 1)] == (0, 0, 1)
    assert days[date(2026, 3, 2)] == (0, 0, 0)


def test_stickiness_is_mean_daily_over_monthly_listeners_and_unknown_before_the_window_is_whole(world: World) -> None:
    days = {row["played_on"]: row["stickiness_ratio"] for row in world.mart("activity_days")}
    assert days[date(2026, 2, 2)] == pytest.approx((1 + 1 + 1) / 28 / 2)  # the 6th of January, the 1st and 2nd of February; two listeners
    assert days[date(2025, 10, 27)] is None
    assert days[date(2025, 10, 28)] is not None


def test_a_week_and_a_month_have_their_own_distinct_listeners_once_they_are_over(world: World) -> None:
    periods = {(row["period"], row["starts_on"]): row for row in world.mart("activity_periods")}
    week, month = periods["week", date(2026, 1, 5)], periods["month", date(2026, 2, 1)]
    assert (week["listeners_in_period"], week["stream_count"], week["listeners_1d_mean"]) == (1, 2, 2 / 7)
    assert (month["listeners_in_period"], month["listeners_28d"], month["listeners_1d_mean"]) == (2, 2, 2 / 28)
    now = periods["week", date(2026, 4, 27)]
    assert (now["is_over"], now["day_count"], now["listeners_in_period"]) == (False, 4, None)
    assert periods["month", date(2026, 4, 1)]["listeners_in_period"] == 17


def test_a_day_is_final_after_seven_days(world: World) -> None:
    days = {row["played_on"]: row["is_final"] for row in world.mart("activity_days")}
    assert [days[TODAY - timedelta(n)] for n in (6, 7)] == [False, True]


def test_sign_up_is_told_in_local_days(world: World) -> None:
    (listener,) = [row for row in world.mart("listener_facts") if row["listener_key"] == "window"]
    assert (listener["signed_up_on"], listener["first_streamed_on"], listener["active_day_count"]) == (
        date(2026, 1, 4),
        date(2026, 1, 5),
        3,
    )


def test_retention_counts_by_week_and_knows_nothing_of_a_week_that_is_not_over(world: World) -> None:
    cells = {(row["cohort_on"], row["week"]): row for row in world.mart("retention_weeks")}
    assert [cells[date(2026, 1, 5), week]["retained_count"] for week in (0, 1, 4)] == [1, 0, 1]
    last = max(week for cohort, week in cells if cohort == date(2026, 1, 5))
    assert date(2026, 1, 5) + timedelta(7 * last) == date(2026, 4, 27)
    assert cells[date(2026, 1, 5), last]["retained_count"] is None


def test_cohorts_are_counted_on_day_n_from_day_n_on_and_in_month_n(world: World) -> None:
    cells = {(row["unit"], row["cohort_on"], row["number"]): row for row in world.mart("retention_cohorts")}
    # first heard on the 5th of January, then on the 6th and on the 2nd of February, 28 days later
    days = {number: cells["day", date(2026, 1, 5), number] for number in (1, 3, 28, 60)}
    assert [days[number]["retained_count"] for number in days] == [1, 0, 1, 0]
    assert [days[number]["rolling_count"] for number in days] == [1, 1, 1, 0]
    months = {number: cells["month", date(2026, 1, 1), number] for number in (0, 1, 2)}
    assert [months[number]["retention_ratio"] for number in months] == [1, 1, 0]


def test_what_is_not_over_of_a_cohort_is_not_told(world: World) -> None:
    cells = {(row["unit"], row["cohort_on"], row["number"]): row for row in world.mart("retention_cohorts")}
    # of who came 28 days before the business day, day 28 is over and day 60 is not; April, which ends with the business day, is over
    days = {number: cells["day", TODAY - timedelta(28), number]["retained_count"] for number in (28, 60)}
    assert days == {28: 0, 60: None}
    assert cells["month", date(2026, 4, 1), 0]["rolling_ratio"] == 1
    assert ("month", date(2026, 4, 1), 1) not in cells


def test_listeners_are_scored_by_fifths_and_named(world: World) -> None:
    scores = ("recency_score", "frequency_score", "listening_score")
    found = {row["listener_key"]: (row["segment"], *(row[score] for score in scores)) for row in world.mart("listener_facts")}
    assert found["fan 9"] == ("champion", 5, 5, 5)
    assert found["fan 5"] == ("loyal", 3, 4, 4)
    assert found["fan 0"] == ("fading", 2, 2, 1)
    assert (found["glutton"][0], found["glutton"][3]) == ("new", 5)
    assert [found[name][0] for name in ("of 55 days ago", "of 56 days ago", "nobody")] == ["lapsed", "lost", "never_listened"]


def test_engagement_is_days_recency_and_hours_of_four_weeks(world: World) -> None:
    found = {row["listener_key"]: row["engagement_score"] for row in world.mart("listener_facts")}
    # ten days, today, a hundred minutes; two days, the day before yesterday, more than 28 hours
    assert found["fan 9"] == round(Decimal(40 * 10 + 30 * 28 + 50) / 28, 1)
    assert found["glutton"] == round(Decimal(40 * 2 + 30 * 26 + 30 * 28) / 28, 1)
    assert found["of 55 days ago"] == 0


def test_a_path_tells_five_places_and_a_stay_once(world: World) -> None:
    paths = {row["listener_key"]: row["context_path"] for row in world.mart("sessions")}
    assert paths["wanderer"] == "search > album > unknown > radio"
    assert paths["traveller"] == "search > album > artist > radio > library > (more)"
    assert paths["fan 9"] is None


def test_transitions_lead_from_the_start_to_the_end_of_sessions_of_28_days(world: World) -> None:
    moves = {(row["step"], row["source"], row["target"]): row for row in world.mart("path_transitions")}
    assert moves[0, "(start)", "search"]["session_count"] == 2
    assert {key[2]: moves[key]["transition_ratio"] for key in moves if key[:2] == (2, "album")} == {"unknown": 0.5, "artist": 0.5}
    assert moves[4, "radio", "(end)"]["session_count"] == 1
    assert moves[5, "library", "(more)"]["session_count"] == 1


def test_pairs_of_artists_are_the_first_thousand_of_a_hundred_artists(world: World) -> None:
    pairs = {(row["artist_id"], row["other_artist_id"]): row for row in world.mart("artist_pairs")}
    assert len(pairs) == 1_000
    assert max(max(pair) for pair in pairs) == "artist 098"  # the hundredth is the one whom everybody hears
    row = pairs["artist 000", "artist 001"]
    assert (row["listener_count"], row["artist_listener_count"]) == (1, 1)
    assert row["lift"] == row["counted_listener_count"] == 16  # fans, a glutton, the omnivore, two who walk, two others


def test_a_right_holds_on_the_days_of_its_validity(world: World) -> None:
    days = {(row["played_on"].day, row["holder_id"]): row for row in world.mart("holder_days") if row["played_on"].month == 3}
    songs = Decimal(5) / 2  # the five streams of the song on the 9th, half of each
    assert (days[9, "ours"]["stream_count"], days[9, "theirs"]["stream_count"]) == (songs, songs)
    assert (days[16, "theirs"]["stream_count"], days[16, "(unassigned)"]["stream_count"]) == (Decimal(1), Decimal(3))
    assert (16, "ours") not in days
    assert sum(row["market_share_ratio"] for (day, _), row in days.items() if day == 16) == 1


def test_churn_is_no_valid_period_within_30_days_of_the_end(world: World) -> None:
    churned = {
        row["listener_key"]: row["churned_on"] for row in world.mart("subscription_periods") if row["period_from_on"] == date(2026, 1, 1)
    }
    assert churned["grace 30"] is None
    assert churned["grace 31"] == date(2026, 2, 1)


def test_a_trial_converts_within_its_14_days_and_3_of_grace(world: World) -> None:
    converted = {row["listener_key"]: row["is_converted"] for row in world.mart("subscription_periods") if row["kind"] == "trial"}
    assert (converted["trial 17"], converted["trial 18"]) == (True, False)


def test_a_period_ends_the_day_after_its_subscription_ended_or_a_month_or_a_year_after_it_began(world: World) -> None:
    ends = {row["listener_key"]: row["period_to_on"] for row in world.mart("subscription_periods")}
    assert (ends["ended"], ends["a month"], ends["a year"]) == (date(2026, 2, 21), date(2026, 3, 20), date(2026, 2, 15))


def test_a_trial_after_paid_time_is_a_trial(world: World) -> None:
    periods = {row["period_from_on"]: row for row in world.mart("subscription_periods") if row["listener_key"] == "again"}
    told = {day: (row["kind"], row["period_to_on"]) for day, row in periods.items()}
    assert told == {date(2025, 11, 1): ("paid", date(2025, 11, 21)), date(2026, 1, 20): ("trial", date(2026, 1, 26))}


def test_a_refund_gives_back_its_tax(world: World) -> None:
    days = {row["revenue_on"].day: row for row in world.mart("revenue_days")}
    assert (days[2]["gross_amount"], days[2]["tax_amount"], days[2]["net_amount"]) == (12, 2, 10)
    assert (days[3]["refund_amount"], days[3]["tax_amount"], days[3]["net_amount"]) == (12, -2, -10)


def test_catalogue_was_released_more_than_18_months_ago(world: World) -> None:
    tracks = {row["track_id"]: row["is_catalogue"] for row in world.mart("track_facts")}
    assert (tracks["18 months"], tracks["more"], tracks["nearly 19"]) == (False, True, True)


def test_the_bridge_from_day_to_day(world: World) -> None:
    days = {row["day_on"]: row for row in world.mart("mrr_days")}
    moved = {
        day: {
            name: days[day][f"{name}_amount"]
            for name in ("new", "expansion", "contraction", "churn", "reactivation")
            if days[day][f"{name}_amount"]
        }
        for day in days
    }
    assert moved[date(2026, 1, 1)] == {"new": 20}
    assert moved[date(2026, 1, 10)] == {"new": 10}  # 120 a year
    assert moved[date(2026, 2, 1)] == {"contraction": 10, "churn": 10}  # who comes back after 30 days lapsed, who after 31 churned
    assert moved[date(2026, 3, 3)] == {"expansion": 12}  # at the price of that day
    assert moved[date(2026, 3, 4)] == {"reactivation": 12}
    assert (days[TODAY]["closing_amount"], days[TODAY]["payer_count"], days[TODAY]["arppu_amount"]) == (54, 5, Decimal("10.8"))
