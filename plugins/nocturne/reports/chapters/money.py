"""Money of a service: recurring revenue and its bridge, who may leave, and revenue by where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from nocturne.reports import charts, formats
from nocturne.reports.chapters.listening import CHART_DAYS, forecasts_of
from nocturne.reports.charts import Bar, Line
from nocturne.reports.document import Block, Chart, Column, Page, Table
from nocturne.reports.formats import Unit
from nocturne.reports.material import Material, Row, Rows
from nocturne.reports.windows import Days, summed, total
from nocturne.tenants import Tenant

BRIDGE_DAYS: Final = 28
COURSE_DAYS: Final = 168
WEEKS: Final = 6
TOP: Final = 10
_STEPS: Final = (("New", 1), ("Expansion", 1), ("Reactivation", 1), ("Contraction", -1), ("Churn", -1))
_KINDS: Final = {"subscription": "Subscriptions", "advertising": "Advertising"}


def subscriptions(tenant: Tenant, material: Material) -> Page | None:
    """The page of recurring revenue; none without subscriptions."""
    rows = material.rows("subscriptions")
    if not rows:
        return None
    unit = formats.currency_unit(tenant.currency)
    days = Days(rows, "day")
    blocks: list[Block] = [
        _bridge(days.window(days.last, BRIDGE_DAYS), unit),
        *_courses(days, unit),
    ]
    if churn := material.rows("churn"):
        blocks.append(_risks(churn))
    if weeks := _bridge_weeks(days, tenant.currency):
        blocks.append(weeks)
    last = days[days.last]
    closing, each = (formats.money(last[column], tenant.currency) for column in ("closing_amount", "arppu_amount"))
    lead = (
        f"{closing} a month from {formats.count(last['payer_count'])} paying listeners at the end of {formats.short_date(days.last)}; "
        f"{each} for each of them (ARPPU). Trials are not counted."
    )
    return Page("subscriptions", "Subscriptions", lead, tuple(blocks))


def revenue(tenant: Tenant, material: Material) -> Page | None:
    """The page of revenue; none without it."""
    rows = material.rows("revenue")
    if not rows:
        return None
    unit = formats.currency_unit(tenant.currency)
    kinds = sorted({str(row["stream_of_revenue"]) for row in rows}, reverse=True)
    by_kind = {kind: [row for row in rows if str(row["stream_of_revenue"]) == kind] for kind in kinds}
    blocks: list[Block] = [
        _revenue_weeks(rows, by_kind, unit),
        _revenue_days(material, unit),
        _revenue_month(rows, by_kind, tenant.currency),
    ]
    if countries := material.rows("revenue_countries")[:TOP]:
        bars = [
            Bar(
                str(row["country"] or "not known"),
                float(row["net_amount"]),
                f"{unit.text(row['net_amount'])} ({formats.change(row['net_amount'], row['net_amount_before'])})",
            )
            for row in countries
        ]
        title = "Net revenue by territory, 28 days"
        blocks.append(charts.ranking("revenue_by_country", title, f"{title}, and the change on the 28 days before.", bars))
    lead = f"All amounts in {tenant.currency}, net of tax and refunds. A week is the seven days up to the named day."
    return Page("revenue", "Revenue", lead, tuple(blocks))


def _bridge(rows: Sequence[Row], unit: Unit) -> Chart:
    steps = [("Opening", float(rows[0]["opening_amount"]), True)]
    steps += [(label, sign * float(total(rows, f"{label.lower()}_amount")), False) for label, sign in _STEPS]
    steps.append(("Closing", float(rows[-1]["closing_amount"]), True))
    period = f"{formats.short_date(rows[0]['day'])} to {formats.short_date(rows[-1]['day'])}"
    description = (
        "How the opening MRR became the closing one: " + "; ".join(f"{label} {unit.text(value)}" for label, value, _ in steps) + "."
    )
    return charts.bridge("mrr_bridge", f"MRR bridge, {period}", description, steps, unit=unit)


def _courses(days: Days, unit: Unit) -> list[Chart]:
    span = days.span(COURSE_DAYS)
    period = f"from {span[0]} to {span[-1]}"
    closing, payers = days.course("closing_amount", span), days.course("payer_count", span)
    return [
        charts.lines(
            "mrr", "MRR at the end of the day", f"MRR {period}.", span, [Line("MRR", closing)], unit=unit, is_half=True, from_zero=False
        ),
        charts.lines(
            "payers", "Paying listeners", f"Paying listeners {period}.", span, [Line("payers", payers)], is_half=True, from_zero=False
        ),
    ]


def _bridge_weeks(days: Days, currency: str) -> Table | None:
    """The bridge of each of the last weeks of seven days up to the last day, as far as the history holds them; None without one."""
    shown = []
    for back in range(WEEKS):
        week = days.window(days.last - timedelta(days=7 * back), 7)
        if len(week) < 7:
            break
        steps = [total(week, f"{label.lower()}_amount") for label, _ in _STEPS]
        amounts = [week[0]["opening_amount"], *steps, week[-1]["closing_amount"]]
        shown.append((str(week[-1]["day"]), *(formats.money_short(value, currency) for value in amounts)))
    columns = (Column("7 days to"), *(Column(title, True) for title in ("Opening", *(label for label, _ in _STEPS), "Closing")))
    note = "Opening + new + expansion + reactivation − contraction − churn = closing."
    return Table("The bridge week by week", columns, tuple(shown), note) if shown else None


def _risks(rows: Rows) -> Chart:
    counts = [float(sum(row["listener_count"] for row in rows if row["tenth"] == tenth)) for tenth in range(10)]
    labels = [f"{tenth * 10}–{tenth * 10 + 10} %" for tenth in range(10)]
    return charts.stacked(
        "churn_risk",
        f"Payers due to renew within {rows[0]['horizon_days']} days, by their risk of leaving",
        "Paying listeners by the predicted probability that they churn.",
        labels,
        [Line("paying listeners", counts)],
        height=200,
    )


def _revenue_days(material: Material, unit: Unit) -> Chart:
    days = Days(summed(material.rows("revenue"), "day", ("net_amount",)), "day")
    span = days.span(CHART_DAYS)
    ahead = forecasts_of(material, "net_amount")
    return charts.course(
        "revenue_days",
        f"Net revenue a day, with the next {len(ahead)} days forecast" if ahead else "Net revenue a day",
        f"Net revenue of each day from {span[0]} to {span[-1]}.",
        span,
        days.course("net_amount", span),
        provisional=[False] * len(span),
        label="net revenue",
        forecasts=ahead,
        unit=unit,
        height=230,
    )


def _revenue_weeks(rows: Rows, by_kind: dict[str, list[Row]], unit: Unit) -> Chart:
    last, first = max(row["day"] for row in rows), min(row["day"] for row in rows)
    ends = [last - timedelta(days=7 * back) for back in range(12)][::-1]
    ends = [end for end in ends if end - timedelta(days=6) >= first] or [last]
    series = []
    for kind, own in by_kind.items():
        days = Days(summed(own, "day", ("net_amount",)), "day")
        series.append(Line(_KINDS.get(kind, kind), [float(total(days.window(end, 7), "net_amount")) for end in ends]))
    return charts.stacked(
        "revenue",
        "Net revenue a week, by where it comes from",
        f"Net revenue of weeks up to {last}.",
        [formats.day_and_month(end) for end in ends],
        series,
        unit=unit,
    )


def _revenue_month(rows: Rows, by_kind: dict[str, list[Row]], currency: str) -> Table:
    last = max(row["day"] for row in rows)
    shown = []
    for kind, own in by_kind.items():
        days = Days(summed(own, "day", ("gross_amount", "net_amount")), "day")
        now, before = days.window(last, 28), days.window(last - timedelta(days=28), 28)
        net, earlier = total(now, "net_amount"), total(before, "net_amount")
        gross = formats.money(total(now, "gross_amount"), currency)
        change = formats.change(net, earlier)
        shown.append((_KINDS.get(kind, kind), gross, formats.money(net, currency), formats.money(earlier, currency), change))
    columns = (Column("28 days", width=24), *(Column(title, True) for title in ("Gross", "Net", "Net before", "Change")))
    return Table("", columns, tuple(shown))
