"""Money of a label: what services report and pay, and who holds what is played."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Final

from nocturne.reports import charts, formats
from nocturne.reports.charts import Line
from nocturne.reports.document import Block, Chart, Column, Page, Table
from nocturne.reports.material import Material, Row, Rows
from nocturne.tenants import Tenant

MONTHS: Final = 12
SERVICES: Final = 6
TOP: Final = 8
HOLDERS: Final = 15


def royalties(tenant: Tenant, material: Material) -> Page | None:
    """The page of statements and holders; none without both."""
    rows, holders = material.rows("statements"), material.rows("holders")
    blocks: list[Block] = []
    if rows:
        latest = max(row["month"] for row in rows)
        blocks += [_months(rows, tenant.currency), _services([row for row in rows if row["month"] == latest], tenant.currency)]
        if tracks := material.rows("statement_tracks"):
            blocks.append(_tracks(tracks, tenant.currency))
    if holders:
        blocks.append(_holders(holders))
    if not blocks:
        return None
    lead = f"As the services' statements report them, by the month of their period, in {tenant.currency}." if rows else ""
    if holders and not tenant.sees_whole_market:
        lead += " A market share cannot be said: only own streams are seen."
    return Page("royalties", "Royalties and rights", lead.strip(), tuple(blocks))


def _months(rows: Rows, currency: str) -> Chart:
    months = sorted({row["month"] for row in rows})[-MONTHS:]
    cells: dict[str, dict[object, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for row in rows:
        cells[str(row["service"] or "not named")][row["month"]] += row["net_amount"]
    ordered = sorted(cells, key=lambda service: (-sum(cells[service].values()), service))
    named = ordered if len(ordered) <= SERVICES else ordered[: SERVICES - 1]
    series = [Line(service, [float(cells[service][month]) for month in months]) for service in named]
    if rest := ordered[len(named) :]:
        series.append(Line("other", [float(sum(cells[service][month] for service in rest)) for month in months]))
    return charts.stacked(
        "royalties",
        "Royalties by month and service",
        f"Net amounts of statements from {formats.month(months[0])} to {formats.month(months[-1])}.",
        [formats.month_short(month) for month in months],
        series,
        unit=formats.currency_unit(currency),
    )


def _services(rows: list[Row], currency: str) -> Table:
    columns = (Column("Service", width=34), *(Column(title, True) for title in ("Streams reported", "Net amount", "Per 1 000 streams")))
    shown = [
        (
            str(row["service"] or "not named"),
            formats.count(row["stream_count"]),
            formats.money(row["net_amount"], currency),
            formats.money(row["net_amount"] * 1000 / row["stream_count"] if row["stream_count"] else None, currency),
        )
        for row in sorted(rows, key=lambda row: (-row["net_amount"], str(row["service"])))
    ]
    return Table(f"By service, {formats.month(rows[0]['month'])}", columns, tuple(shown))


def _tracks(rows: Rows, currency: str) -> Table:
    columns = (Column("Track", width=38), Column("Artist", width=26), Column("Streams reported", True), Column("Net amount", True))
    shown = [
        (
            formats.shortened(str(row["title"] or row["track_id"] or "not matched"), 64),
            formats.shortened(str(row["artist_name"] or formats.UNKNOWN), 48),
            formats.count(row["stream_count"]),
            formats.money(row["net_amount"], currency),
        )
        for row in rows[:TOP]
    ]
    return Table(f"Tracks that earned most, {formats.month(rows[0]['month'])}", columns, tuple(shown))


def _holder(row: Row) -> str:
    return "held by nobody known" if row["holder_id"] == "(unassigned)" else str(row["holder_name"] or row["holder_id"])


def _holders(rows: Rows) -> Table:
    part = "Market share, 28 days" if rows[0]["is_market_share"] else "Part of the streams seen"
    shown = [(_holder(row), formats.count(row["stream_count"]), formats.percent(row["part_ratio"])) for row in rows[:HOLDERS]]
    columns = (Column("Holder", width=40), Column("Streams by share, 28 days", True), Column(part, True))
    return Table("Rights holders", columns, tuple(shown))
