"""Acquisition at the places where its definitions turn, and against the world whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nocturne.simulator import World as Simulated
from nocturne.simulator import WorldParameters, demo_worlds
from nocturne.simulator.answers import experiment_answers
from nocturne.tenants import Tenant
from tests.integration.marts.reference import differences
from tests.integration.marts.reference_acquisition import compared
from tests.integration.marts.world import World, make_tenant

DATASETS = ("listeners", "subscription_events", "plans", "touchpoints", "exposures", "fx_rates")
TODAY = date(2026, 4, 30)
PAID = datetime(2026, 2, 15, 12, tzinfo=UTC)
RULES = ("first_touch", "last_touch", "linear", "time_decay", "position", "markov")


def contact(world: World, listener: str, channel: str, at: datetime, **more: Any) -> None:
    row = {"touchpoint_id": f"{listener} {channel} {at}", "touched_at": at, "listener_key": listener, "channel": channel}
    world.add("touchpoints", row | more)


def sign_up(world: World, listener: str, at: datetime) -> None:
    world.add("listeners", {"listener_key": listener, "signed_up_at": at, "country": "FR"})


def open_period(world: World, listener: str, kind: str, at: datetime, days: int = 30) -> None:
    first = at.date()
    event = {"event_id": f"{listener} {kind} {at}", "occurred_at": at, "listener_key": listener, "subscription_id": f"sub {listener}"}
    period = {"event_type": kind, "plan_id": "m", "period_from_on": first, "period_to_on": first + timedelta(days)}
    world.add("subscription_events", event | period)


def fill(world: World) -> None:
    """Paths of February that lead to a payment at noon of the 15th, others of January and March; funnels; experiments."""
    world.add("plans", {"plan_id": "m", "country": "WW", "valid_from_on": date(2020, 1, 1), "price_amount": 10, "currency": "EUR"})
    world.rows["plans"][0] |= {"tier": "premium", "billing_period": "month"}
    world.add("fx_rates", {"currency": "USD", "rated_on": date(2026, 1, 1), "rate": 0.5})
    for listener, channels in {"alone": "s", "two": "se", "three": "sea", "four": "seas"}.items():
        for place, channel in enumerate(channels):
            contact(world, listener, {"s": "search", "e": "email", "a": "affiliate"}[channel], PAID - timedelta(days=7 * (4 - place)))
        open_period(world, listener, "started", PAID)
    contact(world, "edge", "store", PAID - timedelta(days=30), cost_amount=3, currency="USD")
    contact(world, "edge", "social", PAID - timedelta(days=30, microseconds=1), cost_amount=3, currency="GBP")
    contact(world, "edge", "referral", PAID + timedelta(microseconds=1))
    open_period(world, "edge", "started", PAID)
    open_period(world, "edge", "renewed", PAID + timedelta(days=30))
    open_period(world, "from nowhere", "started", PAID)
    # March: of 3 paths over email 1 converts, of 2 over search alone 1 does
    noon = datetime(2026, 3, 10, 12, tzinfo=UTC)
    for listener, channels, converts in (
        ("m1", ("search", "email"), True), ("m2", ("search", "email"), False), ("m3", ("email",), False),
        ("m4", ("search",), True), ("m5", ("search",), False),
    ):  # fmt: skip
        for hour, channel in enumerate(channels):
            contact(world, listener, channel, noon + timedelta(hours=hour))
        if converts:
            open_period(world, listener, "started", noon + timedelta(days=1))
    # what is open yet: the 30 days are over on the business day, or a day later
    contact(world, "open no more", "podcast", datetime(2026, 3, 31, 12, tzinfo=UTC))
    contact(world, "open", "poster", datetime(2026, 4, 1, 12, tzinfo=UTC))
    fill_funnel(world)
    fill_newest_funnel(world)
    fill_experiments(world)


def fill_funnel(world: World) -> None:
    """The week from the 12th of January; the 60 days of its last day are over on the 19th of March. Days after the first contact."""
    first = datetime(2026, 1, 12, 12, tzinfo=UTC)
    days = {
        "all the way": (1, 2, 16), "too late": (2, 4, 60 + 1 / 48), "in time": (1, 7, 60), "tries": (3, 14), "signs up": (4,), "looks": (),
        "tries too late": (10, 60 + 1 / 48), "signs up too late": (60 + 1 / 48,),
    }  # fmt: skip
    for listener, steps in days.items():
        contact(world, listener, "fair", first)
        for kind, after in zip(("sign_up", "trial_started", "started"), steps, strict=False):
            at = first + timedelta(days=after)
            sign_up(world, listener, at) if kind == "sign_up" else open_period(world, listener, kind, at, 14)
    sign_up(world, "knows us", first - timedelta(seconds=1))
    contact(world, "knows us", "fair", first)


def fill_newest_funnel(world: World) -> None:
    """The week from the 23rd of February: the 60 days of its last day are over on the business day."""
    first = datetime(2026, 2, 24, 12, tzinfo=UTC)
    contact(world, "known today", "market", first)
    sign_up(world, "known today", first + timedelta(days=1))
    open_period(world, "known today", "trial_started", first + timedelta(days=2), 14)
    open_period(world, "known today", "started", first + timedelta(days=40))


def fill_experiments(world: World) -> None:
    """`big`: 60 of 200 against 90 of 210 convert; `small`: who had paid, who pays too late, and who may pay yet; others of odd sizes."""
    at = datetime(2026, 2, 1, 12, tzinfo=UTC)
    for variant, converted, exposed in (("control", 60, 200), ("treatment", 90, 210)):
        for n in range(exposed):
            expose(world, "big", f"{variant} {n}", variant, at)
            if n < converted:
                open_period(world, f"{variant} {n}", "started", at + timedelta(days=17 if n else 0))
    for listener, variant, after in (("late", "b", 18), ("paid", "b", -1), ("buys", "b", 0), ("not", "a", None)):
        expose(world, "small", listener, variant, at)
        if after is not None:
            open_period(world, listener, "started", at + timedelta(days=after))
    expose(world, "small", "may yet", "a", datetime(2026, 4, 14, 12, tzinfo=UTC))
    expose(world, "small", "may no more", "a", datetime(2026, 4, 13, 12, tzinfo=UTC))
    expose_many(world, "odd", {"x": 5, "y": 9, "z": 30, "w": 12}, at)
    # so unlikely that it is less than the smallest number there is
    expose_many(world, "lopsided", {"a": 1, "b": 1, "c": 1, "d": 1_600}, at)
    expose_many(world, "six", {"p": 5, "q": 6, "r": 7, "s": 8, "t": 9, "u": 10}, at)
    expose_many(world, "named", {"also": 3, "control": 4, "treatment": 5}, at)
    expose(world, "lonely", "one", "only", at)


def expose_many(world: World, experiment: str, sizes: dict[str, int], at: datetime) -> None:
    for variant, exposed in sizes.items():
        for n in range(exposed):
            expose(world, experiment, f"{variant} {n}", variant, at)


def expose(world: World, experiment: str, listener: str, variant: str, at: datetime) -> None:
    world.add("exposures", {"experiment_id": experiment, "listener_key": listener, "variant": variant, "exposed_at": at})


@pytest.fixture(scope="module")
def world(new_world: Callable[[Tenant], World]) -> World:
    made = new_world(make_tenant("acquisition", DATASETS))
    fill(made)
    made.night(TODAY)
    return made


@pytest.fixture(scope="module")
def months(world: World) -> dict[tuple[int, str], dict[str, Any]]:
    return {(row["month_on"].month, row["channel"]): row for row in world.mart("attribution_months")}


@pytest.fixture(scope="module")
def variants(world: World) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["experiment_id"], row["variant"]): row for row in world.mart("experiment_variants")}


def test_all_of_it_is_what_the_slow_reading_of_the_definitions_says(world: World) -> None:
    assert differences(world, TODAY) == []


def test_five_rules_share_out_four_conversions(months: dict[tuple[int, str], dict[str, Any]]) -> None:
    """search; search email; search email affiliate; search email affiliate search, a week apart."""
    credits = {channel: [months[2, channel][f"{rule}_credit"] for rule in RULES[:5]] for channel in ("search", "email", "affiliate")}
    third, fifteenth = Decimal(1) / 3, Decimal(8) / 15
    millionth = Decimal("0.000001")
    assert credits["search"][0] == 4
    assert [credits[channel][1] for channel in credits] == [2, 1, 1]
    assert credits["search"][2] == pytest.approx(1 + Decimal("0.5") + third + Decimal("0.5"), abs=millionth)
    # of two a week apart the later weighs double: 1/3 and 2/3; of three 1/7, 2/7, 4/7; of four 1/15 to 8/15
    assert credits["search"][3] == pytest.approx(1 + third + Decimal(1) / 7 + Decimal(1) / 15 + fifteenth, abs=millionth)
    assert [credits[channel][4] for channel in credits] == [Decimal("2.7"), Decimal("0.8"), Decimal("0.5")]


def test_the_thirty_days_before_a_conversion_count_to_the_microsecond(months: dict[tuple[int, str], dict[str, Any]]) -> None:
    assert [months[2, "store"][f"{rule}_credit"] for rule in RULES[:5]] == [1] * 5
    assert months[1, "social"]["touchpoint_count"] == 1
    assert (1, "store") in months
    assert (2, "social") not in months
    assert months[2, "referral"]["first_touch_credit"] == 0


def test_conversions_that_nobody_led_to_stand_apart(months: dict[tuple[int, str], dict[str, Any]]) -> None:
    """Of one listener, of the 150 of `big`, and of two of `small`."""
    assert [months[2, "(unattributed)"][f"{rule}_credit"] for rule in RULES] == [153] * 6


@pytest.mark.parametrize("rule", RULES)
def test_the_credits_of_each_rule_add_up_to_the_conversions(months: dict[tuple[int, str], dict[str, Any]], rule: str) -> None:
    totals = {month: sum(row[f"{rule}_credit"] for (of, _), row in months.items() if of == month) for month in (1, 2, 3)}
    assert totals == {1: 2, 2: 5 + 153, 3: 2 + 2}


def test_removal_effects_by_hand(months: dict[tuple[int, str], dict[str, Any]]) -> None:
    """From the start 4/5 go to search and 1/5 to email; search leads to email in 2/4, to a payment in 1/4; email to a payment in 1/3.

    So 4/5 (1/4 + 1/2 1/3) + 1/5 1/3 = 2/5 convert. Without email 1/5 do, without search 1/15: effects of 1/2 and 5/6. They share 2.
    """
    effects = {"email": Decimal(1) / 2, "search": Decimal(5) / 6}
    for channel, effect in effects.items():
        assert months[3, channel]["markov_credit"] == pytest.approx(2 * effect / sum(effects.values()), abs=Decimal("0.000001"))


def test_a_path_leads_nowhere_once_30_days_are_over(months: dict[tuple[int, str], dict[str, Any]]) -> None:
    assert (months[3, "podcast"]["path_count"], months[4, "poster"]["path_count"]) == (1, 0)
    assert months[4, "poster"]["touchpoint_count"] == 1


def test_costs_are_of_the_days_rate_and_unknown_without_one(months: dict[tuple[int, str], dict[str, Any]]) -> None:
    assert (months[1, "store"]["cost_amount"], months[1, "social"]["cost_amount"]) == (Decimal("1.5"), None)


def test_a_funnel_counts_what_was_reached_within_60_days(world: World) -> None:
    steps = {row["step"]: row for row in world.mart("funnel_weeks") if row["channel"] == "fair"}
    assert [steps[step]["reached_count"] for step in ("touched", "signed_up", "subscribed", "paid")] == [8, 6, 4, 2]
    assert [steps[step]["step_conversion_ratio"] for step in ("signed_up", "subscribed", "paid")] == pytest.approx([6 / 8, 4 / 6, 1 / 2])
    assert steps["paid"]["entry_conversion_ratio"] == pytest.approx(1 / 4)
    # 1, 1, 2, 3, 4 and 10 days
    assert (steps["signed_up"]["seconds_p50"], steps["signed_up"]["seconds_p90"]) == pytest.approx((86_400 * 2.5, 86_400 * 7))
    assert steps["touched"]["seconds_p50"] is None


def test_a_variant_is_compared_with_its_control(variants: dict[tuple[str, str], dict[str, Any]]) -> None:
    """60 of 200 against 90 of 210, by SciPy's own tests of such tables where it has them."""
    treated = variants["big", "treatment"]
    assert [treated[f"{name}_count"] for name in ("exposed", "judged", "converted")] == [210, 210, 90]
    assert treated["difference_ratio"] == pytest.approx(90 / 210 - 0.3)
    table = stats.chi2_contingency([[60, 140], [90, 120]], correction=False)
    assert treated["p_value"] == pytest.approx(table.pvalue, rel=1e-9)
    assert treated["difference_low_ratio"] < treated["difference_ratio"] < treated["difference_high_ratio"]
    # whoever looks every night may say less
    assert 0.05 < treated["sequential_p_value"] < 1
    assert treated["sequential_low_ratio"] < 0 < treated["difference_low_ratio"]
    assert variants["big", "control"]["difference_ratio"] is None


def test_newcombes_own_example() -> None:
    """56 of 70 less 48 of 80: 0.0524 to 0.3339 (his table II, method 10)."""
    found = compared(56, 70, 48, 80)
    assert (found["difference_low_ratio"], found["difference_high_ratio"]) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_who_had_paid_or_may_yet_pay_is_not_judged(variants: dict[tuple[str, str], dict[str, Any]]) -> None:
    counts = {name: [variants["small", name][f"{kind}_count"] for kind in ("exposed", "judged", "converted")] for name in "ab"}
    assert counts == {"a": [3, 2, 0], "b": [3, 2, 1]}
    assert variants["small", "a"]["is_control"]
    assert [variants["named", name]["is_control"] for name in ("also", "control", "treatment")] == [False, True, False]


def test_unequal_variants_are_told(variants: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert variants["odd", "x"]["sample_ratio_p_value"] == pytest.approx(float(stats.chisquare([5, 9, 30, 12]).pvalue), rel=1e-9)
    assert variants["big", "control"]["sample_ratio_p_value"] == pytest.approx(float(stats.chisquare([200, 210]).pvalue), rel=1e-9)
    assert variants["six", "p"]["sample_ratio_p_value"] == pytest.approx(float(stats.chisquare(range(5, 11)).pvalue), rel=1e-9)
    assert variants["named", "also"]["sample_ratio_p_value"] == pytest.approx(float(stats.chisquare([3, 4, 5]).pvalue), rel=1e-9)
    assert variants["lopsided", "a"]["sample_ratio_p_value"] < 1e-300
    assert variants["lonely", "only"]["sample_ratio_p_value"] is None


def test_whoever_looks_every_night_is_seldom_deceived() -> None:
    """1,000 experiments without an effect, looked at 40 times each: the plain test deceives many, the sequential one at most 5 in 100."""
    dice = np.random.default_rng(5)
    rate, a_day, nights = 0.3, 25, 40
    deceived = {"p_value": 0, "sequential_p_value": 0}
    for _ in range(1_000):
        both = dice.binomial(a_day, rate, (2, nights)).cumsum(axis=1)
        lowest = dict.fromkeys(deceived, 1.0)
        for night in range(3, nights):
            judged = a_day * (night + 1)
            (a, b), pool = (both[:, night] / judged), both[:, night].sum() / (2 * judged)
            plain = math.erfc(abs(a - b) / math.sqrt(pool * (1 - pool) * 2 / judged) / math.sqrt(2))
            variance = (a * (1 - a) + b * (1 - b)) / judged
            ratio = math.sqrt(variance / (variance + 0.0025)) * math.exp(0.0025 * (a - b) ** 2 / (2 * variance * (variance + 0.0025)))
            lowest = {"p_value": min(lowest["p_value"], plain), "sequential_p_value": min(lowest["sequential_p_value"], 1 / ratio)}
        deceived = {name: count + (lowest[name] < 0.05) for name, count in deceived.items()}
    assert deceived["p_value"] > 200
    assert deceived["sequential_p_value"] <= 50


def test_a_week_of_a_funnel_matures_with_its_last_listener(new_world: Callable[[Tenant], World]) -> None:
    world = new_world(make_tenant("acquiring", DATASETS))
    world.rows["plans"] = []
    fill_funnel(world)
    seen = []
    for day in (date(2026, 3, 18), date(2026, 3, 19)):
        world.night(day)
        (paid,) = [row for row in world.mart("funnel_weeks") if row["step"] == "paid"]
        seen.append((paid["listener_count"], paid["reached_count"], paid["entry_conversion_ratio"]))
        assert differences(world, day) == []
    assert seen == [(8, None, None), (8, 2, pytest.approx(1 / 4))]


def test_the_simulators_experiment_is_found(new_world: Callable[[Tenant], World]) -> None:
    """Exposures are those of the answer sheet; the true effect lies in the interval; the last channel is the one that the account names."""
    experiment = {"experiment_id": "e", "from_on": "2026-03-15", "to_on": "2026-05-31", "effect": 1.0}
    parameters = demo_worlds()["sillage"].model_dump() | {"tracks": 300, "artists": 60, "events": {"experiments": [experiment]}}
    simulated = Simulated(WorldParameters.model_validate(parameters))
    world = new_world(make_tenant("acquiring", DATASETS))
    for dataset in DATASETS:
        rows = simulated.table(dataset).to_pylist()
        world.add(dataset, *({("listener_key" if name == "listener_id" else name): value for name, value in row.items()} for row in rows))
    world.night(simulated.days[-1])
    (told,) = experiment_answers(simulated)
    found = {row["variant"]: row for row in world.mart("experiment_variants")}
    assert {name: row["exposed_count"] for name, row in found.items()} == told["exposed"]
    assert found["treatment"]["sample_ratio_p_value"] > 0.001
    # six in ten of those exposed are in a trial by then: an effect on trials is diluted by as much
    ended, exposed = sum(told["trials_ended"].values()), sum(told["exposed"].values())
    effect = told["true_difference"] * ended / exposed
    assert found["treatment"]["difference_low_ratio"] < effect < found["treatment"]["difference_high_ratio"]
    assert max(found["treatment"]["p_value"], found["treatment"]["sequential_p_value"]) < 0.05
    credits = world.mart("attribution_months")
    paid = {row["listener_key"] for row in world.mart("subscription_periods") if row["kind"] == "paid"}
    assert {sum(row[f"{rule}_credit"] for row in credits) for rule in RULES} == {len(paid)}
    last = {}
    for row in sorted(world.rows["touchpoints"], key=lambda row: row["touched_at"]):
        last[row["listener_key"]] = row["channel"]
    accounts = {row["listener_key"]: row["channel"] for row in world.rows["listeners"]}
    assert all(accounts[listener] == channel for listener, channel in last.items())
