"""The cent: money is the same in silver and in the warehouse, and revenue is the money of the warehouse at the day's rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

from nocturne.datasets import Dataset, Type
from nocturne.gates.reconciliation import WHOLE, AmountTerms
from nocturne.lake import duck, name, table
from nocturne.postgres import Connection, statement
from nocturne.settings import Settings
from nocturne.tenants import Tenant

_PAYMENTS: Final = """
    SELECT paid_on AS revenue_on, currency,
        CASE status WHEN 'succeeded' THEN amount ELSE 0 END AS gross,
        CASE status WHEN 'refunded' THEN amount ELSE 0 END AS refund,
        CASE status WHEN 'refunded' THEN -1 ELSE 1 END * coalesce(tax_amount, 0) AS tax
    FROM {raw}.payments WHERE status IN ('succeeded', 'refunded') AND {paid}
"""
_IMPRESSIONS: Final = "SELECT shown_on, currency, revenue_amount, 0, 0 FROM {raw}.ad_impressions WHERE {shown}"
_WAREHOUSE: Final = """
SELECT money.revenue_on::text, sum(money.gross * fx.rate), sum(money.refund * fx.rate), sum(money.tax * fx.rate)
FROM ({money}) AS money JOIN {build}.int_fx AS fx
    ON fx.currency = money.currency AND money.revenue_on >= fx.valid_from_on AND money.revenue_on < fx.valid_to_on
GROUP BY 1
"""
_MART: Final = """
SELECT revenue_on::text, sum(gross_amount), sum(refund_amount), sum(tax_amount), count(*)
FROM {build}.revenue_days WHERE {asked} GROUP BY 1
"""
_HALF: Final = Decimal("0.0000005")
"""What rounding to the millionth can add to an amount of the mart, or take from it."""


def loaded_amounts(
    connection: Connection, tenant: Tenant, settings: Settings, dataset: Dataset, parts: Sequence[date]
) -> list[AmountTerms]:
    """Every amount of a dataset in silver beside the warehouse: of the event dates `parts`, of a reference dataset as a whole.

    Reads the columns of money in the lake's partitions and in `<slug>_raw`.
    """
    amounts = [column.name for column in dataset.columns if column.type is Type.MONEY]
    if not amounts or not parts:
        return []
    on = dataset.event_date
    sums = ", ".join(f"coalesce(sum({name(column)}), 0)" for column in amounts)
    wanted, where = ([part.isoformat() for part in parts], f"WHERE {on} = ANY(%s)") if on else (None, "")
    part = f"{on}::text" if on else f"'{WHOLE}'"
    with duck(settings) as lake:
        rows = table(settings, tenant, "silver", dataset).scan(*([on] if on else []), *amounts, parts=wanted)
        silver = _by_part(lake.execute(f"SELECT {part}, {sums} FROM {rows} GROUP BY 1").fetchall())
    query = statement(f"SELECT {part}, {sums} FROM {tenant.raw_schema}.{dataset.name} {where} GROUP BY 1")
    warehouse = _by_part(connection.execute(query, (list(parts),) if on else None).fetchall())
    none = (Decimal(0),) * len(amounts)
    return [
        AmountTerms(dataset.name, one, column, "silver", silver.get(one, none)[place], "the warehouse", warehouse.get(one, none)[place])
        for one in sorted({*silver, *warehouse})
        for place, column in enumerate(amounts)
    ]


def revenue_amounts(connection: Connection, tenant: Tenant, days: Sequence[date] | None) -> list[AmountTerms]:
    """What was paid and what impressions brought, at the day's rate, beside `revenue_days`; of these days, or of all.

    Reads `<slug>_raw` and `<slug>_build`. Money in a currency without a rate is on neither side: the mart counts it.
    """
    sides = [text for dataset, text in (("payments", _PAYMENTS), ("ad_impressions", _IMPRESSIONS)) if tenant.has(dataset)]
    asked = {
        key: "true" if days is None else f"{column} = ANY(%(days)s)"
        for key, column in (("paid", "paid_on"), ("shown", "shown_on"), ("asked", "revenue_on"))
    }
    names = {"raw": tenant.raw_schema, "build": tenant.build_schema, **asked}
    given = {"days": list(days or ())}
    money = " UNION ALL ".join(text.format(**names) for text in sides)
    warehouse = _by_part(connection.execute(statement(_WAREHOUSE.format(money=money, **names)), given).fetchall())
    mart = _by_part(connection.execute(statement(_MART.format(**names)), given).fetchall())
    none = (Decimal(0),) * 4
    return [
        AmountTerms(
            *("revenue_days", one, amount, "the warehouse", warehouse.get(one, none)[place], "the mart", mart.get(one, none)[place]),
            tolerance=_HALF * mart.get(one, none)[-1],
        )
        for one in sorted({*warehouse, *mart})
        for place, amount in enumerate(("gross_amount", "refund_amount", "tax_amount"))
    ]


def _by_part(rows: Iterable[Sequence[Any]]) -> dict[str, tuple[Decimal, ...]]:
    return {str(part): tuple(map(Decimal, amounts)) for part, *amounts in rows}
