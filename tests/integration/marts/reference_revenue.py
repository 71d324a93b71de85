"""Revenue by tier once more, in plain Python: a payer's tier is looked for day by day, backwards from the payment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from tests.integration.marts.reference_subscriptions import Subscribing
from tests.integration.marts.world import Row

Key = tuple[Any, ...]
Table = dict[Key, Row]

KEYS = {
    "tier_revenue_days": ("revenue_on", "country", "tier", "stream_of_revenue"),
    "tier_revenue_months": ("month_on", "country", "tier", "stream_of_revenue"),
}
AMOUNTS = ("gross_amount", "refund_amount", "tax_amount", "net_amount")


@dataclass(frozen=True)
class Revenue:
    """What is needed to say what the marts by tier hold; `subscribing` is None for a tenant without subscriptions."""

    rows: Mapping[str, Sequence[Row]]
    rate: Callable[[str, date], Decimal | None]
    subscribing: Subscribing | None

    def all(self) -> dict[str, Table]:
        """Its marts."""
        days = self._days()
        months: Table = {}
        for (on, *rest), row in days.items():
            total = months.setdefault((on.replace(day=1), *rest), dict.fromkeys(row, 0))
            for name in (*AMOUNTS, "transaction_count", "unconverted_count"):
                total[name] += row[name]
        for key, row in [*days.items(), *months.items()]:
            row["ecpm_amount"] = _ecpm(row) if key[-1] == "advertising" else None
        return {"tier_revenue_days": days, "tier_revenue_months": months}

    def _days(self) -> Table:
        found: Table = {}
        for row in self.rows.get("payments", []):
            if row["status"] != "failed":
                is_refund = row["status"] == "refunded"
                amount, tax = Decimal(str(row["amount"])), Decimal(str(row.get("tax_amount") or 0))
                taken = (Decimal(0), amount, -tax) if is_refund else (amount, Decimal(0), tax)
                key = (row["paid_on"], row.get("country") or "ZZ", self._tier(row.get("listener_key"), row["paid_on"]), "subscription")
                self._take(found, key, taken, row["currency"])
        for row in self.rows.get("ad_impressions", []):
            key = (row["shown_on"], row.get("country") or "ZZ", "free", "advertising")
            self._take(found, key, (Decimal(str(row["revenue_amount"])), Decimal(0), Decimal(0)), row["currency"])
        for numbers in found.values():
            for name in AMOUNTS[:3]:
                numbers[name] = numbers[name].quantize(Decimal("0.000001"), ROUND_HALF_UP)
            numbers["net_amount"] = numbers["gross_amount"] - numbers["refund_amount"] - numbers["tax_amount"]
        return found

    def _take(self, found: Table, key: Key, taken: tuple[Decimal, ...], currency: str) -> None:
        nothing = dict.fromkeys(AMOUNTS, Decimal(0)) | {"transaction_count": 0, "unconverted_count": 0}
        numbers = found.setdefault(key, nothing)
        rate = self.rate(currency, key[0])
        numbers["transaction_count"] += 1
        numbers["unconverted_count"] += rate is None
        for name, amount in zip(AMOUNTS, taken, strict=False):
            numbers[name] += amount * (rate or 0)

    def _tier(self, listener: str, on: date) -> str:
        life = [p for p in self.subscribing.periods if p["listener_key"] == listener] if self.subscribing else []
        first = min((period["period_from_on"] for period in life), default=on)
        while self.subscribing and on >= first:
            _, period = self.subscribing.state(life, on)
            if period and period["tier"]:
                return str(period["tier"])
            on -= timedelta(1)
        return "unknown"


def _ecpm(row: Row) -> Decimal | None:
    shown = row["transaction_count"] - row["unconverted_count"]
    if not shown:
        return None
    return Context(prec=40).divide(row["gross_amount"] * 1000, Decimal(shown)).quantize(Decimal("0.000001"), ROUND_HALF_UP)
