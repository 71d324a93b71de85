"""What a report prints in several places is one number."""

from __future__ import annotations

from decimal import Decimal

import pytest

from nocturne.reports.agreement import printed
from nocturne.reports.chapters import compose
from nocturne.reports.document import Notes
from nocturne.reports.material import Material
from nocturne.tenants import Tenant
from tests.unit.reports.rows import DAY, activity, deliveries, made

LAYERS = {
    "dataset": "plays",
    "silver_count": 42_000,
    "warehouse_count": 42_000,
    "joined_count": 0,
    "zero_length_count": 0,
    "difference_count": 0,
}
STREAMS = 7 * 1_000 + 21 * 800


def told(**changes: int) -> Material:
    """Two years of activity of which 28 days are printed again by marts, hour and country, and revenue of two days by country."""
    counts = {"mart_count": 28 * 1_500, "hours": STREAMS, "countries": STREAMS, "cents": 0} | changes
    revenue = [
        {"day": DAY, "stream_of_revenue": "subscription", "gross_amount": Decimal(12), "net_amount": Decimal("10.49")},
        {"day": DAY.replace(year=2025), "stream_of_revenue": "subscription", "gross_amount": Decimal(9), "net_amount": Decimal(9)},
    ]
    return made(
        activity=activity(400),
        layers=[LAYERS | {"mart_count": counts["mart_count"]}],
        hours=[{"weekday": 1, "hour": 8, "stream_count": counts["hours"] - 5}, {"weekday": 1, "hour": 9, "stream_count": 5}],
        countries=[{"country": None, "streams_28d": counts["countries"], "streams_28d_before": 0}],
        revenue=revenue,
        revenue_countries=[
            {"country": "FR", "net_amount": Decimal("10.49") + Decimal(counts["cents"]) / 100, "net_amount_before": Decimal(0)}
        ],
        reconciliation=deliveries(),
    )


def test_the_same_number_stands_everywhere() -> None:
    plays, streams, revenue = printed(told())
    assert plays.agrees and streams.agrees and revenue.agrees
    assert plays.sums == {"in marts": 42_000, "by day": 42_000}
    assert streams.sums == {"by day": STREAMS, "by hour": STREAMS, "by country": STREAMS}
    assert revenue.sums == {"by day": Decimal("10.49"), "by country": Decimal("10.49")}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mart_count": 41_999}, "plays of 28 days: 41999 in marts, 42000 by day"),
        ({"hours": STREAMS + 1}, "streams of 28 days: 23800 by day, 23801 by hour, 23800 by country"),
        ({"cents": -1}, "net revenue of 28 days: 10.49 by day, 10.48 by country"),
    ],
)
def test_one_row_or_one_cent_that_is_not_the_same_is_told_on_the_page(tenant: Tenant, change: dict[str, int], says: str) -> None:
    page = next(each for each in compose(tenant, told(**change)).pages if each.name == "data")
    assert ("bad", (f"Not the same everywhere in this report, {says}.",)) in [
        (block.tone, block.texts) for block in page.blocks if isinstance(block, Notes)
    ]


def test_what_is_printed_once_is_compared_with_nothing() -> None:
    assert printed(made(activity=activity())) == ()
