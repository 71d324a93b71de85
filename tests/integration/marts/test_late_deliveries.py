"""Whatever comes late, changes, moves or goes, and in whatever order: the marts are what the definitions say, and what a build from nothing says."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta

import pytest

from nocturne.marts import builds
from nocturne.postgres import connect, statement
from nocturne.tenants import Tenant
from tests.integration.marts.randomness import random_world, upset
from tests.integration.marts.reference import differences
from tests.integration.marts.world import World, make_tenant

FIRST, LAST = date(2026, 1, 1), date(2026, 2, 5)
RULES = (
    {},
    {"stream_min_ms": [{"from": "2026-01-01", "value": 30_000}, {"from": "2026-01-15", "value": 5_000}]},
    {"session_gap_seconds": [{"from": "2026-01-01", "value": 3_600}, {"from": "2026-01-20", "value": 1_800}], "stream_rule": "gt"},
)


def forget_what_was_published(world: World) -> None:
    """As after a change of the code: the next build makes everything anew."""
    with connect(world.settings, role=world.tenant.owner_role) as connection:
        connection.execute(statement(f"UPDATE {world.tenant.build_schema}._builds SET fingerprint = 'another code'"))


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4, 8))])
def test_nights_of_late_rows_end_where_a_build_from_nothing_ends(new_world: Callable[[Tenant], World], seed: int) -> None:
    world = new_world(make_tenant("lateness"))
    made = random_world(world, seed, FIRST, LAST, plays=80)
    day = LAST
    world.night(day)
    assert differences(world, day) == []
    for night in range(4):
        upset(world, made, FIRST, LAST + timedelta(night))
        day += timedelta(made.dice.choice((0, 1, 9)))
        world.load(day, make_tenant("lateness", rules=RULES[(seed + night) % len(RULES)]))
        if night == 2:  # a gate failed: what was built is not published, and the next night takes it up
            world.build(day)
            upset(world, made, FIRST, day)
            world.load(day)
        receipt = world.build(day)
        assert receipt.entries[0].facts["is_full"] is False
        world.publish(day)
        assert differences(world, day) == [], f"night {night}"
    step_by_step = world.contents()
    forget_what_was_published(world)
    assert world.build(day).entries[0].facts["is_full"] is True
    assert world.contents(world.tenant.build_schema) == step_by_step
    published = world.publish(day)
    assert {(entry.counts["inserted"], entry.counts["deleted"]) for entry in published.entries} == {(0, 0)}


def test_a_listener_whom_the_register_tells_otherwise_takes_all_days_along(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("lateness"))
    random_world(world, 9, FIRST, LAST, plays=40)
    world.night(LAST)
    before, days = world.mart("audience_days"), world.mart("listener_days")
    for listener in world.rows["listeners"][:3]:
        listener |= {"gender": "nonbinary", "channel": "tv", "country": None}
    world.night(LAST)
    assert differences(world, LAST) == []
    assert world.mart("listener_days") == days
    moved = [row for row in world.mart("audience_days") if row["channel"] == "tv"]
    assert len({row["played_on"] for row in moved}) >= 10
    assert sum(row["play_count"] for row in world.mart("audience_days")) == sum(row["play_count"] for row in before)


def test_the_order_of_deliveries_leaves_no_trace(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("lateness"))
    random_world(world, 5, FIRST, LAST, plays=70)
    everything = {dataset: list(rows) for dataset, rows in world.rows.items()}
    world.night(LAST)
    at_once = world.contents()
    for order in range(2):
        dice = random.Random(order)
        world.rows = {}
        world.night(LAST)
        assert world.mart("plays") == []
        assert world.mart("subscription_periods") == []
        first = {dataset: dice.sample(rows, len(rows) // 2) for dataset, rows in everything.items()}
        world.rows = first
        world.night(LAST)
        world.rows = everything
        world.night(LAST)
        assert world.contents() == at_once, f"order {order}"


def test_a_backfill_of_an_old_day_changes_no_number_of_today(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("lateness"))
    random_world(world, 6, FIRST, LAST, plays=30)
    world.night(LAST)
    before = world.contents()
    world.load(LAST - timedelta(20))
    receipt = world.build(LAST - timedelta(20))
    assert receipt.entries[0].skipped
    assert world.contents() == before


def test_marts_that_a_night_has_not_touched_are_not_built_again(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("lateness"))
    random_world(world, 7, FIRST, LAST, plays=30)
    world.night(LAST)
    again = world.build(LAST)
    assert [entry.skipped for entry in again.entries] == [True]
    assert again.seconds < 2
    assert world.publish(LAST).entries[0].skipped
    with connect(world.settings, role=world.tenant.owner_role) as connection:
        last = builds.last_build(connection, world.tenant)
    assert last is not None
    assert last.is_published
