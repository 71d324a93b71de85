"""The cover: the key figures against the week before, and the weightiest of what changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from nocturne.reports import formats
from nocturne.reports.chapters.changes import findings, headlines_of
from nocturne.reports.document import Block, Findings, KeyFigure, KeyFigures, Notes
from nocturne.reports.material import Material, Row
from nocturne.reports.windows import Days, summed, tone, total, weighted
from nocturne.tenants import Tenant

SPARK_DAYS: Final = 28
_WEEK_BEFORE: Final = "on the 7 days before"


def cover(tenant: Tenant, material: Material) -> tuple[Block, ...]:
    """The blocks of the first page."""
    figures = [*_listening(material), *_recurring(tenant, material), *_revenue(tenant, material), *_royalties(tenant, material)]
    figures += _risk(material)
    blocks: list[Block] = [Notes("", held, "bad")] if (held := _held(material)) else []
    blocks += [KeyFigures(tuple(figures))] if figures else []
    if headlines := headlines_of(findings(material)):
        blocks.append(Findings("What changed", headlines))
    return tuple(blocks)


def _held(material: Material) -> tuple[str, ...]:
    """Why the night published nothing, if publishing is held: the figures are then those of an earlier night."""
    return tuple(warning for outcome in material.outcomes if outcome.station == "publish_marts" for warning in outcome.warnings)


def _listening(material: Material) -> list[KeyFigure]:
    rows = material.rows("activity")
    if not rows:
        return []
    days = Days(rows, "played_on")
    week, before = days.week_and_before()
    provisional = any(not row["is_final"] for row in week)
    today, earlier = days[days.last], days.get(days.last - timedelta(days=7))

    def spark(column: str) -> list[float | None]:
        return days.course(column, days.span(SPARK_DAYS))

    def window(name: str, label: str, column: str, show: Callable[[Any], str]) -> KeyFigure:
        now, then = total(week, column), total(before, column)
        change = formats.change(now, then)
        return KeyFigure(name, label, show(now), change, _WEEK_BEFORE, tone(now, then, change), provisional, spark(column))

    def ratio(name: str, label: str, column: str, better: int) -> KeyFigure | None:
        now, then = (weighted(rows, column, "play_count") for rows in (week, before))
        if now is None:
            return None
        change = formats.points(now, then)
        verdict = tone(now, then, change, better)
        return KeyFigure(name, label, formats.percent(now), change, _WEEK_BEFORE, verdict, provisional, spark(column))

    now, then = today["listeners_28d"], earlier["listeners_28d"] if earlier else None
    change = formats.change(now, then)
    verdict = tone(now, then, change)
    figures = [
        window("streams", "Streams, 7 days", "stream_count", formats.short),
        KeyFigure(
            "listeners", "Listeners, 28 days", formats.short(now), change, "on a week before", verdict, provisional, spark("listeners_28d")
        ),
        window("play_time", "Play time, 7 days", "play_time_ms", formats.hours),
        ratio("skip_rate", "Skip rate, 7 days", "skip_ratio", -1),
        window("new_listeners", "New listeners, 7 days", "new_listener_count", formats.short),
    ]
    return [figure for figure in figures if figure]


def _recurring(tenant: Tenant, material: Material) -> list[KeyFigure]:
    rows = material.rows("subscriptions")
    if not rows:
        return []
    days = Days(rows, "day")
    earlier = days.get(days.last - timedelta(days=7))
    now, then = days[days.last]["closing_amount"], earlier["closing_amount"] if earlier else None
    spark = days.course("closing_amount", days.span(SPARK_DAYS))
    shown, change = formats.money_short(now, tenant.currency), formats.change(now, then)
    return [KeyFigure("mrr", "MRR", shown, change, "on a week before", tone(now, then, change), spark=spark)]


def _revenue(tenant: Tenant, material: Material) -> list[KeyFigure]:
    rows = summed(material.rows("revenue"), "day", ("net_amount",))
    if not rows:
        return []
    days = Days(rows, "day")
    week, before = days.week_and_before()
    now, then = total(week, "net_amount"), total(before, "net_amount")
    shown, change = formats.money_short(now, tenant.currency), formats.change(now, then)
    spark = days.course("net_amount", days.span(SPARK_DAYS))
    return [KeyFigure("revenue", "Net revenue, 7 days", shown, change, _WEEK_BEFORE, tone(now, then, change), spark=spark)]


def _royalties(tenant: Tenant, material: Material) -> list[KeyFigure]:
    months: Sequence[Row] = summed(material.rows("statements"), "month", ("net_amount",))
    if not months:
        return []
    now, then = months[-1]["net_amount"], months[-2]["net_amount"] if len(months) > 1 else None
    label = f"Royalties, {formats.month(months[-1]['month'])}"
    spark = [float(row["net_amount"]) for row in months[-12:]]
    shown, change = formats.money_short(now, tenant.currency), formats.change(now, then)
    return [KeyFigure("royalties", label, shown, change, "on the month before", tone(now, then, change), spark=spark)]


def _risk(material: Material) -> list[KeyFigure]:
    rows = material.rows("churn")
    if not rows:
        return []
    due, expected = total(rows, "listener_count"), total(rows, "expected_count")
    label = f"Expected to leave in {rows[0]['horizon_days']} days"
    against = f"of {formats.short(due)} payers due to renew"
    return [KeyFigure("churn_risk", label, formats.short(expected), formats.percent(expected / due), against)]
