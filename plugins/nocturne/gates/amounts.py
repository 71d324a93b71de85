"""The cent: money is the same in silver and in the warehouse, and revenue is the money of the warehouse at the day's rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from nocturne.datasets import Dataset, Type
from nocturne.gates.reconciliation import WHOLE, AmountTerms
from nocturne.lake import Connection as DuckDB
from nocturne.lake import Table, name
from nocturne.postgres import Connection, statement
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

_Side = tuple[str, Mapping[str, tuple[Decimal, ...]]]
"""What a side is called, and its sums of each part."""


def loaded_amounts(
    connection: Connection, lake: DuckDB, silver: Table, tenant: Tenant, dataset: Dataset, parts: Sequence[date]
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
    rows = silver.scan(*([on] if on else []), *amounts, parts=wanted)
    before = _by_part(lake.execute(f"SELECT {part}, {sums} FROM {rows} GROUP BY 1").fetchall())
    query = statement(f"SELECT {part}, {sums} FROM {tenant.raw_schema}.{dataset.name} {where} GROUP BY 1")
    behind = _by_part(connection.execute(query, (list(parts),) if on else None).fetchall())
    return _beside(dataset.name, amounts, ("silver", before), ("the warehouse", behind))


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
    terms = _beside("revenue_days", ("gross_amount", "refund_amount", "tax_amount"), ("the warehouse", warehouse), ("the mart", mart))
    return [replace(one, tolerance=_HALF * mart[one.part][-1]) if one.part in mart else one for one in terms]


def _beside(table: str, amounts: Sequence[str], before: _Side, behind: _Side) -> list[AmountTerms]:
    """The amounts of every part that either side has; a side without the part has none of it."""
    (place_before, sums_before), (place_behind, sums_behind) = before, behind
    none = (Decimal(0),) * len(amounts)
    return [
        AmountTerms(table, part, amount, place_before, sums_before.get(part, none)[n], place_behind, sums_behind.get(part, none)[n])
        for part in sorted({*sums_before, *sums_behind})
        for n, amount in enumerate(amounts)
    ]


def _by_part(rows: Iterable[Sequence[Any]]) -> dict[str, tuple[Decimal, ...]]:
    return {str(part): tuple(map(Decimal, amounts)) for part, *amounts in rows}
