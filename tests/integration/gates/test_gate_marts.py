"""The gate before publishing, on a whole night's work: a sound build passes, and one lost row anywhere on the way stops it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date, timedelta
from typing import Any

import pytest

from nocturne.bronze import load_bronze
from nocturne.errors import GateFailed
from nocturne.gates import gate_bronze, gate_marts
from nocturne.landing import land
from nocturne.ledger import Mark, MemoryMarks
from nocturne.marts import build_marts, publish_marts
from nocturne.postgres import connect, provision, statement
from nocturne.quality import table_days
from nocturne.receipts import Receipt
from nocturne.settings import Settings
from nocturne.silver import refine_silver
from nocturne.simulator import small_world, write_sources
from nocturne.tenants import Tenant
from nocturne.warehouse import load_warehouse

DATASETS = {
    "plays": "ndjson", "tracks": "csv", "artists": "csv", "releases": "csv", "subscription_events": "csv", "payments": "csv",
    "listeners": "csv", "interactions": "csv", "playlists": "csv", "playlist_tracks": "csv",
}  # fmt: skip
WORLD = small_world(seed=5, days=10, listeners=120, countries=[{"code": "FR", "share": 1.0, "currency": "EUR"}])
NIGHT = WORLD.days[-1]
TENANT = Tenant.model_validate(
    {
        "slug": "gated_marts",
        "name": "Gated",
        "time_zone": WORLD.parameters.time_zone,
        "currency": WORLD.parameters.currency,
        "begins_on": WORLD.days[0].isoformat(),
        "sources": [
            {"name": name, "dataset": name, "kind": "files", "format": form, "location": f"gated_marts/{name}/{{day}}.{form}"}
            for name, form in DATASETS.items()
        ]
        + [{"name": "plans", "dataset": "plans", "kind": "files", "format": "csv", "location": "gated_marts/plans.csv"}],
    }
)
MARKS = MemoryMarks()
EVERY_NIGHT = (
    "activity_days", "track_days", "mrr_days", "revenue_days", "reconciliation_days", "artist_days", "artist_territory_days",
    "artist_facts", "artist_audience", "playlist_days", "playlist_effects", "catalogue_days", "release_days", "platform_days",
    "territory_days", "distribution_days", "genre_weeks", "virality_days", "save_days",
)  # fmt: skip
"""Marts that have rows to ask after any night; a watchlist needs two months before it."""
Damage = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def built(database: Settings) -> Settings:
    """An installation whose tenant has been built up to the gate."""
    provision(TENANT, database)
    write_sources(TENANT, WORLD, database.sources_root)
    for station in (land, load_bronze, gate_bronze, refine_silver, load_warehouse, build_marts):
        station(TENANT, NIGHT, database, MARKS)  # type: ignore[operator]
    return database


def gate(settings: Settings, marks: MemoryMarks = MARKS) -> Receipt:
    return gate_marts(TENANT, NIGHT, settings, marks)


def run(settings: Settings, query: str, *parameters: Any) -> list[Any]:
    with connect(settings, role=TENANT.owner_role) as connection:
        cursor = connection.execute(statement(query.format(raw=TENANT.raw_schema, build=TENANT.build_schema)), parameters or None)
        return cursor.fetchall() if cursor.description else []


def test_a_sound_build_passes_and_every_sum_is_told(built: Settings) -> None:
    receipt = gate(built)
    assert receipt.warnings == ()
    plays = receipt.entry("reconciliation plays")
    assert plays is not None
    assert plays.counts["delivered"] > 1_000
    assert plays.counts["valid"] == plays.counts["silver"] + plays.counts["duplicates"]
    assert plays.counts["silver"] == plays.counts["warehouse"]
    asked = {entry.name: entry.counts.get("rows", 0) for entry in receipt.entries}
    assert all(asked[mart] for mart in EVERY_NIGHT)
    assert "holder_days" not in asked  # the tenant has no rights
    kept = {(one.layer, one.table): one for one in table_days(MARKS.judgements(TENANT, NIGHT, NIGHT))}
    assert kept["sums", "plays"].counts["delivered"] == plays.counts["delivered"]
    sums = kept["sums", "plays"].counts
    assert sums["silver"] == sums["mart"] + sums["joined"] + sums["zero_length"] > sums["mart"] > 0
    assert {one.score for (layer, _), one in kept.items() if layer == "sums" and one.table != "plans"} == {1}
    assert kept["access", "schemas"].score == 1
    assert kept["marts", "activity_days"].counts["rows"] == asked["activity_days"]
    assert {one.outcome for one in kept["marts", "activity_days"].results} == {"passed", "unknown"}  # it has no completion


DAMAGES = {
    # what is damaged, how it is mended again, what the gate says
    "a play that the mart lost": (
        "UPDATE {build}.plays SET played_on = played_on - 400 WHERE play_id = (SELECT min(play_id) FROM {build}.plays)",
        "UPDATE {build}.plays SET played_on = played_on + 400 WHERE played_on < '2026-01-01'",
        r"plays, 2026-\d\d-\d\d: silver holds .*: 1 missing",
    ),
    "a row that the warehouse lost": (
        "UPDATE {raw}.payments SET paid_on = paid_on - 400 WHERE payment_id = (SELECT min(payment_id) FROM {raw}.payments)",
        "UPDATE {raw}.payments SET paid_on = paid_on + 400 WHERE paid_on < '2026-01-01'",
        r"payments, 2026-\d\d-\d\d: silver holds .*: 1 missing",
    ),
    "a payment that is a cent off in the warehouse": (
        "UPDATE {raw}.payments SET amount = amount + 0.01 WHERE payment_id = (SELECT min(payment_id) FROM {raw}.payments)",
        "UPDATE {raw}.payments SET amount = amount - 0.01 WHERE payment_id = (SELECT min(payment_id) FROM {raw}.payments)",
        r"payments, 2026-\d\d-\d\d: amount is \d+\.\d+ in silver and \d+\.\d+ in the warehouse: 0\.010* too much",
    ),
    "revenue that is a cent off in the mart": (
        "UPDATE {build}.revenue_days SET gross_amount = gross_amount - 0.01, net_amount = net_amount - 0.01"
        " WHERE stream_of_revenue = 'subscription' AND revenue_on = (SELECT max(paid_on) FROM {raw}.payments)",
        "UPDATE {build}.revenue_days SET gross_amount = gross_amount + 0.01, net_amount = net_amount + 0.01"
        " WHERE stream_of_revenue = 'subscription' AND revenue_on = (SELECT max(paid_on) FROM {raw}.payments)",
        r"revenue_days, 2026-\d\d-\d\d: gross_amount is \d+\.\d+ in the warehouse and \d+\.\d+ in the mart: 0\.0\d+ missing",
    ),
    "an MRR bridge that does not close": (
        "UPDATE {build}.mrr_days SET new_amount = new_amount + 0.000001 WHERE day_on = (SELECT max(day_on) FROM {build}.mrr_days)",
        "UPDATE {build}.mrr_days SET new_amount = new_amount - 0.000001 WHERE day_on = (SELECT max(day_on) FROM {build}.mrr_days)",
        r"mrr_days, expect_column_values_to_be_between\(bridge_difference; .*\) \[expectations/marts/subscriptions.yml:\d+\]: 1 of",
    ),
    "more listeners in a day than in its month": (
        "UPDATE {build}.activity_days SET listeners_28d = listeners_28d - 1000",
        "UPDATE {build}.activity_days SET listeners_28d = listeners_28d + 1000",
        r"activity_days, .*listeners_28d, listeners_7d.*the first on 2026-",
    ),
    "a mart that was not built": (
        "ALTER TABLE {build}.track_facts RENAME TO track_fact",
        "ALTER TABLE {build}.track_fact RENAME TO track_facts",
        "track_facts: the build does not hold it, though the tenant has plays",
    ),
    "a column that was renamed": (
        "ALTER TABLE {build}.genre_days RENAME stream_count TO streams",
        "ALTER TABLE {build}.genre_days RENAME streams TO stream_count",
        "genre_days: it has no columns stream_count, which expectations/marts/content.yml names",
    ),
    "a build that did not finish": (
        "UPDATE {build}._builds SET finished_at = NULL",
        "UPDATE {build}._builds SET finished_at = now()",
        "the last build has not finished",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_build_is_not_published(built: Settings, damage: str) -> None:
    damaging, mending, says = DAMAGES[damage]
    run(built, damaging)
    try:
        with pytest.raises(GateFailed, match=says) as failure:
            gate(built)
    finally:
        run(built, mending)
    assert str(failure.value).startswith(f"[tenant gated_marts, day {NIGHT}] The marts are not published, because ")
    if damage != "a build that did not finish":
        failed = [one for day in table_days(MARKS.judgements(TENANT, NIGHT, NIGHT)) for one in day.failed]
        assert failed
        gate(built)
        assert not any(day.failed for day in table_days(MARKS.judgements(TENANT, NIGHT, NIGHT)))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ("stream_count = greatest(1, stream_count / 4), listeners_1d = 1, new_listener_count = 0", "streams_a_play; min_value=0.3"),
        ("skip_ratio = 0.8", "skips_a_play; max_value=0.7"),
        ("listeners_1d = 2, new_listener_count = 0", "plays_a_listener; min_value=1, max_value=100"),
    ],
)
def test_a_ratio_outside_its_band_is_warned_of(built: Settings, changed: str, says: str) -> None:
    run(built, "CREATE TABLE {build}.kept AS TABLE {build}.activity_days")
    run(
        built,
        f"UPDATE {{build}}.activity_days SET {changed} WHERE played_on = (SELECT max(played_on) FROM {{build}}.activity_days WHERE play_count > 100)",
    )
    try:
        assert any(says in warning for warning in gate(built).warnings)
    finally:
        run(built, "TRUNCATE {build}.activity_days")
        run(built, "INSERT INTO {build}.activity_days TABLE {build}.kept")
        run(built, "DROP TABLE {build}.kept")


LEAKS = {
    # what somebody did by hand, how it is undone, what the gate says
    "a mart that everybody reads": (
        "GRANT SELECT ON {build}.plays TO PUBLIC",
        "REVOKE SELECT ON {build}.plays FROM PUBLIC",
        r"isolation: everybody has SELECT on gated_marts_build.plays",
    ),
    "another tenant's reader in the schema": (
        "GRANT USAGE ON SCHEMA {raw} TO gated_other_reader",
        "REVOKE USAGE ON SCHEMA {raw} FROM gated_other_reader",
        r"isolation: gated_other_reader has USAGE on the schema gated_marts_raw",
    ),
    "its own reader where listeners are": (
        "GRANT SELECT ON {raw}.plays TO gated_marts_reader",
        "REVOKE SELECT ON {raw}.plays FROM gated_marts_reader",
        r"isolation: gated_marts_reader has SELECT on gated_marts_raw.plays",
    ),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_whoever_else_may_read_stops_the_night(built: Settings, leak: str) -> None:
    provision(TENANT.model_copy(update={"slug": "gated_other"}), built)
    leaking, mending, says = LEAKS[leak]
    run(built, leaking)
    try:
        with pytest.raises(GateFailed, match=says):
            gate(built)
    finally:
        run(built, mending)
    gate(built)


def test_a_role_that_may_become_another_stops_the_night(built: Settings) -> None:
    provision(TENANT.model_copy(update={"slug": "gated_other"}), built)
    with connect(built) as connection:
        connection.execute("GRANT gated_marts_owner TO gated_other_reader")
    try:
        with pytest.raises(GateFailed, match="isolation: gated_other_reader is a member of gated_marts_owner"):
            gate(built)
    finally:
        with connect(built) as connection:
            connection.execute("REVOKE gated_marts_owner FROM gated_other_reader")


def test_a_batch_that_lost_a_row_on_the_way_is_stopped(built: Settings) -> None:
    marks = MemoryMarks()
    for station in ("bronze", "gate_bronze", "silver", "quarantine"):
        for dataset in TENANT.datasets:
            marks.mark(TENANT, station, dataset.name, MARKS.marks(TENANT, station, dataset.name))
    batch, mark = next(iter(marks.marks(TENANT, "quarantine", "plays").items()))
    marks.mark(TENANT, "quarantine", "plays", {batch: Mark(mark.fingerprint, {**mark.facts, "valid": mark.facts["valid"] - 1})})
    with pytest.raises(GateFailed) as failure:
        gate(built, marks)
    assert f"- plays, batch {batch}: " in str(failure.value)
    assert "1 missing" in str(failure.value)


def test_nothing_new_is_asked_nothing(built: Settings) -> None:
    run(built, "UPDATE {build}._builds SET published_at = now()")
    try:
        assert [(entry.name, entry.skipped) for entry in gate(built).entries] == [("marts", True)]
    finally:
        run(built, "UPDATE {build}._builds SET published_at = NULL")


def test_a_tenant_that_was_never_built_is_asked_nothing(database: Settings, provisioned: Callable[[Tenant], Tenant]) -> None:
    fresh = provisioned(TENANT.model_copy(update={"slug": "gated_never"}))
    assert gate_marts(fresh, date(2026, 3, 1), database, MemoryMarks()).entries[0].skipped


def test_what_the_last_night_found_is_asked_where_it_is_told_and_nowhere_else(built: Settings) -> None:
    gate(built)
    publish_marts(TENANT, NIGHT, built, MARKS)
    following = NIGHT + timedelta(1)
    load_warehouse(TENANT, following, built, MARKS)
    build_marts(TENANT, following, built, MARKS)
    others = [on for (on,) in run(built, "SELECT changed_on FROM {build}._changed WHERE model <> 'quality_days'")]
    assert NIGHT not in others
    asked = {entry.name: entry.counts.get("rows", 0) for entry in gate_marts(TENANT, following, built, MARKS).entries}
    [(told,)] = run(built, "SELECT count(*) FROM {build}.quality_days WHERE judged_on = %s", NIGHT)
    assert asked["quality_days"] == told > len(EVERY_NIGHT)
    [(days,)] = run(built, "SELECT count(*) FROM {build}.activity_days WHERE played_on = ANY(%s)", [following, *others])
    assert asked["activity_days"] == days
