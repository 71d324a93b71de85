"""What was received, how late, how much of it was refused, and what a month used of the installation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pandas as pd
import pytest

from nocturne.gates.evaluation import Judge
from nocturne.gates.suites import load_mart_suites
from nocturne.ledger import Mark, MemoryMarks
from nocturne.quality import Judgement, Layer, Outcome, Result, Severity, table_days
from nocturne.settings import PROJECT
from nocturne.tenants import Tenant
from nocturne.warehouse.facts import load_facts
from tests.integration.marts.reference import differences
from tests.integration.marts.test_royalties import play
from tests.integration.marts.world import World, make_tenant

TODAY = date(2026, 2, 10)
MARTS = {path.stem for path in (PROJECT / "dbt" / "models" / "marts").rglob("*.sql")}
JANUARY, FEBRUARY, MARCH = (date(2026, month, 1) for month in (1, 2, 3))
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
    assert {(row["price_amount"], row["price_reason"][:7]) for row in months.values()} == {(None, "the ten")}


def test_a_month_costs_what_the_bill_of_its_time_says(world: World) -> None:
    bill = [{"from": FEBRUARY, "month": 9, "included_rows": 90, "million_rows": 1_000}, {"from": MARCH, "month": 12}]
    world.load(TODAY, make_tenant("royalties", bill=bill))
    load_facts(world.tenant, TODAY, world.settings, marks(world.tenant))
    world.build(TODAY)
    world.publish(TODAY)
    told = {row["month_on"]: (row["price_amount"], row["price_reason"]) for row in world.mart("usage_months")}
    # 97 rows were received in February, seven of them beyond: 0.7 cents
    assert told == {JANUARY: (None, "the tenant's file has no bill for the month"), FEBRUARY: (Decimal("9.01"), None)}


def test_the_share_in_quarantine_is_of_the_rows_that_were_judged(world: World) -> None:
    load_facts(world.tenant, TODAY, world.settings, marks(world.tenant))
    world.build(TODAY)
    world.publish(TODAY)
    shares = {row["received_on"].day: row["quarantined_ratio"] for row in world.mart("reconciliation") if row["dataset"] == "plays"}
    assert shares == {31: pytest.approx(1 / 3), 1: 0, 2: None, 3: None}


def fill_apart(world: World) -> None:
    """A year of 10 a month whose payments stop in May, and 80 stated streams for 4 heard, of which May has 8,000; a dear month is billed."""
    received = {"received_on": "2026-03-05", "rows": 12_345_677, "left_out": 0}
    world.marks.mark(world.tenant, "bronze", "plays", {"plays/2026-03-05": Mark("x", received)})
    price = {"plan_id": "one", "country": "WW", "valid_from_on": date(2020, 1, 1), "price_amount": 10, "currency": "EUR"}
    world.add("plans", price | {"tier": "premium", "billing_period": "month"})
    for month in range(1, 7):
        first, name = date(2026, month, 1), f"{month}"
        at = datetime(2026, month, 1, 12, tzinfo=UTC)
        event = {"event_id": name, "occurred_at": at, "listener_key": "payer", "subscription_id": "sub", "plan_id": "one"}
        period = {"period_from_on": first, "period_to_on": date(2026, month + 1, 1)}
        world.add("subscription_events", event | period | {"event_type": "renewed" if month > 1 else "started"})
        if month != 5:
            paid = {"payment_id": name, "paid_at": at, "listener_key": "payer", "amount": 10, "currency": "EUR", "status": "succeeded"}
            world.add("payments", paid)
        world.add("plays", *(play(f"{month} {n}", str(first), "song", "payer", ms_played=40_000) for n in range(4)))
        line = {"line_id": name, "service": "shop", "track_id": "song", "currency": "EUR", "net_amount": 1}
        ends = {"period_ends_on": date(2026, month + 1, 1) - timedelta(1), "stream_count": 8_000 if month == 5 else 80}
        world.add("statements", line | ends)


def test_two_deliveries_that_come_apart_are_told_by_their_ratio_to_the_usual(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("apart", ("plays", "statements", "payments", "subscription_events", "plans")))
    fill_apart(world)
    world.night(date(2026, 5, 31))
    assert differences(world, date(2026, 5, 31)) == []
    found = {(row["part"], row["month_on"].month): row for row in world.mart("agreement_months")}
    assert sorted(found) == [(part, month) for part in ("all", "shop") for month in range(1, 6)]
    assert {month: found["all", month]["agreement_ratio"] for month in range(1, 6)} == {1: 1, 2: 1, 3: 1, 4: 1, 5: 0}
    assert {month: found["shop", month]["usual_ratio"] for month in range(1, 6)} == {1: None, 2: None, 3: None, 4: 20, 5: 20}
    assert [found[part, 5]["ratio_to_usual"] for part in ("all", "shop")] == [0, 100]
    assert found["all", 4]["ratio_to_usual"] == 1
    suite = next(one for one in load_mart_suites(world.settings.expectations, MARTS) if one.mart == "agreement_months")
    derived = world.mart("agreement_months", f"{suite.derive['newest_to_usual']} AS newest_to_usual")
    frame = pd.DataFrame({"told_value": 1.0, "newest_to_usual": [row["newest_to_usual"] for row in derived]})
    (right, apart) = Judge().ask(frame, suite.rows)
    assert (len(right.failing), len(apart.failing), apart.check.severity) == (0, 2, "warn")


def found(check: str, outcome: Outcome = "passed", severity: Severity = "stop") -> Result:
    return Result(check, "some.yml:1", severity, outcome, "Because.")


def judged(layer: Layer, table: str, day: date, *results: Result, part: str = "", **counts: int) -> Judgement:
    return Judgement(layer, table, day, part, results, counts)


def quality_of(world: World, *names: str) -> dict[tuple[str, str, int], tuple[object, ...]]:
    """(layer, table, day of the month) -> these columns."""
    rows = world.mart("quality_days")
    return {(row["layer"], row["table_name"], row["judged_on"].day): tuple(row[name] for name in names) for row in rows}


NIGHTS = ("check_count", "passed_count", "warned_count", "stopped_count", "muted_count", "unknown_count", "quality_score")


def test_a_table_has_the_score_of_its_day_as_the_quality_pages_put_it_together(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("quality"))
    first, second = date(2026, 2, 9), TODAY
    stop, warn = found("s"), found("w", severity="warn")
    world.marks.judge(
        world.tenant,
        [
            # one of two deliveries fails a check: 5 of 6
            judged("bronze", "plays", first, stop, warn, part="app/2026-02-09", rows=30),
            judged("bronze", "plays", first, stop, found("w", "failed", "warn"), part="web/2026-02-09", rows=10),
            judged("bronze", "plays", second, found("s", "failed"), warn, part="app/2026-02-10", rows=10),
            judged("bronze", "tracks", second, stop, part="app/2026-02-10", rows=0),
            judged("sums", "plays", first, stop, delivered=40, quarantined=9),
            judged("marts", "plays", first, stop, found("m", "muted"), found("u", "unknown", "warn"), rows=31),
            judged("marts", "tracks", first, found("u", "unknown"), rows=1),
        ],
    )
    world.marks.mark(world.tenant, "quarantine", "plays", {"app/2026-02-09": Mark("x", {"quarantined": 3})})
    world.marks.mark(world.tenant, "quarantine", "plays", {"web/2026-02-09": Mark("x", {"quarantined": 5})})
    world.night(second)
    assert differences(world, second) == []
    assert quality_of(world, *NIGHTS) == {
        ("bronze", "plays", 9): (2, 1, 1, 0, 0, 0, pytest.approx(5 / 6)),
        ("bronze", "plays", 10): (2, 1, 0, 1, 0, 0, pytest.approx(1 / 6)),
        ("bronze", "tracks", 10): (1, 1, 0, 0, 0, 0, 1),
        ("sums", "plays", 9): (1, 1, 0, 0, 0, 0, 1),
        ("marts", "plays", 9): (3, 1, 0, 0, 1, 1, 1),
        ("marts", "tracks", 9): (1, 0, 0, 0, 0, 1, None),
    }
    assert quality_of(world, "row_count", "quarantined_count", "quarantined_ratio", "quarantined_reason") == {
        ("bronze", "plays", 9): (40, 8, 0.2, None),
        ("bronze", "plays", 10): (10, None, None, "silver has not taken all deliveries of the day"),
        ("bronze", "tracks", 10): (0, None, None, "no row was delivered"),
        ("sums", "plays", 9): (None, None, None, "only rows of deliveries are quarantined"),
        ("marts", "plays", 9): (31, None, None, "only rows of deliveries are quarantined"),
        ("marts", "tracks", 9): (1, None, None, "only rows of deliveries are quarantined"),
    }
    pages = {(one.layer, one.table, one.day.day): one.score for one in table_days(world.marks.judgements(world.tenant, first, second))}
    assert {key: score for key, (score,) in quality_of(world, "quality_score").items()} == pages

    # judged again, the later judgement counts; and what silver takes is told: but neither is a reason for a build by itself
    world.marks.judge(world.tenant, [judged("marts", "plays", first, found("s", "failed"), rows=2)])
    world.marks.mark(world.tenant, "quarantine", "plays", {"app/2026-02-10": Mark("x", {"quarantined": 10})})
    world.load(second)
    assert world.build(second).entries[0].skipped
    assert quality_of(world, "quality_score")["marts", "plays", 9] == (1,)
    world.night(second + timedelta(1))
    assert differences(world, second + timedelta(1)) == []
    assert quality_of(world, "row_count", "quality_score")["marts", "plays", 9] == (2, 0)
    assert quality_of(world, "quarantined_ratio", "quarantined_reason")["bronze", "plays", 10] == (1, None)


def test_models_are_within_their_bounds_or_beyond_and_a_night_without_one_says_why(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("quality"))
    fit = {
        "version": "7", "trained_on": "2026-01-14", "age_days": 27, "oldest_days": 28, "feature": "energy", "index": 0.25,
        "index_limit": 0.25, "metric": "mape", "promised": 0.2, "error": 0.3, "error_limit": 0.3, "is_due": False, "reason": "fit",
    }  # fmt: skip
    said: tuple[dict[str, object], ...] = (
        fit,
        fit | {"index": 0.26},
        fit | {"error": 0.31},
        fit | {"age_days": 28},
        fit | dict.fromkeys(("feature", "index", "error", "error_limit")),  # it has not answered yet
        {"is_due": False, "reason": "there is no champion yet; but the training of 2026-02-04 promoted nothing: too few plays"},
    )
    for number, facts in enumerate(said):
        world.marks.mark(world.tenant, "watch", "forecast", {str(date(2026, 2, 5) + timedelta(number)): Mark("x", facts)})
    world.night(TODAY)
    assert differences(world, TODAY) == []
    rows = sorted(world.mart("model_health_days"), key=lambda row: row["watched_on"])
    assert [row["is_within_bounds"] for row in rows] == [True, False, False, False, True, None]
    assert [row["champion_version"] for row in rows] == ["7"] * 5 + [None]
    told = ("problem", "watched_on", "trained_on", "age_days", "drift_feature", "drift_index", "error_value", "is_training_due")
    assert tuple(rows[0][name] for name in told) == ("forecast", date(2026, 2, 5), date(2026, 1, 14), 27, "energy", 0.25, 0.3, False)
    assert rows[-1]["reason"].endswith("too few plays")
    assert {rows[-1][name] for name in ("trained_on", "age_days", "drift_limit", "metric", "promised_value", "error_limit")} == {None}

    # what a watch says at the end of a night is no reason for a build; the next one takes it in
    world.marks.mark(world.tenant, "watch", "forecast", {str(TODAY): Mark("x", fit)})
    world.load(TODAY)
    assert world.build(TODAY).entries[0].skipped
    world.night(TODAY + timedelta(1))
    assert differences(world, TODAY + timedelta(1)) == []
    assert {row["is_within_bounds"] for row in world.mart("model_health_days") if row["watched_on"] == TODAY} == {True}
