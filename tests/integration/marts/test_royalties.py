"""Who is paid by what: eligible tracks, artificial streams, noise, and the days on which a right holds; written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from nocturne.marts.building import CI_ONLY, run_dbt
from nocturne.tenants import Tenant
from tests.integration.marts.reference import differences
from tests.integration.marts.world import Row, World, local, make_tenant

TODAY = date(2026, 3, 20)
JANUARY, FEBRUARY, MARCH = (date(2026, month, 1) for month in (1, 2, 3))
RULES = {
    "payable_min_streams": [{"from": "2025-01-01", "value": 4}, {"from": "2026-03-01", "value": 5}],
    "noise_genres": "white noise, rain",
    "boost_min_streams": 4,
    "boost_min_listeners": 2,
    "pool_share": [{"from": "2025-01-01", "value": 0.5}, {"from": "2026-02-20", "value": 0.6}],
}


def play(name: str, on: str, track: str, listener: str, **more: Any) -> Row:
    """A stream at noon, of FR and premium unless said otherwise."""
    row: Row = {"play_id": name, "listener_key": listener, "track_id": track, "played_at": local(f"{on}T12:00"), "ms_played": 40_000}
    return row | {"country": "FR", "tier": "premium", "reason_end": "track_done", "context_type": "radio"} | more


def right(track: str, holder: str, share: float, **more: Any) -> Row:
    row: Row = {"track_id": track, "holder_id": holder, "holder_name": holder.title(), "territory": "WW", "share_ratio": share}
    return row | {"valid_from_on": date(2020, 1, 1)} | more


def payable(world: World, month: date, track: str) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """Holder -> (streams, artificial, payable) of a track in a month."""
    found: dict[str, tuple[Decimal, Decimal, Decimal]] = {}
    for row in world.mart("payable_months"):
        if (row["month_on"], row["track_id"]) == (month, track):
            before = found.get(row["holder_id"], (Decimal(0), Decimal(0), Decimal(0)))
            numbers = row["stream_count"], row["artificial_count"], row["payable_count"]
            found[row["holder_id"]] = (before[0] + numbers[0], before[1] + numbers[1], before[2] + numbers[2])
    return found


def fill(world: World) -> None:
    """Everything that the tests below look at."""
    for track, genre, duration in (
        ("enough", "pop", 200_000), ("few", "pop", 200_000), ("flagged", "pop", 200_000), ("aged", "pop", 200_000),
        ("short noise", "White Noise", 119_999), ("long noise", "rain", 120_000), ("nameless noise", "rain", None),
    ):  # fmt: skip
        world.add("tracks", {"track_id": track, "title": track, "artist_id": f"of {track}", "genre": genre, "duration_ms": duration})
        world.add("rights", right(track, "ours", 0.75))
    for track in ("enough", "flagged", "aged", "short noise", "long noise", "nameless noise"):
        for n in range(4):
            world.add("plays", play(f"{track} {n}", f"2026-01-{10 + n}", track, f"l{n % 2}"))
    for n in range(3):
        world.add("plays", play(f"few {n}", f"2026-01-{10 + n}", "few", "l0"))
    world.add("artificial_streams", flag("flagged 0", date(2026, 1, 10)), flag("enough 0", date(2026, 1, 11)))
    # four streams in January 2026 still count in December, five would be needed from March on
    world.add("plays", play("aged again", "2026-02-10", "aged", "l0"), play("aged in march", "2026-03-10", "aged", "l0"))
    world.add("plays", play("few again", "2026-02-10", "few", "l0"), play("few in march", "2026-03-10", "few", "l0"))
    # a part of a play that began before midnight
    world.add("plays", play("over 1", "2026-02-12", "enough", "night", played_at=local("2026-02-12T23:59:20"), reason_end="network"))
    world.add("plays", play("over 2", "2026-02-13", "enough", "night", played_at=local("2026-02-13T00:00:10")))
    world.add("artificial_streams", flag("over 2", date(2026, 2, 13)))
    # a right of the territory takes the place of that of everywhere else, from its day on
    world.add("rights", right("few", "theirs", 1.0, territory="DE", valid_from_on=date(2026, 2, 15)))
    for day in (14, 15):
        world.add("plays", play(f"few in DE {day}", f"2026-02-{day}", "few", "l0", country="DE"))
    sell_subscriptions(world)
    sell_twice(world)
    sell_records(world)


def sell_subscriptions(world: World) -> None:
    """One pool in SE with three holders and three payers, one of whom heard nothing, and one in NO that nobody heard in."""
    world.add("plans", {"plan_id": "f", "country": "WW", "valid_from_on": date(2020, 1, 1), "tier": "family", "billing_period": "month"})
    world.rows["plans"][0] |= {"price_amount": 10, "currency": "EUR"}
    for track, holder in (("north", "alpha"), ("south", "beta"), ("east", "gamma")):
        world.add("tracks", {"track_id": track, "title": track, "artist_id": f"of {track}", "duration_ms": 200_000})
        world.add("rights", right(track, holder, 1.0))
    heard = [("north", "p1")] * 3 + [("north", "q")] + [("south", "p1")] + [("south", "p3")] * 3 + [("east", "q")] * 4
    for n, (track, listener) in enumerate(heard):
        context = "search" if n == 0 else "radio"
        on = f"2026-02-{n + 2:02}"
        world.add("plays", play(f"pool {n}", on, track, listener, country="SE", tier="family", context_type=context))
    for payer in ("p1", "p2", "p3"):
        started = {"event_id": f"start {payer}", "event_type": "started", "listener_key": payer, "subscription_id": f"sub {payer}"}
        world.add("subscription_events", started | {"occurred_at": local("2026-02-01T09:00"), "plan_id": "f"})
    pay(world, "p1", "2026-02-10", 11.99, tax=2)
    pay(world, "p2", "2026-02-10", 10.01)
    pay(world, "p3", "2026-02-10", 11.02)
    pay(world, "p3", "2026-02-11", 1, status="refunded")
    pay(world, "p3", "2026-02-12", 50, status="failed")
    for day in ("2026-02-19", "2026-02-20", "2026-03-02"):
        pay(world, "p1", day, 10, country="NO")


def sell_twice(world: World) -> None:
    """A pool in DK of 5.0049, whose payer heard a track that two holders have the whole of."""
    world.add("tracks", {"track_id": "twice", "title": "twice", "artist_id": "of twice", "duration_ms": 200_000})
    world.add("rights", right("twice", "alpha", 1.0), right("twice", "beta", 1.0))
    for n in range(4):
        world.add("plays", play(f"twice {n}", f"2026-02-{20 + n}", "twice", "p1", country="DK", tier="family"))
    pay(world, "p1", "2026-02-25", 8.3415, country="DK")


def sell_records(world: World) -> None:
    """One release, sold and heard around the day on which units became cheaper."""
    world.add("releases", {"release_id": "album", "title": "Album", "artist_id": "the band"})
    world.add("tracks", {"track_id": "single", "title": "Single", "artist_id": "the band", "release_id": "album"})
    world.add("rights", right("single", "ours", 0.5), right("single", "theirs", 0.5, territory="NO"))
    for day in (16, 17):
        for tier in ("premium", "free", "trial", None):
            for country in ("FI", "NO"):
                name = f"single {day} {tier} {country}"
                world.add("plays", play(name, f"2026-01-{day}", "single", name, tier=tier, country=country))
    for n, (kind, units, more) in enumerate(
        (
            ("vinyl", 3, {"release_id": "album"}),
            ("album_download", -1, {"release_id": "album", "track_id": "single"}),
            ("track_download", 4, {"track_id": "single"}),
            ("other", 1, {"track_id": "single"}),
            (None, 2, {"release_id": "album"}),
        )
    ):
        sale: Row = {"sale_id": f"sale {n}", "sold_on": date(2026, 1, 5), "unit_count": units, "format": kind, "net_amount": 1}
        world.add("sales", sale | {"currency": "EUR", "country": "FI"} | more)


def pay(world: World, payer: str, on: str, amount: float, *, tax: float = 0, status: str = "succeeded", country: str = "SE") -> None:
    row = {"payment_id": f"{payer} {on}", "paid_at": local(f"{on}T10:00"), "listener_key": payer, "subscription_id": f"sub {payer}"}
    world.add("payments", row | {"status": status, "amount": amount, "tax_amount": tax, "currency": "EUR", "country": country})


def flag(name: str, on: date) -> Row:
    return {"play_id": name, "flagged_on": on, "reason": "twenty at once", "score": 0.99, "model_version": "1"}


@pytest.fixture(scope="module")
def world(new_world: Callable[[Tenant], World]) -> World:
    made = new_world(make_tenant("royalties", begins_on=date(2026, 1, 1), sees_whole_market=True, rules=RULES))
    fill(made)
    made.night(TODAY)
    return made


def test_all_of_it_is_what_the_slow_reading_of_the_definitions_says(world: World) -> None:
    assert differences(world, TODAY) == []


def test_a_track_is_paid_for_with_enough_streams_in_the_twelve_months_that_end_with_the_month(world: World) -> None:
    assert payable(world, JANUARY, "aged") == {
        "ours": (Decimal(3), Decimal(0), Decimal(3)),
        "(unassigned)": (Decimal(1), Decimal(0), Decimal(1)),
    }
    assert [payable(world, month, "few")["ours"][2] for month in (JANUARY, FEBRUARY)] == [0, Decimal("1.5")]


def test_the_rule_of_the_months_first_day_holds(world: World) -> None:
    assert payable(world, MARCH, "aged")["ours"][2] == Decimal("0.75")
    assert payable(world, FEBRUARY, "few")["ours"][2] > 0
    reasons = {(row["track_id"], row["month_on"].month): row["not_eligible_reason"] for row in world.mart("payable_months")}
    assert reasons["few", 1] == "fewer than 4 streams in the trailing 12 months"
    assert reasons["few", 3] is None


def test_artificial_streams_are_shown_beside_buy_no_eligibility_and_are_not_paid(world: World) -> None:
    assert payable(world, JANUARY, "flagged")["ours"] == (Decimal(3), Decimal("0.75"), Decimal(0))
    assert payable(world, JANUARY, "enough")["ours"] == (Decimal(3), Decimal(0), Decimal(3))  # the flag is of another day


def test_a_part_that_is_artificial_makes_the_play_it_resumes_artificial(world: World) -> None:
    assert payable(world, FEBRUARY, "enough")["ours"] == (Decimal("0.75"), Decimal("0.75"), Decimal(0))


def test_functional_noise_must_last_two_minutes(world: World) -> None:
    tracks = ("short noise", "nameless noise", "long noise")
    assert [payable(world, JANUARY, track)["ours"][2] for track in tracks] == [0, 0, 3]


def shares(world: World, territory: str) -> dict[str, Row]:
    """Holder -> its row in the pool of the families of a territory in February."""
    rows = world.mart("royalty_shares")
    return {row["holder_id"]: row for row in rows if (row["territory"], row["tier"], row["month_on"]) == (territory, "family", FEBRUARY)}


@pytest.mark.parametrize(
    ("model", "amounts"),
    [("pro_rata", ("5.01", "5.00", "5.00")), ("user_centric", ("5.41", "7.93", "1.67")), ("artist_centric", ("6.82", "5.46", "2.73"))],
)
def test_a_pool_is_split_to_the_cent(world: World, model: str, amounts: tuple[str, ...]) -> None:
    found = shares(world, "SE")
    assert {(row["net_amount"], row["pool_amount"]) for row in found.values()} == {(Decimal("30.02"), Decimal("15.01"))}
    assert tuple(found[holder][f"{model}_amount"] for holder in ("alpha", "beta", "gamma")) == tuple(map(Decimal, amounts))


def test_streams_of_known_artists_count_twice_and_intentional_ones_twice_again(world: World) -> None:
    found = shares(world, "SE")
    assert [found[holder]["weighted_count"] for holder in ("alpha", "beta", "gamma")] == [10, 8, 4]


def test_the_share_of_the_day_of_the_payment_makes_the_pool_and_a_pool_that_nobody_heard_in_is_nobodys(world: World) -> None:
    ((holder, row),) = shares(world, "NO").items()
    assert (holder, row["pool_amount"], row["user_centric_amount"]) == ("(unassigned)", Decimal(11), Decimal(11))
    assert row["unassigned_reason"] == "no payable stream in its territory, tier and month"


def test_what_is_sold_twice_is_paid_once(world: World) -> None:
    """What both holders are given goes off nobody's share, so that the pool is paid out once."""
    amounts = {holder: (row["pool_amount"], row["user_centric_amount"]) for holder, row in shares(world, "DK").items()}
    assert amounts == {"alpha": (5, 5), "beta": (5, 5), "(unassigned)": (5, -5)}


def test_a_month_that_is_not_over_has_no_pool(world: World) -> None:
    assert {row["month_on"] for row in world.mart("royalty_shares")} == {FEBRUARY}
    world.night(date(2026, 3, 31))
    assert {row["month_on"] for row in world.mart("royalty_shares")} == {FEBRUARY, MARCH}
    assert differences(world, date(2026, 3, 31)) == []


def test_a_unit_is_an_album_ten_tracks_or_as_many_streams_as_the_rule_of_their_day_says(world: World) -> None:
    (row,) = [row for row in world.mart("unit_months") if row["release_id"] == "album"]
    names = ("artist_id", "album_sale_count", "track_sale_count", "paid_stream_count", "ad_stream_count", "untold_stream_count")
    assert tuple(row[name] for name in names) == ("the band", 4, 5, 4, 8, 4)
    streams = 2 / 1_250 + 2 / 1_000 + 4 / 3_750 + 4 / 2_500
    assert float(row["unit_count"]) == pytest.approx(4 + 0.5 + streams, abs=1e-6)


def test_market_shares_of_a_territory_add_up_to_one(world: World) -> None:
    rows = {(row["territory"], row["holder_id"]): row for row in world.mart("market_months") if row["month_on"] == JANUARY}
    assert {key[1]: row["market_share_ratio"] for key, row in rows.items() if key[0] == "FI"} == {
        "ours": Decimal("0.5"),
        "(unassigned)": Decimal("0.5"),
    }
    assert ("NO", "ours") not in rows  # where the track has a right of the territory itself, that of everywhere else does not hold


def test_a_licence_is_used_where_and_when_it_holds(world: World) -> None:
    used = {(row["licence_territory"], row["holder_id"]): row for row in world.mart("licence_months") if row["track_id"] == "single"}
    assert {key: (row["stream_count"], row["share_count"], row["territory_count"]) for key, row in used.items()} == {
        ("WW", "ours"): (8, 4, 1),
        ("NO", "theirs"): (8, 4, 1),
    }
    assert {row["licensed_from_on"] for row in used.values()} == {date(2020, 1, 1)}


def test_the_marts_agree_with_each_other(world: World) -> None:
    assert len(run_dbt(world.tenant, world.settings, "test", "--select", *CI_ONLY)) > 4


def test_a_right_of_the_territory_takes_the_place_of_that_of_everywhere_else_from_its_day_on(world: World) -> None:
    held = {(row["territory"], row["holder_id"]): row["stream_count"] for row in world.mart("payable_months") if row["track_id"] == "few"}
    assert held["DE", "theirs"] == 1
    assert held["DE", "ours"] == Decimal("0.75")
    assert ("FR", "theirs") not in held


def test_who_tells_neither_tiers_nor_what_is_artificial_has_pools_all_the_same(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("untold", ("plays", "rights", "payments"), rules={"payable_min_streams": 1, "pool_share": 0.5}))
    world.add("plays", play("one", "2026-01-10", "song", "l", country="SE", tier=None))
    world.add("rights", right("song", "alpha", 0.5))
    pay(world, "l", "2026-01-10", 10.01)
    world.night(TODAY)
    assert [row["artificial_count"] for row in world.mart("payable_months")] == [None, None]
    assert {row["holder_id"]: (row["tier"], row["user_centric_amount"]) for row in world.mart("royalty_shares")} == {
        "(unassigned)": ("unknown", Decimal("2.51")),
        "alpha": ("unknown", Decimal("2.50")),
    }
    assert {(row["market_share_ratio"], row["market_share_reason"][:4]) for row in world.mart("market_months")} == {(None, "only")}
    world.add("plays", play("late", "2026-01-11", "song", "m", country="SE", tier=None))
    world.night(TODAY)
    assert differences(world, TODAY) == []


def test_units_of_sales_alone_say_that_they_know_no_streams(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("shop", ("sales", "tracks")))
    world.add("tracks", {"track_id": "single", "title": "Single", "artist_id": "the band", "release_id": "album"})
    sale = {"sale_id": "s", "sold_on": date(2026, 1, 5), "track_id": "single", "unit_count": 3, "net_amount": 1, "currency": "EUR"}
    world.add("sales", sale)
    world.night(TODAY)
    (row,) = world.mart("unit_months")
    assert [row[name] for name in ("release_id", "unit_count", "paid_stream_count")] == ["album", Decimal("0.3"), None]
    assert row["missing_reason"] == "no plays are delivered"
    world.rows["tracks"][0]["release_id"] = "another"
    world.night(TODAY)
    assert differences(world, TODAY) == []


def test_dbts_own_unit_tests_hold(world: World) -> None:
    results = run_dbt(world.tenant, world.settings, "test", "--select", "test_type:unit")
    assert {result.node.name for result in results} == {
        "stream_at_30_seconds", "skips_and_completion_at_their_limits", "chains_are_cut_at_midnight_of_a_leap_day",
        "money_at_the_rate_of_its_day_and_refunds_on_theirs",
    }  # fmt: skip
