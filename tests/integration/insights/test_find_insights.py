"""Insights on published marts in PostgreSQL: planted events are found and explained, quiet days are quiet, a re-run changes nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from nocturne.errors import BuildFailed
from nocturne.insights import find_insights
from nocturne.ledger import MemoryMarks
from nocturne.postgres import connect, fetch
from nocturne.settings import Settings
from nocturne.tenants import Tenant

FIRST = date(2026, 1, 1)
QUIET = date(2026, 3, 3)
OUTAGE = date(2026, 3, 4)  # half of the streams from FR are lost
HIT = date(2026, 3, 6)  # track t7 of artist a3 is played twelve times as often, for four days
LAST = date(2026, 3, 31)
COUNTRIES = {"FR": 0.5, "DE": 0.3, "IT": 0.2}
TRACKS = 40


def make(slug: str) -> Tenant:
    source = {"name": "app", "dataset": "plays", "kind": "files", "location": "{day}.ndjson"}
    return Tenant.model_validate(
        {"slug": slug, "name": "T", "time_zone": "Europe/Paris", "currency": "EUR", "begins_on": FIRST.isoformat(), "sources": [source]}
    )


def streams() -> Iterator[tuple[date, str, str, int]]:
    """(day, track, country, streams): weekly pattern, growth, chance, an outage and a hit."""
    chance = random.Random(7)
    for number in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=number)
        level = 6_000 * (1.3 if day.weekday() >= 5 else 1.0) * 1.001**number * chance.gauss(1, 0.02)
        for track in range(TRACKS):
            for country, share in COUNTRIES.items():
                mean = level * share * 2 * (TRACKS - track) / (TRACKS * (TRACKS + 1))
                mean *= 0.1 if day == OUTAGE and country == "FR" else 1
                mean *= 12 if track == 7 and HIT <= day < HIT + timedelta(days=4) else 1
                yield day, f"t{track}", country, max(0, round(chance.gauss(mean, (3 * mean) ** 0.5)))


@pytest.fixture(scope="module")
def tenant(database: Settings) -> Tenant:
    """A tenant whose marts hold three months."""
    from nocturne.postgres import provision

    one = make("insightful")
    provision(one, database)
    schema = one.marts_schema
    with connect(database, role=one.owner_role) as connection:
        connection.execute(f"CREATE TABLE {schema}.track_days (track_id text, played_on date, country text, stream_count bigint)")
        with connection.cursor().copy(f"COPY {schema}.track_days (played_on, track_id, country, stream_count) FROM STDIN") as copy:
            for row in streams():
                copy.write_row(row)
        connection.execute(
            f"""
            CREATE TABLE {schema}.track_facts AS SELECT 't' || n AS track_id, 'Song ' || n AS title, 'a' || n / 2 AS artist_id,
                'Artist ' || n / 2 AS artist_name, (ARRAY['pop', 'rock', 'jazz'])[1 + n % 3] AS genre
                FROM generate_series(0, {TRACKS - 1}) AS n;
            CREATE TABLE {schema}.artist_days AS SELECT artist_id, played_on, sum(stream_count)::bigint AS stream_count
                FROM {schema}.track_days JOIN {schema}.track_facts USING (track_id) GROUP BY 1, 2;
            CREATE TABLE {schema}.genre_days AS SELECT genre, played_on, sum(stream_count)::bigint AS stream_count
                FROM {schema}.track_days JOIN {schema}.track_facts USING (track_id) GROUP BY 1, 2;
            CREATE TABLE {schema}.activity_days AS SELECT played_on, sum(stream_count)::bigint AS stream_count,
                round(sum(stream_count) * 1.25)::bigint AS play_count, round(sum(stream_count) / 8)::bigint AS listeners_1d,
                12 AS new_listener_count, 0.25 AS skip_ratio, 0.6 AS completion_ratio FROM {schema}.track_days GROUP BY 1;
            """
        )
    return one


@pytest.fixture
def told(database: Settings, tenant: Tenant) -> Callable[[date], list[dict[str, Any]]]:
    """The insights of a day as they stand in the table."""

    def tell(day: date) -> list[dict[str, Any]]:
        find_insights(tenant, day, database, MemoryMarks())
        query = f"SELECT * FROM {tenant.ml_schema}.insights WHERE found_on = %s ORDER BY rank"
        return fetch(database, query, (day,), role=tenant.owner_role)

    return tell


def test_a_quiet_day_is_quiet(told: Callable[[date], list[dict[str, Any]]]) -> None:
    assert told(QUIET) == []


def test_an_outage_is_found_and_its_country_named(told: Callable[[date], list[dict[str, Any]]]) -> None:
    streams = next(row for row in told(OUTAGE) if row["metric"] == "stream_count")
    assert (streams["scope"], streams["dimension"], streams["member"], streams["severity"]) == ("total", "country", "FR", "high")
    assert -0.5 < streams["change_ratio"] < -0.4
    assert 0.9 < streams["contribution_ratio"] < 1.1
    assert "; country FR explains " in streams["text"]
    assert streams["rank"] == 1


def test_a_hit_is_found_as_its_track_and_once(told: Callable[[date], list[dict[str, Any]]]) -> None:
    rows = [row for row in told(HIT) if row["metric"] == "stream_count"]
    assert [(row["dimension"], row["member"]) for row in rows] == [("track", "t7")]
    assert "“Song 7” by Artist 3" in rows[0]["text"]


def test_a_hit_that_lasts_says_so(told: Callable[[date], list[dict[str, Any]]]) -> None:
    (row, *_) = [row for row in told(HIT + timedelta(days=2)) if row["scope"] != "week"]
    assert "for the third day in a row" in row["text"]


def test_quiet_weeks_bring_few_false_findings(told: Callable[[date], list[dict[str, Any]]]) -> None:
    quiet = [date(2026, 2, 1) + timedelta(days=number) for number in range(28)]
    assert sum(len(told(day)) for day in quiet) <= 2


def test_a_rerun_leaves_the_same_rows(told: Callable[[date], list[dict[str, Any]]]) -> None:
    assert told(OUTAGE) == told(OUTAGE)


def test_another_day_stays(told: Callable[[date], list[dict[str, Any]]], database: Settings, tenant: Tenant) -> None:
    told(OUTAGE)
    told(HIT)
    days = fetch(database, f"SELECT DISTINCT found_on FROM {tenant.ml_schema}.insights", role=tenant.owner_role)
    assert {row["found_on"] for row in days} >= {OUTAGE, HIT}


def test_analysts_may_read_them(told: Callable[[date], list[dict[str, Any]]], database: Settings, tenant: Tenant) -> None:
    told(OUTAGE)
    assert fetch(database, f"SELECT count(*) AS n FROM {tenant.ml_schema}.insights", role=tenant.reader_role)[0]["n"] > 0


def test_the_first_weeks_say_nothing(told: Callable[[date], list[dict[str, Any]]]) -> None:
    assert told(FIRST + timedelta(days=10)) == []


def test_a_tenant_without_marts_has_no_insights(database: Settings, provisioned: Callable[[Tenant], Tenant]) -> None:
    receipt = find_insights(provisioned(make("insightless")), OUTAGE, database, MemoryMarks())
    assert receipt.count("insights") == 0


def test_a_mart_that_lost_a_column_is_an_error_and_no_silence(database: Settings, provisioned: Callable[[Tenant], Tenant]) -> None:
    one = provisioned(make("insight_broken"))
    with connect(database, role=one.owner_role) as connection:
        connection.execute(f"CREATE TABLE {one.marts_schema}.activity_days (played_on date, streams bigint)")
    with pytest.raises(BuildFailed, match=r"activity_days\.stream_count"):
        find_insights(one, OUTAGE, database, MemoryMarks())
