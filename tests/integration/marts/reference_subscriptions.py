"""The definitions of subscriptions once more, in plain Python: a listener's state is looked up on every day anew."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from typing import Any

from tests.integration.marts.reference_rights import month_of, months_before
from tests.integration.marts.world import Row

Key = tuple[Any, ...]
Table = dict[Key, Row]

KEYS = {
    "plan_days": ("day_on", "plan_id", "country"),
    "trial_weeks": ("cohort_on", "plan_id"),
    "subscription_months": ("month_on",),
    "payer_cohorts": ("cohort_on", "month_number"),
}
STATES = ("paying", "trial", "grace", "churned")


@dataclass(frozen=True)
class Subscribing:
    """What is needed to say what the domain's marts hold. `mrr` and `activity` are mrr_days and activity_days."""

    periods: Sequence[Row]
    countries: Mapping[str, str | None]
    mrr: Table
    activity: Table
    today: date
    rule: Callable[[str, date], Any]
    week_of: Callable[[date], date]

    def all(self) -> dict[str, Table]:
        """Its marts."""
        plan_days = self._plan_days()
        return {"plan_days": plan_days, "trial_weeks": self._trials(), "subscription_months": self._months(plan_days)}

    def _of_listeners(self) -> Iterator[tuple[str, list[Row]]]:
        lives: dict[str, list[Row]] = defaultdict(list)
        for period in self.periods:
            lives[period["listener_key"]].append(period)
        yield from lives.items()

    # states --------------------------------------------------------------------------------------------------------------
    def _plan_days(self) -> Table:
        counts: dict[Key, Counter[str]] = defaultdict(Counter)
        for listener, life in self._of_listeners():
            on = min(period["period_from_on"] for period in life)
            while on <= self.today:
                state, period = self.state(life, on)
                if state and period:
                    counts[on, period["plan_id"], self.countries.get(listener) or "ZZ"][state] += 1
                on += timedelta(1)
        return {key: {f"{state}_count": count[state] for state in STATES} for key, count in counts.items()}

    def state(self, life: Sequence[Row], on: date) -> tuple[str | None, Row | None]:
        """The state of a listener with these periods at the end of a day, and the period that it comes from."""
        for state in STATES:
            there = [period for period in life if self._is(state, period, on)]
            if there:
                newest = max(period["period_from_on"] for period in there)
                return state, min((p for p in there if p["period_from_on"] == newest), key=lambda p: p["subscription_id"])
        return None, None

    def _is(self, state: str, period: Row, on: date) -> bool:
        is_paid, ends = period["kind"] == "paid", period["period_to_on"]
        if state in {"paying", "trial"}:
            return is_paid == (state == "paying") and period["period_from_on"] <= on < ends
        if not is_paid or on < ends:
            return False
        is_over = (on - ends).days >= self.rule("churn_grace_days", ends)
        return is_over == (state == "churned")

    # trials --------------------------------------------------------------------------------------------------------------
    def _trials(self) -> Table:
        cohorts: dict[Key, list[Row]] = defaultdict(list)
        for period in self.periods:
            if period["opened_by"] == "trial_started":
                cohorts[self.week_of(period["period_from_on"]), period["plan_id"]].append(period)
        found: Table = {}
        for (week, plan), trials in cohorts.items():
            is_settled = week + timedelta(6) <= self.today and all(trial["is_settled"] for trial in trials)
            converted = sum(bool(trial["is_converted"]) for trial in trials)
            found[week, plan] = {
                "trial_count": len(trials),
                "converted_count": converted if is_settled else None,
                "conversion_ratio": converted / len(trials) if is_settled else None,
                "is_settled": is_settled,
            }
        return found

    # months --------------------------------------------------------------------------------------------------------------
    def _months(self, plan_days: Table) -> Table:
        found: Table = {}
        for month in {on.replace(day=1) for on, _, _ in plan_days}:
            following = (month + timedelta(31)).replace(day=1)
            last = min(following - timedelta(1), self.today)
            found[month,] = self._month(month, following, last, plan_days)
        return found

    def _month(self, month: date, following: date, last: date, plan_days: Table) -> Row:
        eve = month - timedelta(1)
        opening = sum(counts["paying_count"] for (on, _, _), counts in plan_days.items() if on == eve)
        span = (following - month).days
        settles = max(day + timedelta(self.rule("churn_grace_days", day)) for day in (month + timedelta(n) for n in range(span)))
        reasons = Counter(self._reasons(month, following)) if settles <= self.today else None
        mrr, payers = (self.mrr.get((last,), {}).get(name, 0) for name in ("closing_amount", "payer_count"))
        active = self.activity.get((last,), {}).get("listeners_28d")
        margin = 1 - Fraction(str(self.rule("pool_share", last)))
        churned = None if reasons is None else sum(reasons.values())

        def of_opening(count: int | None) -> float | None:
            return None if count is None or not opening else count / opening

        voluntary, failed, unknown = (None if reasons is None else reasons[name] for name in ("voluntary", "payment_failure", "unknown"))
        return {
            "last_on": last,
            "opening_payer_count": opening,
            "churned_payer_count": churned,
            "voluntary_churn_count": voluntary,
            "payment_failure_churn_count": failed,
            "unknown_churn_count": unknown,
            "churn_ratio": of_opening(churned),
            "voluntary_churn_ratio": of_opening(voluntary),
            "payment_failure_churn_ratio": of_opening(failed),
            "is_settled": reasons is not None,
            "payer_count": payers,
            "active_listener_count": active,
            "mrr_amount": mrr,
            "arpu_amount": _money(Fraction(mrr) / active) if active else None,
            "arppu_amount": _money(Fraction(mrr) / payers) if payers else None,
            "margin_ratio": float(margin),
            "ltv_amount": _money(Fraction(mrr) / active * margin / Fraction(churned, opening)) if active and churned and opening else None,
        }

    def _reasons(self, month: date, following: date) -> Iterator[str]:
        """Why each of those left who paid on the eve of the month and churned in it."""
        eve = month - timedelta(1)
        for _, life in self._of_listeners():
            paid = [period for period in life if period["kind"] == "paid"]
            left = [period for period in paid if period["churned_on"] is not None and month <= period["churned_on"] < following]
            if left and any(self._is("paying", period, eve) for period in paid):
                yield min(left, key=lambda period: (period["churned_on"], period["subscription_id"]))["churn_reason"]


def payer_cohorts(payments: Sequence[Row], periods: Sequence[Row], today: date) -> Table:
    """Every cohort of first payments, month by month: who pays, or has paid for the month."""
    paid: dict[str, list[date]] = defaultdict(list)
    held: dict[str, list[tuple[date, date]]] = defaultdict(list)
    for payment in payments:
        if payment["status"] == "succeeded" and payment["amount"] and payment.get("listener_key"):
            paid[payment["listener_key"]].append(payment["paid_on"])
    for period in periods:
        if period["kind"] == "paid":
            held[period["listener_key"]].append((period["period_from_on"], period["period_to_on"] - timedelta(1)))
    cohorts: dict[date, list[str]] = defaultdict(list)
    for listener, days in paid.items():
        cohorts[month_of(min(days))].append(listener)
    found: Table = {}
    for cohort, members in cohorts.items():
        month, number = cohort, 0
        while month <= today:
            last = months_before(month, -1) - timedelta(1)
            active = sum(
                any(month <= on <= last for on in paid[listener])
                or any(first <= last and until >= month for first, until in held[listener])
                for listener in members
            )
            is_over = last <= today
            found[cohort, number] = {
                "payer_count": len(members),
                "retained_count": active if is_over else None,
                "retention_ratio": active / len(members) if is_over else None,
            }
            month, number = last + timedelta(1), number + 1
    return found


def _money(value: Fraction) -> Decimal:
    many = Context(prec=60, rounding=ROUND_HALF_UP)
    return many.divide(Decimal(value.numerator), Decimal(value.denominator)).quantize(Decimal("0.000001"), ROUND_HALF_UP)
