"""Publishing: all of it or nothing, only what differs, for whoever may read it, and whatever kills it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from nocturne.errors import BuildFailed, DatabaseUnavailable
from nocturne.installation.database import EmbeddedDatabase
from nocturne.marts.building import CI_ONLY, run_dbt
from nocturne.postgres import connect, fetch, statement
from nocturne.settings import Settings
from nocturne.tenants import Tenant
from tests.integration.marts.reference import differences
from tests.integration.marts.world import World, local, make_tenant
from tests.killing import Killer, environment

DAY = date(2026, 1, 9)
SMALL = ("plays", "tracks", "listeners", "subscription_events", "plans")


def fill(world: World) -> None:
    """Some days of plays of three listeners, one of whom pays."""
    world.add("tracks", *({"track_id": f"t{n}", "title": f"T{n}", "artist_id": "a", "duration_ms": 60_000} for n in range(3)))
    for number, day in enumerate(date(2026, 1, 1) + timedelta(n) for n in range(9)):
        for n in range(6):
            world.add("plays", attempt(f"p{number}-{n}", f"l{n % 3}", f"{day}T{8 + n:02}:00"))
    period = {"period_from_on": date(2026, 1, 2), "period_to_on": date(2026, 2, 2)}
    at = local("2026-01-02T10:00")
    event = {"event_id": "e", "occurred_at": at, "listener_key": "l0", "subscription_id": "s", "event_type": "started", "plan_id": "m"}
    price = {"plan_id": "m", "country": "FR", "valid_from_on": date(2020, 1, 1), "tier": "p", "billing_period": "month", "price_amount": 10}
    if world.tenant.has("subscription_events"):
        world.add("subscription_events", event | period)
        world.add("plans", price | {"currency": "EUR"})


def attempt(name: str, listener: str, when: str) -> dict[str, Any]:
    return {"play_id": name, "listener_key": listener, "track_id": "t1", "played_at": local(when), "ms_played": 45_000}


@pytest.fixture(scope="module")
def world(new_world: Callable[[Tenant], World]) -> World:
    made = new_world(make_tenant("publishing", SMALL))
    fill(made)
    made.night(DAY)
    return made


def size(world: World) -> int:
    """How many plays there are: the tests share the world, and some add a play to it."""
    return len(world.rows["plays"])


def reader(world: World) -> psycopg.Connection[Any]:
    settings, role = world.settings, world.tenant.reader_role
    return psycopg.connect(
        host=settings.postgres_address, port=settings.postgres_port, user=role, password=settings.password(role), dbname="nocturne"
    )


def test_a_late_row_changes_its_rows_and_no_others(world: World) -> None:
    world.add("plays", attempt("late", "l1", "2026-01-03T20:00"))
    world.load(DAY)
    world.build(DAY)
    changed = {entry.name: entry for entry in world.publish(DAY).entries}
    assert changed["plays"].counts == {"inserted": 1, "deleted": 0}
    assert changed["plays"].event_dates == (date(2026, 1, 3),)
    assert changed["sessions"].counts == {"inserted": 1, "deleted": 0}
    assert changed["listener_days"].counts == {"inserted": 1, "deleted": 1}
    assert changed["track_days"].counts == {"inserted": 1, "deleted": 1}
    assert changed["mrr_days"].counts == {"inserted": 0, "deleted": 0}
    assert differences(world, DAY) == []


def test_each_publish_is_told_to_readers(world: World) -> None:
    told = fetch(
        world.settings,
        f"SELECT mart, day, inserted FROM {world.tenant.marts_schema}._publishes WHERE publish_id = 1",
        role=world.tenant.reader_role,
    )
    assert {row["mart"] for row in told} >= {"plays", "sessions", "activity_days", "mrr_days", "reconciliation"}
    assert {row["mart"]: (row["day"], row["inserted"]) for row in told}["plays"] == (DAY, 54)


def test_readers_see_published_marts_and_nothing_else(world: World) -> None:
    with reader(world) as connection:
        assert connection.execute(statement(f"SELECT count(*) FROM {world.tenant.marts_schema}.plays")).fetchone() == (size(world),)
        for table in (f"{world.tenant.build_schema}.plays", f"{world.tenant.raw_schema}.plays"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement(f"SELECT count(*) FROM {table}"))
            connection.rollback()
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute(statement(f"DELETE FROM {world.tenant.marts_schema}.plays"))


def test_every_column_says_what_it_means_where_people_look(world: World) -> None:
    query = (
        "SELECT c.relname || '.' || a.attname AS name, col_description(c.oid, a.attnum) AS told FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r' AND c.relname <> '_publishes'"
    )
    told = {row["name"]: row["told"] for row in fetch(world.settings, query, (world.tenant.marts_schema,), role=world.tenant.reader_role)}
    assert [name for name, text in told.items() if not text] == []
    assert told["activity_days.listeners_28d"].startswith("Monthly listeners (MAU): distinct listeners with at least one stream")


def test_an_open_reader_never_sees_a_mixture(world: World) -> None:
    query = " UNION ALL ".join(
        f"SELECT sum({column})::bigint FROM {world.tenant.marts_schema}.{mart}"
        for mart, column in (
            ("activity_days", "play_count"),
            ("listener_days", "play_count"),
            ("track_days", "play_count"),
            ("sessions", "play_count"),
        )
    )
    with reader(world) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        before = size(world)
        assert set(connection.execute(statement(query)).fetchall()) == {(before,)}
        world.add("plays", attempt("later", "l1", "2026-01-04T20:00"))
        world.night(DAY)
        assert set(connection.execute(statement(query)).fetchall()) == {(before,)}
        connection.rollback()
        assert set(connection.execute(statement(query)).fetchall()) == {(before + 1,)}


def test_a_build_that_fails_names_the_model_and_leaves_the_published_marts(world: World) -> None:
    before = world.contents()
    world.add("plays", attempt("p0-0", "l2", "2026-01-05T20:00"))  # the same key twice: silver never lets this happen
    world.load(DAY)
    with pytest.raises(BuildFailed) as raised:
        world.build(DAY)
    message = str(raised.value)
    assert "model plays (models/marts/engagement/plays.sql)" in message
    assert "duplicate key" in message
    assert "target/compiled/nocturne/models/marts/engagement/plays.sql" in message
    assert "p0-0" not in message
    with pytest.raises(BuildFailed, match="no complete build"):
        world.publish(DAY)
    assert world.contents() == before
    world.rows["plays"].pop()
    world.night(DAY)
    assert world.contents() == before


def test_a_database_that_goes_away_while_dbt_builds_is_tried_again(world: World, database: Settings) -> None:
    server = EmbeddedDatabase(database, {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})
    world.add("plays", attempt("in a power cut", "l1", "2026-01-05T20:00"))
    world.load(DAY)
    role = world.tenant.owner_role
    holder = psycopg.connect(
        host=database.postgres_address, port=database.postgres_port, user=role, password=database.password(role), dbname="nocturne"
    )
    # dbt waits for this lock when the server is stopped as by a power cut
    holder.execute(statement(f"LOCK TABLE {world.tenant.raw_schema}.rules"))
    try:
        with subprocess.Popen([sys.executable, "-c", _STOP], env=environment(database)), pytest.raises(DatabaseUnavailable):
            world.build(DAY)
    finally:
        server.start()
        holder.close()
    with pytest.raises(BuildFailed, match="no complete build"):
        world.publish(DAY)
    world.build(DAY)
    world.publish(DAY)
    assert differences(world, DAY) == []


_STOP = """
import time
from nocturne.installation.database import EmbeddedDatabase
from nocturne.postgres import connect
from nocturne.settings import load_settings
settings = load_settings()
waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
for _ in range(600):
    with connect(settings) as connection:
        if connection.execute(waiting).fetchone()[0]:
            break
    time.sleep(0.1)
EmbeddedDatabase(settings).stop(mode="immediate")
"""


def test_a_publish_that_is_killed_anywhere_has_done_all_or_nothing(world: World) -> None:
    world.add("plays", attempt("under fire", "l1", "2026-01-06T20:00"))
    world.load(DAY)
    world.build(DAY)
    before, after = world.contents(), world.contents(world.tenant.build_schema)
    assert before != after
    with Killer(world.settings, world.tenant, DAY, "nocturne.marts:publish_marts", marks="nocturne.ledger:MemoryMarks") as killer:
        for _ in killer:
            found = world.contents()
            assert found in (before, after)
            if found == after:
                break
    assert killer.count > 40
    assert world.contents() == after
    assert world.publish(DAY).entries[0].skipped
    assert differences(world, DAY) == []


def test_what_a_tenant_does_not_deliver_does_not_exist_for_it(new_world: Callable[[Tenant], World]) -> None:
    few, more = make_tenant("dwindling", ("plays",)), make_tenant("dwindling", ("plays", "tracks"))
    world = new_world(few)
    fill(world)
    world.night(DAY)
    there = set(world.contents())
    assert there >= {"plays", "sessions", "activity_days", "retention_weeks", "track_facts"}
    assert not there & {
        "artist_days",
        "listener_facts",
        "mrr_days",
        "subscription_periods",
        "revenue_days",
        "holder_days",
        "statement_months",
    }
    assert {row["completion_ratio"] for row in world.mart("activity_days")} == {None}
    assert differences(world, DAY) == []

    world.night(DAY, more)
    assert set(world.contents()) >= {"artist_days", "unit_months"}
    assert differences(world, DAY) == []

    world.load(DAY, few)
    world.build(DAY)
    dropped = [entry.name for entry in world.publish(DAY).entries if entry.facts.get("dropped")]
    assert dropped == [
        "artist_days", "artist_facts", "artist_pairs", "artist_territory_days", "artist_watchlist",
        "catalogue_days", "release_days", "unit_months",
    ]  # fmt: skip


def test_a_key_without_a_value_is_not_published(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("lacking", ("plays",)))
    world.add("plays", attempt("first", "l0", "2026-01-03T20:00"))
    world.night(DAY)
    with connect(world.settings, role=world.tenant.owner_role) as connection:
        built = world.tenant.build_schema
        connection.execute(statement(f"INSERT INTO {built}._moved VALUES ('plays', '{{\"play_id\": null}}')"))
    world.add("plays", attempt("another", "l0", "2026-01-04T20:00"))
    world.load(DAY)
    with pytest.raises(BuildFailed, match=r"Rows of plays have a key without a value"):
        world.build(DAY)
    with pytest.raises(BuildFailed, match="no complete build"):
        world.publish(DAY)
    assert [row["play_id"] for row in world.mart("plays")] == ["first"]


def test_the_marts_agree_with_each_other(world: World) -> None:
    results = run_dbt(world.tenant, world.settings, "test", "--select", *CI_ONLY)
    assert len(results) >= 4


def test_the_build_connects_as_the_tenants_owner(world: World) -> None:
    with connect(world.settings) as connection:
        rows = connection.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN (%s, %s)", (world.tenant.build_schema, world.tenant.marts_schema)
        ).fetchall()
    assert rows == [(world.tenant.owner_role,)]
