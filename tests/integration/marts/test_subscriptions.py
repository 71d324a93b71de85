"""Subscriptions at the places where their definitions turn. Every listener lives in a country of its own, by which it is found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from nocturne.tenants import Tenant
from tests.integration.marts.reference import differences
from tests.integration.marts.world import World, make_tenant

DATASETS = ("plays", "listeners", "subscription_events", "plans", "payments")
TODAY = date(2026, 5, 3)
RULES = {"trial_days": [{"from": "2025-01-01", "value": 14}, {"from": "2026-04-20", "value": 1}]}
JANUARY, LONG = date(2026, 1, 1), date(2026, 6, 1)


def tell(world: World, listener: str, kind: str, on: date, until: date | None = None, **more: Any) -> None:
    at = datetime(on.year, on.month, on.day, 9, tzinfo=UTC)
    event = {"event_id": f"{listener} {kind} {on}", "occurred_at": at, "listener_key": listener, "subscription_id": f"sub {listener}"}
    period = {"period_from_on": on, "period_to_on": until} if until else {}
    world.add("subscription_events", event | {"event_type": kind, "plan_id": "m"} | period | more)


def pay(world: World, listener: str, on: date, status: str = "succeeded", amount: float = 10) -> None:
    at = datetime(on.year, on.month, on.day, 9, tzinfo=UTC)
    paid = {"payment_id": f"{listener} {on}", "paid_at": at, "listener_key": listener, "status": status, "amount": amount}
    world.add("payments", paid | {"currency": "EUR"})


def fill(world: World) -> None:
    """FR stays, DE leaves, GB's payment fails, IT comes back after 30 days, ES after 31, SE tries and pays, NO tries, PT stays 22 days.

    AT, BE and CH have two subscriptions; of one listener nothing else is known. JP had one until the first of December, KR pays without one.
    """
    price = {"plan_id": "m", "country": "WW", "valid_from_on": date(2020, 1, 1), "price_amount": 10, "currency": "EUR"}
    world.add("plans", price | {"tier": "premium", "billing_period": "month"})
    for country in ("FR", "DE", "GB", "IT", "ES", "SE", "NO", "PT", "AT", "BE", "CH", "JP", "KR"):
        world.add("listeners", {"listener_key": country, "country": country})
    for country, until in {
        "FR": LONG,
        "DE": date(2026, 2, 10),
        "GB": date(2026, 2, 20),
        "IT": date(2026, 2, 1),
        "ES": date(2026, 2, 1),
    }.items():
        tell(world, country, "started", JANUARY, until)
    tell(world, "DE", "auto_renew_off", date(2026, 2, 1))
    tell(world, "GB", "payment_failed", date(2026, 2, 19))
    tell(world, "IT", "reactivated", date(2026, 3, 3), LONG)
    tell(world, "ES", "reactivated", date(2026, 3, 4), LONG)
    tell(world, "SE", "trial_started", date(2026, 1, 5), date(2026, 1, 19))
    tell(world, "SE", "started", date(2026, 1, 22), LONG)
    tell(world, "NO", "trial_started", date(2026, 1, 6), date(2026, 1, 20))
    tell(world, "NO", "plan_changed", date(2026, 1, 10), plan_id="y")
    tell(world, "NO", "trial_started", date(2026, 4, 27), date(2026, 4, 28))
    tell(world, "NO", "trial_started", date(2026, 4, 30), date(2026, 5, 1), plan_id="y", subscription_id="sub two")
    tell(world, "PT", "started", date(2026, 2, 3), date(2026, 2, 25))
    two = {"plan_id": "y", "subscription_id": "sub two"}
    tell(world, "AT", "started", JANUARY, date(2026, 1, 31))
    tell(world, "AT", "trial_started", date(2026, 1, 12), date(2026, 1, 26), **two)
    tell(world, "BE", "trial_started", date(2026, 2, 2), date(2026, 3, 10))
    tell(world, "BE", "started", date(2026, 2, 5), date(2026, 2, 10), **two)
    tell(world, "CH", "started", date(2026, 3, 1), date(2026, 4, 10))
    tell(world, "CH", "started", date(2026, 3, 5), date(2026, 3, 8), **two)
    tell(world, "nowhere", "started", date(2026, 3, 1), date(2026, 3, 15))
    tell(world, "JP", "started", date(2025, 11, 3), date(2025, 12, 2))
    pay(world, "JP", date(2025, 11, 3))
    pay(world, "KR", date(2025, 10, 31), "failed")
    pay(world, "KR", date(2025, 9, 1), amount=0)
    pay(world, "KR", date(2025, 8, 1), "refunded")
    pay(world, "KR", date(2025, 11, 30))
    pay(world, "KR", date(2026, 2, 1))
    pay(world, "KR", date(2026, 3, 31), amount=0)
    pay(world, "FR", date(2026, 1, 31))
    for country in ("DE", "ES"):
        pay(world, country, JANUARY)
    pay(world, "BE", date(2026, 2, 5))
    for n in range(4):
        at = datetime(2026, 2, 20, n, tzinfo=UTC)
        world.add("plays", {"play_id": f"p{n}", "listener_key": f"l{n}", "track_id": "t", "played_at": at, "ms_played": 60_000})


@pytest.fixture(scope="module")
def world(new_world: Callable[[Tenant], World]) -> World:
    made = new_world(make_tenant("subscribing", DATASETS, rules=RULES))
    fill(made)
    made.night(TODAY)
    return made


@pytest.fixture(scope="module")
def states(world: World) -> dict[tuple[str, date], str]:
    names = ("paying", "trial", "grace", "churned")
    return {(row["country"], row["day_on"]): name for row in world.mart("plan_days") for name in names if row[f"{name}_count"]}


@pytest.fixture(scope="module")
def months(world: World) -> dict[int, dict[str, Any]]:
    return {row["month_on"].month: row for row in world.mart("subscription_months")}


def test_all_of_it_is_what_the_slow_reading_of_the_definitions_says(world: World) -> None:
    assert differences(world, TODAY) == []


def test_who_stops_paying_is_in_grace_for_30_days_and_churned_from_then(states: dict[tuple[str, date], str]) -> None:
    ends = date(2026, 2, 10)
    found = [states["DE", ends + timedelta(n)] for n in (-1, 0, 29, 30)]
    assert found == ["paying", "grace", "grace", "churned"]
    assert states["DE", TODAY] == "churned"


def test_who_comes_back_pays_again_from_that_day(states: dict[tuple[str, date], str]) -> None:
    assert [states["IT", date(2026, 3, n)] for n in (2, 3)] == ["grace", "paying"]
    assert [states["ES", date(2026, 3, n)] for n in (2, 3, 4)] == ["grace", "churned", "paying"]


def test_a_trial_that_led_to_nothing_leaves_no_state(states: dict[tuple[str, date], str]) -> None:
    assert states["NO", date(2026, 1, 19)] == "trial"
    assert ("NO", date(2026, 1, 20)) not in states
    assert ("SE", date(2026, 1, 20)) not in states
    assert states["SE", date(2026, 1, 22)] == "paying"


def test_of_several_subscriptions_the_best_tells_the_state(states: dict[tuple[str, date], str]) -> None:
    """AT pays and tries, BE tries and has paid since, CH has paid until of late and has long left another."""
    assert [states["AT", date(2026, 1, 15)], states["BE", date(2026, 2, 15)], states["CH", date(2026, 4, 15)]] == [
        "paying",
        "trial",
        "grace",
    ]
    assert states["ZZ", date(2026, 3, 14)] == "paying"


def test_a_cohort_of_trials_is_known_when_the_last_could_have_converted(world: World) -> None:
    columns = ("trial_count", "converted_count", "conversion_ratio")
    weeks = {(row["cohort_on"], row["plan_id"]): tuple(row[name] for name in columns) for row in world.mart("trial_weeks")}
    january, later, february, april = date(2026, 1, 5), date(2026, 1, 12), date(2026, 2, 2), date(2026, 4, 27)
    assert weeks == {
        (january, "m"): (2, 1, 0.5), (later, "y"): (1, 0, 0.0), (february, "m"): (1, 1, 1.0), (april, "m"): (1, 0, 0.0), (april, "y"): (1, None, None)
    }  # fmt: skip


def test_churn_is_of_those_who_paid_when_the_month_began_and_has_its_reasons(months: dict[int, dict[str, Any]]) -> None:
    """FR, DE, GB, IT, ES and SE paid at the end of January; DE, GB and ES left; PT came and left within the month."""
    names = ("opening_payer_count", "churned_payer_count", "voluntary_churn_count", "payment_failure_churn_count", "unknown_churn_count")
    assert [months[2][name] for name in names] == [6, 3, 1, 1, 1]
    assert (months[2]["churn_ratio"], months[2]["voluntary_churn_ratio"]) == (0.5, pytest.approx(1 / 6))


def test_a_month_is_decided_when_the_grace_after_it_is_over(months: dict[int, dict[str, Any]]) -> None:
    assert [months[n]["is_settled"] for n in (2, 3, 4)] == [True, True, False]
    assert (months[4]["churned_payer_count"], months[4]["churn_ratio"], months[4]["ltv_amount"]) == (None, None, None)


def test_lifetime_value_is_arpu_by_margin_over_churn(months: dict[int, dict[str, Any]]) -> None:
    """Two pay 10 at the end of February, four have listened in 28 days, 48 % is left after the rights holders, and half churn."""
    names = ("mrr_amount", "arpu_amount", "arppu_amount", "ltv_amount")
    assert [months[2][name] for name in names] == [20, 5, 10, Decimal("4.8")]
    assert months[3]["ltv_amount"] is None  # nobody left
    assert (months[4]["last_on"], months[5]["last_on"]) == (date(2026, 4, 30), TODAY)


def test_cohorts_of_payers_are_by_the_first_payment_and_stay_while_somebody_pays_or_has_paid_for_the_month(world: World) -> None:
    """Of November JP has paid until the first of December, and KR pays in February again. Of January FR stays, DE leaves in February, ES on
    its eve and is back in March. BE tries on in March.
    """
    cohorts: dict[date, list[tuple[Any, ...]]] = {}
    for row in sorted(world.mart("payer_cohorts"), key=lambda row: row["month_number"]):
        assert len(cohorts.setdefault(row["cohort_on"], [])) == row["month_number"]
        cohorts[row["cohort_on"]].append((row["payer_count"], row["retained_count"], row["retention_ratio"]))
    january = [(3, 3, 1), (3, 2, pytest.approx(2 / 3)), (3, 2, pytest.approx(2 / 3)), (3, 2, pytest.approx(2 / 3)), (3, None, None)]
    assert cohorts == {
        date(2025, 11, 1): [(2, 2, 1), (2, 1, 0.5), (2, 0, 0), (2, 1, 0.5), (2, 0, 0), (2, 0, 0), (2, None, None)],
        date(2026, 1, 1): january,
        date(2026, 2, 1): [(1, 1, 1), (1, 0, 0), (1, 0, 0), (1, None, None)],
    }


def test_a_night_without_events_lets_days_and_decisions_pass(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("subscribing", DATASETS, rules=RULES))
    fill(world)
    for day in (date(2026, 2, 11), date(2026, 2, 28), date(2026, 3, 29), date(2026, 3, 30)):
        world.rows["subscription_events"] = [
            row for row in world.rows["subscription_events"] if row["event_type"] != "reactivated" and row["occurred_on"] <= day
        ]
        world.night(day)
        assert differences(world, day) == []
    (february,) = [row for row in world.mart("subscription_months") if row["month_on"] == date(2026, 2, 1)]
    assert (february["is_settled"], february["churned_payer_count"]) == (True, 4)
