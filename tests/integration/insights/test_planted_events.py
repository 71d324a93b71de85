"""What was planted in a simulated world is found on its day: a hit, an outage of some hours, a farm of bots; quiet days stay quiet."""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
import pytest

from nocturne.insights import find_insights
from nocturne.ledger import MemoryMarks
from nocturne.postgres import connect, fetch, load_arrow, provision, statement
from nocturne.settings import Settings
from nocturne.simulator import World, small_world
from nocturne.tenants import Tenant

HIT, OUTAGE, BOTS = date(2026, 4, 10), date(2026, 4, 21), date(2026, 5, 4)
TENANT = Tenant.model_validate(
    {
        "slug": "planted",
        "name": "Planted",
        "time_zone": "Europe/Paris",
        "currency": "EUR",
        "begins_on": "2026-03-01",
        "sources": [{"name": "app", "dataset": "plays", "kind": "files", "location": "{day}.ndjson"}],
    }
)
MARTS = """
CREATE TABLE {marts}.plays AS SELECT play_id, listener_id AS listener_key, track_id, artist_id, genre, played_at, played_on,
    played_on AS received_on, country, ms_played >= 30000 AS is_stream, ms_played < 0.9 * duration_ms AS is_short
    FROM {raw}.heard JOIN {raw}.known USING (track_id);
CREATE TABLE {marts}.track_facts AS SELECT * FROM {raw}.known;
CREATE TABLE {marts}.track_days AS SELECT track_id, played_on, country, count(*) FILTER (WHERE is_stream) AS stream_count
    FROM {marts}.plays GROUP BY 1, 2, 3;
CREATE TABLE {marts}.artist_days AS SELECT artist_id, played_on, count(*) FILTER (WHERE is_stream) AS stream_count
    FROM {marts}.plays GROUP BY 1, 2;
CREATE TABLE {marts}.genre_days AS SELECT genre, played_on, count(*) FILTER (WHERE is_stream) AS stream_count
    FROM {marts}.plays GROUP BY 1, 2;
CREATE TABLE {marts}.activity_days AS SELECT played_on, count(*) AS play_count, count(*) FILTER (WHERE is_stream) AS stream_count,
    count(DISTINCT listener_key) FILTER (WHERE is_stream) AS listeners_1d, 0 AS new_listener_count, avg(is_short::int) AS skip_ratio,
    1 - avg(is_short::int) AS completion_ratio FROM {marts}.plays GROUP BY 1;
"""


@pytest.fixture(scope="module")
def world() -> World:
    events = {
        "hits": [{"happens_on": HIT, "peak_share": 0.1}],
        "outages": [{"happens_on": OUTAGE, "from_hour": 18, "to_hour": 21}],
        "bot_farms": [{"from_on": BOTS, "to_on": BOTS + timedelta(days=2), "accounts": 6, "plays_a_day": 200}],
    }
    return small_world(seed=11, days=70, listeners=1_200, tracks=600, artists=120, events=events, has_subscriptions=False)


@pytest.fixture(scope="module")
def marts(database: Settings, world: World) -> Settings:
    """An installation in which the tenant's marts were made of the world's true plays."""
    provision(TENANT, database)
    raw = TENANT.raw_schema
    with load_arrow(database, role=TENANT.owner_role) as loader:
        loader.execute(
            f"CREATE TABLE {raw}.heard (play_id text, played_at timestamptz, listener_id text, track_id text, ms_played bigint, country text,"
            " played_on date)"
        )
        loader.execute(
            f"CREATE TABLE {raw}.known (track_id text, title text, artist_id text, artist_name text, genre text, duration_ms bigint)"
        )
        loader.append(raw, "heard", pa.concat_tables(plays(world, day) for day in world.days))
        loader.append(raw, "known", tracks(world))
    with connect(database, role=TENANT.owner_role) as connection:
        connection.execute(statement(MARTS.format(marts=TENANT.marts_schema, raw=raw)))
    return database


def plays(world: World, day: date) -> pa.Table:
    rows = world.events("plays", day).select(["play_id", "played_at", "listener_id", "track_id", "ms_played", "country"])
    return rows.append_column("played_on", pa.array([day] * len(rows), pa.date32()))


def tracks(world: World) -> pa.Table:
    known = world.reference("tracks", world.days[-1]).select(["track_id", "title", "artist_id", "genre", "duration_ms"])
    artists = world.reference("artists", world.days[-1]).select(["artist_id", "artist_name"])
    return known.join(artists, "artist_id").select(["track_id", "title", "artist_id", "artist_name", "genre", "duration_ms"])


def told(settings: Settings, day: date) -> list[dict[str, object]]:
    find_insights(TENANT, day, settings, MemoryMarks())
    query = f"SELECT * FROM {TENANT.ml_schema}.insights WHERE found_on = %s ORDER BY rank"
    return fetch(settings, query, (day,), role=TENANT.owner_role)


def test_the_hit_is_named_within_two_days(marts: Settings) -> None:
    """It rises over about ten days: on the first it may still be smaller than what is worth a sentence."""
    named = [row["member"] for day in (HIT, HIT + timedelta(days=1), HIT + timedelta(days=2)) for row in told(marts, day)]
    query = (
        f"SELECT track_id FROM {TENANT.marts_schema}.track_days WHERE played_on BETWEEN %s AND %s"
        " GROUP BY 1 ORDER BY sum(stream_count) DESC LIMIT 1"
    )
    hit = fetch(marts, query, (HIT + timedelta(days=7), HIT + timedelta(days=14)), role=TENANT.owner_role)[0]["track_id"]
    assert hit in named


def test_the_outage_is_found_by_its_hours(marts: Settings) -> None:
    texts = [str(row["text"]) for row in told(marts, OUTAGE)]
    assert any(text.startswith("Nothing was played from 18:00 to 21:00 on Tuesday 2026-04-21") for text in texts), texts


def test_the_farm_is_found_by_its_artist(marts: Settings) -> None:
    rows = told(marts, BOTS)
    assert any(row["dimension"] == "artist" and float(str(row["value"])) > 1_000 for row in rows if row["scope"] == "member") or any(
        row["dimension"] == "artist" and float(str(row["contribution_ratio"])) > 0.7 for row in rows if row["scope"] == "total"
    ), [row["text"] for row in rows]


def test_days_before_anything_was_planted_are_quiet(marts: Settings) -> None:
    """Releases are real changes and are told; nothing is said of totals on a day without an event."""
    quiet = [date(2026, 3, 24) + timedelta(days=number) for number in range(14)]
    totals = [row["text"] for day in quiet for row in told(marts, day) if row["scope"] == "total"]
    assert len(totals) <= 1, totals
