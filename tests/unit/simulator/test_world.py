"""The world: the same from the same seed, true to its own events, and legal in every table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import ValidationError

from nocturne.datasets import DATASETS, row_model
from nocturne.simulator import Delivery, World, WorldParameters, small_world
from nocturne.simulator.columns import plain, schema
from nocturne.simulator.damage import FLAWS

BEGINS = date(2026, 3, 20)
EVENTS = {
    "hits": [{"happens_on": "2026-04-01", "peak_share": 0.2}],
    "outages": [{"happens_on": "2026-04-05", "from_hour": 18, "to_hour": 22}],
    "bot_farms": [{"from_on": "2026-04-08", "to_on": "2026-04-10", "accounts": 3, "plays_a_day": 40}],
    "price_changes": [{"happens_on": "2026-04-12", "plan_id": "premium-monthly", "ratio": 1.25}],
    "experiments": [{"experiment_id": "welcome", "from_on": "2026-03-20", "to_on": "2026-04-20", "effect": 1.0}],
    "rights_transfers": [{"happens_on": "2026-04-02"}],
}
UNTESTED = ("predicted_genres", "artificial_streams", "fx_rates", "statements")  # not simulated, or with a test of their own
DAMAGE = {"late": 0.06, "repeated": 0.02, "corrected": 0.01, "broken": 0.02}


def eventful(**more: Any) -> World:
    """Five weeks with everything planted; clocks go forward on 2026-03-29."""
    values: dict[str, Any] = {"events": EVENTS, "damage": DAMAGE, "begins_on": BEGINS}
    return small_world(**({"seed": 5, "days": 35, "listeners": 130} | values | more))


@pytest.fixture(scope="module")
def world() -> World:
    return eventful()


@pytest.fixture(scope="module")
def plays(world: World) -> pa.Table:
    """Every play of the world once, as it truly was."""
    return world.table("plays")


@pytest.fixture(scope="module")
def deliveries(world: World) -> list[tuple[date, Delivery]]:
    """Everything that arrives of plays."""
    return list(world.deliveries("plays"))


def local_dates(instants: pa.ChunkedArray, zone: str = "Europe/Paris") -> pa.ChunkedArray:
    return pc.local_timestamp(instants.cast(pa.timestamp("us", zone))).cast(pa.date32())


# the same again ------------------------------------------------------------------------------------------------------------
def test_the_same_seed_gives_the_same_deliveries_in_whatever_order_days_are_asked_for(world: World) -> None:
    other = eventful()
    for on in reversed(world.days[-4:]):
        for dataset in ("plays", "interactions", "ad_impressions", "subscription_events", "sales"):
            assert plain(dataset, other.delivered(dataset, on).rows).equals(plain(dataset, world.delivered(dataset, on).rows))


def test_another_seed_gives_another_world(world: World) -> None:
    other = small_world(seed=6, days=3, begins_on=BEGINS, has_subscriptions=False)
    assert not other.events("plays", BEGINS).equals(world.events("plays", BEGINS))


# tables --------------------------------------------------------------------------------------------------------------------
def test_it_has_every_dataset_but_what_models_record(world: World) -> None:
    assert set(DATASETS) - set(world.datasets) == {"predicted_genres", "artificial_streams"}


def test_a_world_without_subscriptions_has_none_of_their_datasets() -> None:
    label = small_world(has_subscriptions=False)
    assert not {"subscription_events", "payments", "plans", "exposures"} & set(label.datasets)
    assert len(label.delivered("plays", label.days[3]))
    with pytest.raises(KeyError, match="payments"):
        label.table("payments")


@pytest.mark.parametrize("dataset", [name for name in DATASETS if name not in UNTESTED])
def test_every_row_has_the_catalogues_columns_and_obeys_its_rules(world: World, dataset: str) -> None:
    table = world.table(dataset)
    assert table.schema == schema(dataset)
    assert table.num_rows > 0
    model = row_model(dataset)
    for row in table.take(np.linspace(0, len(table) - 1, 40).astype(int)).to_pylist():
        model.model_validate(row)
    key = [str(value) for value in zip(*(table[name].to_pylist() for name in DATASETS[dataset].key), strict=True)]
    assert len(set(key)) == len(key)


def test_a_foreign_currency_has_a_rate_for_every_day() -> None:
    countries = [{"code": "FR", "share": 1, "currency": "EUR"}, {"code": "SE", "share": 1, "currency": "SEK", "rate": 0.09, "prices": 11}]
    world = small_world(countries=countries)
    rates = world.table("fx_rates")
    assert rates["currency"].to_pylist() == ["SEK"] * 14
    assert rates["rated_on"].to_pylist() == list(world.days)
    assert all(abs(rate - 0.09) < 0.01 for rate in rates["rate"].to_pylist())


# time ----------------------------------------------------------------------------------------------------------------------
def test_events_of_a_date_are_those_whose_local_calendar_day_it_is(world: World, plays: pa.Table) -> None:
    by_date = pc.value_counts(local_dates(plays["played_at"])).to_pylist()
    for entry in by_date:
        on = entry["values"]
        rows = world.events("plays", on)
        assert len(rows) == entry["counts"]
        assert set(local_dates(rows["played_at"]).to_pylist()) == {on}


@pytest.mark.parametrize("dataset", ["interactions", "ad_impressions", "subscription_events", "touchpoints", "sales", "playlist_tracks"])
def test_every_event_dataset_tells_the_events_of_a_date(world: World, dataset: str) -> None:
    table, instant = world.table(dataset), DATASETS[dataset].instant
    dates = table[instant] if pa.types.is_date(table[instant].type) else local_dates(table[instant])
    rows = 0
    for on in (BEGINS, date(2026, 3, 29), date(2026, 4, 5)):
        expected = table.filter(pc.equal(dates, pa.scalar(on))).sort_by(DATASETS[dataset].key[0])
        assert world.events(dataset, on).sort_by(DATASETS[dataset].key[0]).equals(expected)
        rows += len(expected)
    assert rows


def test_nothing_is_delivered_before_it_happened_and_late_plays_are_those_without_a_connection(
    deliveries: list[tuple[date, Delivery]],
) -> None:
    zone = ZoneInfo("Europe/Paris")
    late = 0
    for on, delivery in deliveries:
        rows = plain("plays", delivery.rows)
        ends = datetime(on.year, on.month, on.day, tzinfo=zone) + timedelta(days=1)
        assert pc.max(rows["played_at"]).as_py() < ends.astimezone(UTC)
        offline = rows.filter(pc.equal(rows["is_offline"], True))
        if len(offline):
            played = local_dates(offline["played_at"])
            ages = [(on - day).days for day in played.to_pylist()]
            assert min(ages) > 0 and max(ages) <= 13  # ten days, two nights past midnight, and again with the next delivery
        late += delivery.counts["late"]
    assert late > 100


def test_the_day_on_which_clocks_go_forward_has_23_hours(world: World) -> None:
    assert world.clock.length_ms(world.clock.number_of(date(2026, 3, 29))) == 23 * 3_600_000
    hours = {
        instant.astimezone(ZoneInfo("Europe/Paris")).hour for instant in world.events("plays", date(2026, 3, 29))["played_at"].to_pylist()
    }
    assert 2 not in hours


@pytest.mark.parametrize(("on", "left_out"), [(date(2026, 3, 29), {2}), (date(2026, 10, 25), set())])
def test_people_listen_by_the_clock_on_a_day_of_23_and_of_25_hours(on: date, left_out: set[int]) -> None:
    changed = World(WorldParameters(seed=11, begins_on=on - timedelta(days=7), days=15, listeners=3_000, time_zone="Europe/Paris"))
    shares = []
    for day in (on - timedelta(days=7), on, on + timedelta(days=7)):
        played = changed.events("plays", day)["played_at"].to_pylist()
        hours = np.bincount([instant.astimezone(ZoneInfo("Europe/Paris")).hour for instant in played], minlength=24)
        assert {hour for hour in range(24) if not hours[hour]} == (left_out if day == on else set())
        shares.append(hours / hours.sum())
    before, changing, after = shares
    assert np.abs(changing - after).sum() < 2 * np.abs(before - after).sum()


@pytest.mark.parametrize("on", [date(2026, 3, 29), date(2026, 10, 25), date(2026, 4, 2)])
def test_what_passed_since_midnight_is_what_clocks_show(on: date) -> None:
    clock, zone = World(WorldParameters(begins_on=on, days=2, listeners=50, time_zone="Europe/Paris")).clock, ZoneInfo("Europe/Paris")
    minutes = np.arange(1440)
    passed = clock.passed_ms(np.zeros_like(minutes), minutes * 60_000)
    shown = [datetime.fromtimestamp((int(clock.start_ms(0)) + int(one)) / 1000, zone) for one in passed]
    wrong = [minute for minute, at in zip(minutes, shown, strict=True) if (at.hour * 60 + at.minute) != minute]
    assert wrong == (list(range(120, 180)) if on.month == 3 else [])


def test_a_session_that_passes_midnight_has_plays_on_both_days(deliveries: list[tuple[date, Delivery]]) -> None:
    for on, delivery in deliveries:
        rows = delivery.rows
        live = rows.filter(pc.equal(rows["is_offline"].cast(pa.bool_()), False))
        before = pc.equal(local_dates(live["played_at"]), pa.scalar(on - timedelta(days=1)))
        across = set(live["session_id"].filter(before).to_pylist()) & set(live["session_id"].filter(pc.invert(before)).to_pylist())
        if across:
            return
    pytest.fail("no session passed midnight in five weeks")


# deliveries ----------------------------------------------------------------------------------------------------------------
def rows_by_id(deliveries: list[tuple[date, Delivery]]) -> Iterator[tuple[date, dict[str, list[dict[str, Any]]]]]:
    for on, delivery in deliveries:
        of_day: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in plain("plays", delivery.rows).to_pylist():
            of_day[row["play_id"]].append(row)
        yield on, of_day


def test_deliveries_hold_what_their_counts_say(deliveries: list[tuple[date, Delivery]], plays: pa.Table) -> None:
    known: dict[str, list[dict[str, Any]]] = {}
    for on, of_day in rows_by_id(deliveries):
        counts = dict.fromkeys(("new", "repeated", "corrected"), 0)
        for play_id, rows in of_day.items():
            for row in rows:
                earlier = known.setdefault(play_id, [])
                kind = "new" if not earlier else "repeated" if row in earlier else "corrected"
                earlier.append(row)
                counts[kind] += 1
        told = dict(deliveries)[on].counts
        assert counts == {"new": told["first"] + told["late"], "repeated": told["repeated"], "corrected": told["corrected"]}
    assert len(known) == len(plays)
    assert {row["play_id"]: row for row in plays.to_pylist()} == {play_id: rows[0] for play_id, rows in known.items()}


def test_every_flaw_comes_and_stands_where_it_is_told(deliveries: list[tuple[date, Delivery]], plays: pa.Table) -> None:
    seen = dict.fromkeys(FLAWS, 0)
    truth = set(plays["play_id"].to_pylist())
    for _, delivery in deliveries:
        for flaw, rows in delivery.broken.items():
            seen[flaw] += len(rows)
            assert delivery.counts[flaw] == len(rows)
            assert not set(rows["play_id"].drop_null().to_pylist()) & truth
            if flaw == "negative_duration":
                assert pc.max(rows["ms_played"]).as_py() < 0
            elif flaw != "unparsable_line":
                column = {"missing_listener": "listener_id", "missing_track": "track_id", "missing_id": "play_id"}.get(flaw, "played_at")
                assert rows[column].null_count == len(rows)
        assert len(delivery) == sum(delivery.counts.values())
    assert min(seen.values()) > 5


def test_reference_datasets_deliver_what_changed(world: World) -> None:
    for dataset in ("tracks", "listeners", "rights", "plans", "playlists"):
        standing: dict[Any, dict[str, Any]] = {}
        key = DATASETS[dataset].key
        for on, delivery in world.deliveries(dataset):
            standing |= {tuple(row[name] for name in key): row for row in plain(dataset, delivery.rows).to_pylist()}
            if on in (world.days[0], world.days[14], world.days[-1]):
                told = world.reference(dataset, on).to_pylist()
                assert standing == {tuple(row[name] for name in key): row for row in told}


# planted events ------------------------------------------------------------------------------------------------------------
def test_a_hit_takes_off_on_its_day(world: World) -> None:
    track = world.registers.track_ids[world.catalogue.hit_tracks[0]].as_py()

    def share(begin: date, days: int) -> float:
        rows = pa.concat_tables([world.events("plays", begin + timedelta(days=n)) for n in range(days)])
        return float(pc.mean(pc.equal(rows["track_id"], track).cast(pa.float64())).as_py())

    assert share(date(2026, 3, 20), 12) < 0.01
    assert share(date(2026, 4, 11), 8) == pytest.approx(0.2, abs=0.04)


def test_an_outage_leaves_nothing_of_its_hours_and_takes_nothing_else() -> None:
    quiet = eventful(has_subscriptions=False, events={}, days=20)
    dark = eventful(has_subscriptions=False, events={"outages": EVENTS["outages"]}, days=20)
    rows, fewer = quiet.table("plays"), dark.table("plays")
    missing = set(rows["play_id"].to_pylist()) - set(fewer["play_id"].to_pylist())
    lost = rows.filter(pc.is_in(rows["play_id"], pa.array(sorted(missing))))
    local = pc.local_timestamp(lost["played_at"].cast(pa.timestamp("us", "Europe/Paris")))
    assert set(local.cast(pa.date32()).to_pylist()) == {date(2026, 4, 5)}
    assert set(pc.hour(local).to_pylist()) == {18, 19, 20, 21}
    assert dark.lost_plays() == [len(missing)]
    assert len(rows) - len(fewer) == len(missing)


def test_a_bot_farm_plays_one_artist_around_the_clock(world: World, plays: pa.Table) -> None:
    bots = world.registers.listener_ids.take(np.flatnonzero(world.people.is_bot)).to_pylist()
    rows = plays.filter(pc.is_in(plays["listener_id"], pa.array(bots)))
    assert pc.value_counts(local_dates(rows["played_at"])).to_pylist() == [
        {"values": date(2026, 4, day), "counts": 3 * 40} for day in (8, 9, 10)
    ]
    tracks = world.table("tracks")
    artists = tracks.filter(pc.is_in(tracks["track_id"], rows["track_id"].combine_chunks()))["artist_id"]
    assert len(set(artists.to_pylist())) == 1
    assert pc.min(rows["ms_played"]).as_py() >= 30_000 and pc.max(rows["ms_played"]).as_py() < 36_000


def test_a_price_change_closes_one_row_and_opens_another(world: World) -> None:
    def rows(on: date) -> list[tuple[date, date | None, Decimal]]:
        plans = world.reference("plans", on)
        chosen = plans.filter(pc.equal(plans["plan_id"], "premium-monthly")).to_pylist()
        return [(row["valid_from_on"], row["valid_to_on"], row["price_amount"]) for row in chosen]

    before = rows(date(2026, 4, 11))
    assert [(end, price) for _, end, price in before] == [(None, Decimal("11.99"))]
    assert rows(date(2026, 4, 12)) == [
        (before[0][0], date(2026, 4, 12), Decimal("11.99")),
        (date(2026, 4, 12), None, Decimal("14.99")),
    ]


def test_rights_add_up_on_every_day_and_pass_on_theirs(world: World) -> None:
    rights = world.table("rights").to_pylist()
    moved = [row for row in rights if row["valid_to_on"] == date(2026, 4, 2)]
    assert moved
    for on in (date(2026, 4, 1), date(2026, 4, 2), world.days[-1]):
        shares: dict[tuple[str, str], float] = defaultdict(float)
        for row in rights:
            if row["valid_from_on"] <= on and (row["valid_to_on"] is None or on < row["valid_to_on"]):
                shares[row["track_id"], row["territory"]] += row["share_ratio"]
        assert shares and all(total == pytest.approx(1) for total in shares.values())
    taken_over = {(row["track_id"], row["share_ratio"]) for row in rights if row["valid_from_on"] == date(2026, 4, 2)}
    assert {(row["track_id"], row["share_ratio"]) for row in moved} <= taken_over


def test_what_is_planted_outside_of_the_world_is_refused() -> None:
    with pytest.raises(ValidationError, match="outside of the world's days: 2027-01-01"):
        small_world(events={"hits": [{"happens_on": "2027-01-01"}]})


# money ---------------------------------------------------------------------------------------------------------------------
def test_each_subscription_lives_a_legal_life(world: World) -> None:
    follows = {
        None: {
            "trial_started",
            "started",
            "renewed",
            "plan_changed",
            "reactivated",
        },  # the first day's export begins with any running period
        "trial_started": {"started", "ended"},
        "started": {"renewed", "plan_changed", "auto_renew_off", "payment_failed", "ended"},
        "auto_renew_off": {"ended"},
        "payment_failed": {"renewed", "payment_failed", "ended"},
        "ended": {"reactivated", "trial_started"},
    }
    follows["renewed"] = follows["plan_changed"] = follows["reactivated"] = follows["started"]
    events = sorted(world.table("subscription_events").to_pylist(), key=lambda row: (row["subscription_id"], row["occurred_at"]))
    last: dict[str, str] = {}
    periods: dict[str, date] = {}
    for row in events:
        subscription, kind = row["subscription_id"], row["event_type"]
        assert kind in follows[last.get(subscription)], (subscription, last.get(subscription), kind)
        last[subscription] = kind
        if kind in ("trial_started", "started", "renewed", "plan_changed", "reactivated"):
            assert row["period_from_on"] < row["period_to_on"]
            if kind in ("renewed", "plan_changed") and subscription in periods:
                assert row["period_from_on"] == periods[subscription]
            periods[subscription] = row["period_to_on"]
        else:
            assert row["period_from_on"] is None and row["period_to_on"] is None
        assert (row["end_reason"] is not None) == (kind == "ended")
        assert (row["previous_plan_id"] is not None) == (kind == "plan_changed")


def test_every_paid_period_is_paid_once_at_the_price_of_its_day(world: World) -> None:
    prices = world.table("plans").to_pylist()
    opened = {
        (row["subscription_id"], row["occurred_at"].date()): row["plan_id"]
        for row in world.table("subscription_events").to_pylist()
        if row["event_type"] in ("started", "renewed", "plan_changed", "reactivated") and row["occurred_at"].date() >= BEGINS
    }
    paid = [row for row in world.table("payments").to_pylist() if row["status"] == "succeeded"]
    assert sorted((row["subscription_id"], row["paid_at"].date()) for row in paid) == sorted(opened)
    for row in paid:
        on, plan = row["paid_at"].date(), opened[row["subscription_id"], row["paid_at"].date()]
        (price,) = [
            p["price_amount"]
            for p in prices
            if p["plan_id"] == plan and p["valid_from_on"] <= on and (p["valid_to_on"] is None or on < p["valid_to_on"])
        ]
        assert row["amount"] == price
        assert abs(row["tax_amount"] - price / 6) < Decimal("0.01")


def test_a_listener_who_is_gone_does_not_play(world: World) -> None:
    for day in range(world.parameters.days):
        block = world.listening.on_time(day, world.tier(day))
        assert (world.tier(day)[block.listener] >= 0).all()


def test_a_statement_tells_the_streams_that_were_played() -> None:
    label = small_world(
        begins_on="2026-04-01",
        days=43,
        listeners=40,
        tracks=80,
        artists=10,
        has_subscriptions=False,
        platforms={"Orbit": 2, "Tide": 1},
        events={"shortfalls": [{"period_ends_on": "2026-04-30", "service": "Tide", "ratio": 0.5}]},
    )
    (lines,) = [d.rows for on, d in label.deliveries("statements") if len(d)]
    assert label.delivered("statements", date(2026, 5, 12)).rows.equals(lines)
    rows = pa.concat_tables([label.events("plays", date(2026, 4, day)) for day in range(1, 31)])
    streams = rows.filter(pc.greater_equal(rows["ms_played"], 30_000)).group_by(["track_id", "platform"]).aggregate([([], "count_all")])
    true = {(row["track_id"], row["platform"]): row["count_all"] for row in streams.to_pylist()}
    told: dict[tuple[str, str], int] = defaultdict(int)
    for row in plain("statements", lines).to_pylist():
        row_model("statements").model_validate(row)
        told[row["track_id"], row["service"]] += row["stream_count"]
    differ = {key: (true[key], told[key]) for key in true if true[key] != told[key]}
    short = label.registers.track_ids[label.business.short_track(0)].as_py()
    assert set(differ) <= {(short, "Tide")}
    assert told.keys() == true.keys()
