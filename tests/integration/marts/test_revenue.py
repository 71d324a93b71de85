"""Revenue by tier at the places where its definitions turn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from nocturne.tenants import Tenant
from tests.integration.marts.reference import differences
from tests.integration.marts.world import World, make_tenant

DATASETS = ("payments", "ad_impressions", "listeners", "subscription_events", "plans", "fx_rates")
TODAY = date(2026, 3, 31)


def pay(world: World, listener: str, day: datetime, amount: float, **more: Any) -> None:
    row = {
        "payment_id": f"{listener} {day} {len(world.rows.get('payments', []))}",
        "paid_at": day,
        "listener_key": listener,
        "amount": amount,
    }
    world.add("payments", row | {"status": "succeeded", "currency": "EUR", "country": "FR"} | more)


def show(world: World, day: datetime, amount: float, **more: Any) -> None:
    row = {"impression_id": f"ad {len(world.rows.get('ad_impressions', []))}", "shown_at": day, "revenue_amount": amount}
    world.add("ad_impressions", row | {"currency": "EUR", "country": "FR"} | more)


def at(month: int, day: int) -> datetime:
    return datetime(2026, month, day, 12, tzinfo=UTC)


def fill(world: World) -> None:
    """A payer of `family` from the 1st of February, of `student` from the 1st of March, who has left when a refund comes."""
    for plan in ("family", "student"):
        price = {"plan_id": plan, "country": "WW", "valid_from_on": date(2020, 1, 1), "price_amount": 10, "currency": "EUR"}
        world.add("plans", price | {"tier": plan, "billing_period": "month"})
    for plan, kind, month, until in (("family", "started", 2, date(2026, 3, 1)), ("student", "renewed", 3, date(2026, 3, 20))):
        event = {"event_id": plan, "occurred_at": at(month, 1), "listener_key": "payer", "subscription_id": "sub", "event_type": kind}
        world.add("subscription_events", event | {"plan_id": plan, "period_from_on": date(2026, month, 1), "period_to_on": until})
    world.add("fx_rates", {"currency": "USD", "rated_on": date(2026, 2, 1), "rate": 0.5})
    world.add("fx_rates", {"currency": "USD", "rated_on": date(2026, 2, 2), "rate": 0.75})
    pay(world, "payer", at(1, 31), 3)
    pay(world, "payer", at(2, 1), 12, tax_amount=2)
    pay(world, "payer", at(2, 28), 8, currency="USD")
    pay(world, "payer", at(3, 1), 6)
    pay(world, "payer", at(3, 25), 6, status="refunded", tax_amount=1)
    pay(world, "payer", at(3, 25), 99, status="failed")
    pay(world, "stranger", at(2, 1), 5)
    for day, amount in ((1, 0.004), (1, 0.001), (2, 0.004)):
        show(world, at(2, day), amount, currency="USD")
    pay(world, "stranger", at(2, 4), 5, country=None)
    show(world, at(2, 4), 1, country=None)
    show(world, at(2, 1), 7, currency="GBP")
    show(world, at(2, 3), 7, currency="GBP")


@pytest.fixture(scope="module")
def world(new_world: Callable[[Tenant], World]) -> World:
    made = new_world(make_tenant("earning", DATASETS))
    fill(made)
    made.night(TODAY)
    return made


@pytest.fixture(scope="module")
def days(world: World) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {(row["revenue_on"].month, row["revenue_on"].day, row["tier"]): row for row in world.mart("tier_revenue_days")}


def test_all_of_it_is_what_the_slow_reading_of_the_definitions_says(world: World) -> None:
    assert differences(world, TODAY) == []


def test_a_payment_belongs_to_the_tier_of_its_day(days: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    assert (days[2, 1, "family"]["gross_amount"], days[2, 1, "family"]["net_amount"]) == (12, 10)
    assert days[2, 28, "family"]["gross_amount"] == 6  # at the newest rate on or before the day
    assert days[3, 1, "student"]["gross_amount"] == 6


def test_a_refund_goes_to_the_tier_that_was_left(days: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    assert (days[3, 25, "student"]["refund_amount"], days[3, 25, "student"]["net_amount"]) == (6, -5)
    assert days[3, 25, "student"]["transaction_count"] == 1


def test_who_pays_without_a_subscription_or_before_it_is_in_no_tier(days: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    assert (days[1, 31, "unknown"]["gross_amount"], days[2, 1, "unknown"]["gross_amount"]) == (3, 5)


def test_money_from_nowhere_stands_apart(world: World) -> None:
    found = {(row["tier"], row["country"]): row["gross_amount"] for row in world.mart("tier_revenue_days") if row["revenue_on"].day == 4}
    assert found == {("unknown", "ZZ"): 5, ("free", "ZZ"): 1}


def test_ecpm_is_the_revenue_of_a_thousand_impressions_that_could_be_converted(days: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    """4 and 1 thousandths at half the rate: 2.5 thousandths of two impressions; the third is in a currency without a rate."""
    assert (days[2, 1, "free"]["ecpm_amount"], days[2, 1, "free"]["unconverted_count"]) == (Decimal("1.25"), 1)
    assert (days[2, 3, "free"]["ecpm_amount"], days[2, 3, "free"]["gross_amount"]) == (None, 0)
    assert days[2, 1, "family"]["ecpm_amount"] is None


def test_months_are_the_days_at_the_rates_of_the_days(world: World) -> None:
    months = {(row["month_on"].month, row["tier"]): row for row in world.mart("tier_revenue_months") if row["country"] == "FR"}
    assert months[2, "family"]["gross_amount"] == 18
    assert months[2, "free"]["gross_amount"] == Decimal("0.0025") + Decimal("0.003")
    assert months[2, "free"]["ecpm_amount"] == Decimal("1.833333")
    assert (months[3, "student"]["net_amount"], months[3, "student"]["transaction_count"]) == (1, 2)


def test_another_plan_told_late_moves_payments_that_were_there(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("earning", DATASETS))
    fill(world)
    told = world.rows["subscription_events"]
    world.rows["subscription_events"] = told[:1]
    world.night(TODAY)
    assert {row["tier"] for row in world.mart("tier_revenue_days") if row["revenue_on"].month == 3} == {"family"}
    world.rows["subscription_events"] = told
    world.night(TODAY)
    assert {row["tier"] for row in world.mart("tier_revenue_days") if row["revenue_on"].month == 3} == {"student"}
    assert differences(world, TODAY) == []


def test_a_tenant_that_only_shows_advertisements_has_no_other_stream(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("showing", ("ad_impressions",)))
    show(world, at(2, 1), 0.5)
    world.night(TODAY)
    assert [(row["stream_of_revenue"], row["ecpm_amount"]) for row in world.mart("tier_revenue_months")] == [("advertising", 500)]
    assert differences(world, TODAY) == []
