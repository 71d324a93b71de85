"""Statements: once published, a month's is closed, whatever comes late, is built anew or is killed; the next one brings what changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

import pytest

from nocturne.ledger import MemoryMarks
from nocturne.marts import steer_marts
from nocturne.tenants import Tenant
from tests.integration.marts.randomness import random_world, upset
from tests.integration.marts.reference import differences, expected
from tests.integration.marts.reference_rights import Statements
from tests.integration.marts.test_late_deliveries import forget_what_was_published
from tests.integration.marts.test_royalties import flag, pay, play, right
from tests.integration.marts.world import Row, World, local, make_tenant

JANUARY, FEBRUARY, MARCH = (date(2026, month, 1) for month in (1, 2, 3))
DUE = date(2026, 2, 7)  # seven days after the end of January
AMOUNTS = ("pro_rata_amount", "user_centric_amount", "artist_centric_amount")


def lines(world: World) -> dict[tuple[date, date, str], Row]:
    """(statement, period, holder) -> line."""
    return {(row["statement_on"], row["period_on"], row["holder_id"]): row for row in world.mart("royalty_statement_lines")}


def issued(world: World) -> list[date]:
    return sorted(row["statement_on"] for row in world.mart("royalty_statements"))


@pytest.fixture
def world(new_world: Callable[[Tenant], World]) -> World:
    """One pool of 10.00 in January, of which one holder has all."""
    made = new_world(make_tenant("royalties", rules={"payable_min_streams": 1, "pool_share": 0.5}))
    made.add("tracks", {"track_id": "song", "title": "Song", "duration_ms": 200_000}, {"track_id": "other", "title": "Other"})
    made.add("rights", right("song", "alpha", 1.0), right("other", "beta", 1.0))
    made.add("plans", {"plan_id": "p", "country": "WW", "valid_from_on": date(2020, 1, 1), "tier": "premium", "price_amount": 10})
    made.rows["plans"][0] |= {"billing_period": "month", "currency": "EUR"}
    started = {"event_id": "start", "event_type": "started", "listener_key": "l", "subscription_id": "sub l", "plan_id": "p"}
    made.add("subscription_events", started | {"occurred_on": JANUARY, "period_from_on": JANUARY, "period_to_on": date(2027, 1, 1)})
    made.rows["subscription_events"][0]["occurred_at"] = play("", "2026-01-01", "", "")["played_at"]
    made.add("plays", play("first", "2026-01-10", "song", "l", country="SE"))
    pay(made, "l", "2026-01-10", 20)
    return made


def test_a_statement_is_issued_when_its_month_is_final_and_not_before(world: World) -> None:
    world.night(DUE - timedelta(1))
    assert issued(world) == []
    world.night(DUE)
    assert issued(world) == [JANUARY]
    (line,) = lines(world).values()
    assert [line[name] for name in ("holder_id", "is_adjustment", *AMOUNTS)] == ["alpha", False, 10, 10, 10]
    (statement,) = world.mart("royalty_statements")
    assert (statement["due_on"], statement["issued_on"], statement["line_count"]) == (DUE, DUE, 1)


def test_what_comes_late_is_an_adjustment_with_its_period_on_the_next_statement(world: World) -> None:
    world.night(DUE)
    before = lines(world)
    world.add("plays", play("late", "2026-01-20", "other", "m", country="SE"))
    world.night(DUE + timedelta(1))
    assert lines(world) == before
    assert {row["holder_id"]: row["pro_rata_amount"] for row in world.mart("royalty_shares")} == {"alpha": 5, "beta": 5}
    world.night(date(2026, 3, 7))
    found = lines(world)
    assert {key: found[key] for key in before} == before
    assert {key: (row["is_adjustment"], row["pro_rata_amount"]) for key, row in found.items() if key not in before} == {
        (FEBRUARY, JANUARY, "alpha"): (True, Decimal(-5)),
        (FEBRUARY, JANUARY, "beta"): (True, Decimal(5)),
    }
    # what was adjusted is not adjusted again
    world.add("plays", play("march", "2026-03-02", "song", "l", country="SE"))
    world.night(date(2026, 4, 7))
    assert [key for key in lines(world) if key[0] == MARCH] == []
    assert issued(world) == [JANUARY, FEBRUARY, MARCH]


def test_a_night_that_builds_a_day_knows_what_is_artificial_on_the_next(world: World) -> None:
    """Of a play over midnight the second part alone is flagged, on a day on which nothing else is played."""
    before = {"played_at": local("2026-01-20T23:59:20"), "reason_end": "network"}
    world.add("plays", play("over 1", "2026-01-20", "other", "l", country="SE", **before))
    world.add("plays", play("over 2", "2026-01-21", "other", "l", country="SE", played_at=local("2026-01-21T00:00:10")))
    world.add("artificial_streams", flag("over 2", date(2026, 1, 21)))
    world.night(DUE - timedelta(1))
    world.add("plays", play("late", "2026-01-20", "song", "m", country="SE"))
    world.night(DUE)
    assert {row["holder_id"]: row["user_centric_amount"] for row in world.mart("royalty_shares")} == {"alpha": 10}
    assert differences(world, DUE) == []


def test_a_build_from_nothing_leaves_what_was_issued(world: World) -> None:
    world.night(DUE)
    world.add("plays", play("late", "2026-01-20", "other", "m", country="SE"))
    world.night(date(2026, 3, 7))
    before = world.contents()
    forget_what_was_published(world)
    assert world.build(date(2026, 3, 7)).entries[0].facts["is_full"] is True
    assert world.contents(world.tenant.build_schema) == before
    published = world.publish(date(2026, 3, 7))
    assert {(entry.counts["inserted"], entry.counts["deleted"]) for entry in published.entries} == {(0, 0)}


def test_a_statement_that_is_rolled_back_comes_back_as_it_was_issued(world: World) -> None:
    """Somebody may have had it in hand: what is wrong with it is adjusted on the next one, also after a rollback."""
    world.night(DUE - timedelta(1))
    world.night(DUE)
    before, marts = lines(world), world.mart("royalty_statements")
    told = {"reason": "rights were wrong", "by": "Ada"}
    steer_marts(world.tenant, DUE, world.settings, MemoryMarks(), asked="back", **told)
    assert (lines(world), issued(world)) == ({}, [])
    world.add("plays", play("late", "2026-01-20", "other", "m", country="SE"))
    world.night(DUE + timedelta(1))
    assert issued(world) == []
    steer_marts(world.tenant, DUE, world.settings, MemoryMarks(), action="release", asked="on", by="Ada")
    world.publish(DUE + timedelta(1))
    assert (lines(world), world.mart("royalty_statements")) == (before, marts)
    world.night(date(2026, 3, 7))
    assert [(key[2], row["pro_rata_amount"]) for key, row in sorted(lines(world).items()) if key[0] == FEBRUARY] == [
        ("alpha", Decimal(-5)),
        ("beta", Decimal(5)),
    ]
    assert differences(world, date(2026, 3, 7)) == []


def test_a_statement_that_was_built_and_not_published_may_still_change(world: World) -> None:
    world.load(DUE)
    world.build(DUE)
    world.add("plays", play("late", "2026-01-20", "other", "m", country="SE"))
    world.night(DUE + timedelta(1))
    assert {key: row["pro_rata_amount"] for key, row in lines(world).items()} == {
        (JANUARY, JANUARY, "alpha"): 5,
        (JANUARY, JANUARY, "beta"): 5,
    }
    assert [row["issued_on"] for row in world.mart("royalty_statements")] == [DUE + timedelta(1)]


def test_whatever_comes_in_whatever_nights_lines_add_up_to_what_is_true_when_a_statement_is_issued(
    new_world: Callable[[Tenant], World],
) -> None:
    first, day = JANUARY, date(2026, 2, 5)
    world = new_world(make_tenant("lateness"))
    made = random_world(world, 11, first, day, plays=80)
    known = Statements(world.tenant)
    for step in (0, 2, 12, 20, 31):
        day += timedelta(step)
        world.night(day)
        known.issue(day, expected(world, day)["royalty_shares"])
        assert known.differences(world.mart("royalty_statement_lines")) == []
        assert issued(world) == sorted(known.issued)
        upset(world, made, first, day)
    assert len(known.issued) == 3
    assert any(row["is_adjustment"] for row in world.mart("royalty_statement_lines"))
    world.night(day)
    assert differences(world, day) == []
