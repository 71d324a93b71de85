"""What was received, how late, how much of it was refused, and what a month used of the installation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from nocturne.ledger import Mark, MemoryMarks
from nocturne.tenants import Tenant
from nocturne.warehouse.facts import load_facts
from tests.integration.marts.test_royalties import play
from tests.integration.marts.world import World, make_tenant

TODAY = date(2026, 2, 10)
JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
BATCHES = (  # received on, rows, left out, valid, quarantined
    (date(2026, 1, 31), 100, 10, 60, 30),
    (date(2026, 2, 1), 40, 0, 40, 0),
    (date(2026, 2, 2), 7, 7, 0, 0),
    (date(2026, 2, 3), 50, 0, None, None),
)


def marks(tenant: Tenant) -> MemoryMarks:
    """Four batches of plays, the last of which has not passed its gate."""
    found = MemoryMarks()
    for on, rows, left_out, valid, quarantined in BATCHES:
        batch = f"plays/{on}"
        found.mark(tenant, "bronze", "plays", {batch: Mark("x", {"received_on": str(on), "rows": rows, "left_out": left_out})})
        if valid is not None:
            found.mark(tenant, "quarantine", "plays", {batch: Mark("x", {"valid": valid, "quarantined": quarantined})})
    return found


@pytest.fixture(scope="module")
def world(new_world: Callable[[Tenant], World]) -> World:
    made = new_world(make_tenant("royalties"))
    for n, days in enumerate((0, 0, 0, 0, 1, 1, 1, 2, 2, 30)):
        on = date(2026, 1, 20)
        made.add("plays", play(f"p{n}", str(on), "song", f"l{n % 3}", received_on=on + timedelta(days)))
    made.add("plays", play("short", "2026-01-21", "song", "nobody", ms_played=5_000), play("next", "2026-02-01", "song", "l0"))
    made.night(TODAY)
    return made


def test_lateness_is_told_by_the_days_from_event_to_receipt(world: World) -> None:
    days = {row["event_on"]: row for row in world.mart("reconciliation_days") if row["dataset"] == "plays"}
    names = ("late_count", "p50_days_late", "p90_days_late", "max_days_late")
    assert tuple(days[date(2026, 1, 20)][name] for name in names) == (6, 1, 2, 30)
    assert tuple(days[date(2026, 2, 1)][name] for name in names) == (0, 0, 0, 0)


def test_a_month_uses_rows_plays_and_listeners_and_has_no_price_where_nobody_names_one(world: World) -> None:
    world.load(TODAY)
    load_facts(world.tenant, TODAY, world.settings, marks(world.tenant))
    world.build(TODAY)
    world.publish(TODAY)
    months = {row["month_on"]: row for row in world.mart("usage_months")}
    names = ("batch_count", "delivered_count", "valid_count", "max_night_count", "play_count", "stream_count", "listeners_month")
    assert tuple(months[JANUARY][name] for name in names) == (1, 100, 60, 100, 11, 10, 3)
    assert tuple(months[FEBRUARY][name] for name in names) == (3, 97, 40, 50, 1, 1, 1)
    assert {(row["price_amount"], row["price_reason"][:7]) for row in months.values()} == {(None, "neither")}


def test_the_share_in_quarantine_is_of_the_rows_that_were_judged(world: World) -> None:
    load_facts(world.tenant, TODAY, world.settings, marks(world.tenant))
    world.build(TODAY)
    world.publish(TODAY)
    shares = {row["received_on"].day: row["quarantined_ratio"] for row in world.mart("reconciliation") if row["dataset"] == "plays"}
    assert shares == {31: pytest.approx(1 / 3), 1: 0, 2: None, 3: None}
