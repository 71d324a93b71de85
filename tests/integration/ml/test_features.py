"""Features speak of their day: whatever is changed after it changes nothing of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pytest

from ml.problem import Rows, TooLittle, open_marts, problem
from nocturne.settings import Settings
from nocturne.tenants import Tenant
from tests.integration.ml.world import BEGINS, DAY, FINAL, GRACE, Marts, make_tenant

Place = Callable[..., Tenant]
T = BEGINS + timedelta(days=70)


def falsified(world: Marts, after: date) -> Marts:
    """The same world up to `after`, and another one from then on: other listening, other periods, other ends, other running totals."""
    other = copy.deepcopy(world)
    days = other.rows["listener_days"]
    other.rows["listener_days"] = [
        row if row[1] <= after else (row[0], row[1], row[2] * 50 + 7, 0, row[2] * 50, 0, 1, 1, 1, 1, "XX") for row in days
    ] + [(f"{number:016x}", after + timedelta(days=3), 9, 9, 0, 9, 9, 9, 9, 1, "XX") for number in range(400)]
    periods = []
    for one in other.rows["subscription_periods"]:
        subscription, begins, ends, key, plan, kind, billing, price, country, off, churned, settles = one
        if begins > after:
            continue  # nobody renewed: whoever was running then has left now
        if ends > after and subscription.endswith("7"):
            ends = max(begins + timedelta(days=1), after + timedelta(days=1))  # ended early, which nobody knew
        off = after + timedelta(days=1) if ends > after and subscription.endswith("3") and (off is None or off > after) else off
        churned = ends if ends > after else churned if settles <= after else None
        periods.append((subscription, begins, ends, key, plan, kind, billing, price, country, off, churned, settles))
    periods.append(
        ("late", after + timedelta(days=1), after + timedelta(days=31), "0" * 16, "monthly", "paid", "month", 99.0, "FR", None, None, DAY)
    )
    other.rows["subscription_periods"] = periods
    other.rows["listener_facts"] = [(key, country, on, count * 3 + 1) for key, country, on, count in other.rows["listener_facts"]]
    other.rows["activity_days"] = [row if row[0] <= after else (row[0], 10**6, 10**6, 10**5, True) for row in other.rows["activity_days"]]
    other.rows["revenue_days"] = [row if row[0] <= after else (*row[:3], 10**6) for row in other.rows["revenue_days"]]
    return other


def rows_of(name: str, tenant: Tenant, settings: Settings, day: date) -> Rows:
    with open_marts(tenant, settings) as marts:
        return problem(name).today(marts, day)


@pytest.mark.parametrize("name", ["churn", "forecast"])
def test_what_was_known_does_not_change_with_what_came_later(name: str, place: Place, world: Marts, database: Settings) -> None:
    honest = rows_of(name, place(f"now_{name}", world), database, T)
    other = rows_of(name, place(f"later_{name}", falsified(world, T)), database, T)
    assert len(honest.x) > 50
    np.testing.assert_array_equal(honest.x, other.x)
    for key, values in honest.keys.items():
        np.testing.assert_array_equal(values, other.keys[key])


@pytest.mark.parametrize("name", ["churn", "forecast"])
def test_what_is_learned_does_not_change_with_what_came_later(name: str, place: Place, world: Marts, database: Settings) -> None:
    """Labels too: examples of `day` are the same whatever the marts hold of later days."""
    day = BEGINS + timedelta(days=112)
    found = []
    for slug, rows in ((f"seen_{name}", world), (f"unseen_{name}", falsified(world, day))):
        with open_marts(place(slug, rows), database) as marts:
            found.append(problem(name).gather(marts, day))
    honest, other = found
    if name == "forecast":  # the marts say which days are final; in the second world all of them are
        kept = other.moments <= honest.moments.max()
        np.testing.assert_array_equal(honest.x, other.x[kept])
        np.testing.assert_array_equal(honest.y, other.y[kept])
        return
    assert honest.fingerprint == other.fingerprint
    assert honest.y.sum() > 20


def test_the_features_of_training_are_those_of_the_night(place: Place, world: Marts, database: Settings) -> None:
    """A payer's features are the same whether they are gathered later or were made on that very day."""
    tenant = place("twice", world)
    churn = problem("churn")
    as_of = DAY - timedelta(days=7 * 8)
    with open_marts(tenant, database) as marts:
        gathered = churn.gather(marts, DAY)
        tonight = churn.today(marts, as_of)
    mine = gathered.x[gathered.more["as_of"] == np.datetime64(as_of)]
    assert len(mine) > 100
    known = {row.tobytes() for row in tonight.x}
    assert all(row.tobytes() in known for row in mine)


def test_no_outcome_is_learned_before_it_is_final(place: Place, world: Marts, database: Settings) -> None:
    with open_marts(place("mature", world), database) as marts:
        examples = problem("churn").gather(marts, DAY)
    latest = np.datetime64(DAY - timedelta(days=GRACE + FINAL))
    assert examples.moments.max() <= latest
    assert examples.moments.max() >= latest - 3
    assert (examples.more["as_of"] < examples.moments).all()


def test_no_provisional_day_is_a_target(place: Place, world: Marts, database: Settings) -> None:
    with open_marts(place("final", world), database) as marts:
        examples = problem("forecast").gather(marts, DAY)
    assert examples.moments.max() == np.datetime64(DAY - timedelta(days=FINAL))
    assert set(examples.segments) == {"stream_count", "listeners_1d", "net_amount"}


def test_only_payers_whose_period_ends_within_the_horizon_are_asked_about(place: Place, world: Marts, database: Settings) -> None:
    yearly = copy.deepcopy(world)
    yearly.rows["subscription_periods"].append(
        (
            "year",
            T - timedelta(days=5),
            T + timedelta(days=360),
            "0" * 16,
            "yearly",
            "paid",
            "year",
            99.0,
            "FR",
            None,
            None,
            DAY + timedelta(days=400),
        )
    )
    yearly.rows["subscription_periods"].append(
        ("trial", T - timedelta(days=5), T + timedelta(days=9), "1" + "0" * 15, "monthly", "trial", "month", 0.0, "FR", None, None, DAY)
    )
    listed = set(rows_of("churn", place("horizon", yearly), database, T).keys["listener_key"])
    running = {row[3] for row in world.rows["subscription_periods"] if row[1] <= T < row[2]}
    assert listed == running


def test_a_rise_of_the_price_is_told_by_the_periods_that_began(place: Place, world: Marts, database: Settings) -> None:
    risen = copy.deepcopy(world)
    rise = T - timedelta(days=10)
    risen.rows["subscription_periods"] = [
        (*row[:7], 12.99 if row[1] >= rise and row[8] == "FR" else row[7], *row[8:]) for row in risen.rows["subscription_periods"]
    ]
    tenant = place("price", risen)
    column = problem("churn").features.index("price_rise")
    rows = rows_of("churn", tenant, database, T)
    country = {row[3]: row[8] for row in risen.rows["subscription_periods"]}
    french = np.array([country[key] == "FR" for key in rows.keys["listener_key"]])
    np.testing.assert_allclose(rows.x[french, column], np.log(12.99 / 9.99), rtol=1e-5)
    assert (rows.x[~french, column] == 0).all()
    assert (rows_of("churn", tenant, database, rise - timedelta(days=1)).x[:, column] == 0).all()


def test_a_tenant_without_listeners_still_has_churn(place: Place, world: Marts, database: Settings) -> None:
    tenant = place("unlisted", world)
    with_listeners = rows_of("churn", tenant, database, T)
    world.drop(tenant, database, "listener_facts")
    without = rows_of("churn", tenant, database, T)
    tenure = problem("churn").features.index("tenure_days")
    np.testing.assert_array_equal(np.delete(with_listeners.x, tenure, 1), np.delete(without.x, tenure, 1))
    assert not np.isnan(without.x[:, tenure]).any()


def test_a_mart_that_is_not_there_is_a_reason(provisioned: Callable[[Tenant], Tenant], database: Settings) -> None:
    tenant = provisioned(make_tenant("empty", "plays", "subscription_events", "tracks"))
    for name in ("churn", "forecast", "genre"):
        with open_marts(tenant, database) as marts, pytest.raises(TooLittle, match="not published yet"):
            problem(name).gather(marts, DAY)


def test_genres_that_are_too_rare_are_left_out(place: Place, world: Marts, database: Settings) -> None:
    rare = copy.deepcopy(world)
    rare.rows["track_facts"] = [
        (*row[:3], "polka", *row[4:]) if number % 100 == 1 else row for number, row in enumerate(rare.rows["track_facts"])
    ]
    with open_marts(place("rare", rare), database) as marts:
        examples = problem("genre").gather(marts, DAY)
    assert "polka" not in examples.more["genres"]
    assert sorted(examples.more["genres"]) == ["folk", "house", "jazz", "metal"]


def test_a_tenant_reads_its_own_marts_only(place: Place, world: Marts, database: Settings) -> None:
    place("own_a", world)
    stranger = place("own_b", world)
    with pytest.raises(Exception, match="permission denied"), open_marts(stranger, database) as marts:
        marts.read("SELECT * FROM own_a_marts.listener_days")
