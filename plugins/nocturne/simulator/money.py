"""What things cost: plans' prices, advertisements, exchange rates, and which currencies have no cents."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa

from nocturne.simulator.clock import Clock
from nocturne.simulator.parameters import WorldParameters
from nocturne.simulator.randomness import Floats, Ints, dice

_WITHOUT_CENTS = frozenset({"JPY", "KRW", "VND", "IDR", "CLP", "ISK"})
TAX = 1 / 6


def decimals(currency: str) -> int:
    """Decimals that amounts of a currency are shown with."""
    return 0 if currency in _WITHOUT_CENTS else 2


class Prices:
    """The price of every plan in every country, before and after each planted change."""

    def __init__(self, parameters: WorldParameters, clock: Clock) -> None:
        self.parameters = parameters
        self.changes = sorted((clock.number_of(change.happens_on), change) for change in parameters.events.price_changes)
        self._plans = [plan.plan_id for plan in parameters.plans]

    def on(self, day: int) -> Floats:
        """Prices (plan x country) of a day, in each country's currency."""
        base = np.array([plan.price for plan in self.parameters.plans])[:, None] * [country.prices for country in self.parameters.countries]
        for since, change in self.changes:
            if since <= day:
                base[self._plans.index(change.plan_id)] *= change.ratio
        cents = np.array([10.0 ** decimals(country.currency) for country in self.parameters.countries])
        return np.round(base * cents) / cents  # type: ignore[no-any-return]

    def of(self, plan: Ints, country: Ints, day: Ints) -> Floats:
        """The price of each payment, by the day on which it was due."""
        price = np.empty(len(plan))
        edges = [-(1 << 40), *(since for since, _ in self.changes), 1 << 40]
        for begins, ends in pairwise(edges):
            rows = (begins <= day) & (day < ends)
            price[rows] = self.on(begins)[plan[rows], country[rows]]
        return price


def exchange_rates(parameters: WorldParameters) -> tuple[list[str], Floats]:
    """(foreign currencies, rates by currency and day): a slow random walk around the rate of the beginning."""
    first = {country.currency: country.rate for country in parameters.countries if country.currency != parameters.currency}
    currencies = sorted(first)
    steps = dice(parameters.seed, "rates").standard_normal((len(currencies), parameters.days)) * 0.003
    steps[:, :1] = 0
    start = np.array([first[currency] for currency in currencies]).reshape(-1, 1)
    exact = start * np.exp(np.cumsum(steps, axis=1))
    return currencies, np.array([[float(f"{rate:.6g}") for rate in row] for row in exact.tolist()]).reshape(exact.shape)


def plans_table(parameters: WorldParameters, clock: Clock, prices: Prices) -> tuple[dict[str, pa.Array], Ints, Ints]:
    """(columns, day on which a row appears, day on which it is closed or ALWAYS) of the price list."""
    from nocturne.simulator.catalogue import ALWAYS
    from nocturne.simulator.columns import dates, micros, money, picked

    plan, country, since, until, amount = [], [], [], [], []
    for p, offered in enumerate(parameters.plans):
        edges = [-730, *(day for day, change in prices.changes if change.plan_id == offered.plan_id), ALWAYS]
        for begins, ends in pairwise(edges):
            for c, where in enumerate(parameters.countries):
                plan.append(p)
                country.append(c)
                since.append(begins)
                until.append(ends)
                amount.append(micros(prices.on(begins)[p, c : c + 1], decimals(where.currency))[0])
    plans, countries = np.array(plan), np.array(country)
    columns = {
        "plan_id": picked(plans, [p.plan_id for p in parameters.plans]),
        "country": picked(countries, [c.code for c in parameters.countries]),
        "valid_from_on": dates(clock.dates(np.array(since))),
        "tier": picked(plans, [p.tier for p in parameters.plans]),
        "billing_period": picked(plans, [p.billing_period for p in parameters.plans]),
        "price_amount": money(np.array(amount)),
        "currency": picked(countries, [c.currency for c in parameters.countries]),
    }
    return columns, np.array(since), np.array(until)
