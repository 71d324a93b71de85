"""What a dataset looks like as it is delivered: empty values, distinct ones, quantiles, common values; nothing of a person.

Of a column that knows of a person, and of identifiers, no value is told. Of other texts only values that stand in SMALLEST rows or more,
and of rarer ones their form alone (letters as `a`, digits as `9`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nocturne.datasets import Column, Dataset, Personal, Type
from nocturne.lake import BATCH, Connection, Table, duck, name, table, text
from nocturne.settings import Settings
from nocturne.tenants import Tenant

LARGE: Final = 500_000
"""Rows from which on distinct values and quantiles are estimated."""
SMALLEST: Final = 5
QUANTILES: Final = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_VALUES: Final = 10
_FORMS: Final = 3
_MEASURED: Final = frozenset({Type.INTEGER, Type.NUMBER, Type.MONEY, Type.DATE, Type.INSTANT})
_ADDRESS: Final = re.compile(r"[^\s@\"',;]+@[^\s@\"',;]+")


@dataclass(frozen=True)
class ColumnProfile:
    """One column. `distinct` is None where nothing is known; `quantiles` are those of QUANTILES (of a text: of its length)."""

    column: Column
    filled: int
    distinct: int
    quantiles: tuple[Any, ...]
    values: Mapping[str, int]
    forms: Mapping[str, int]


@dataclass(frozen=True)
class DatasetProfile:
    """A dataset as bronze holds it. `is_estimated`: distinct values and quantiles are estimates."""

    dataset: Dataset
    rows: int
    batches: int
    first: str
    last: str
    is_estimated: bool
    columns: tuple[ColumnProfile, ...]


def profile(tenant: Tenant, dataset: Dataset, settings: Settings) -> DatasetProfile:
    """The profile of all batches of a dataset. Reads bronze; writes nothing."""
    bronze = table(settings, tenant, "bronze", dataset)
    with duck(settings) as connection:
        rows, batches, first, last = connection.execute(
            f"SELECT count(*), count(DISTINCT {BATCH}), min(_received_on)::VARCHAR, max(_received_on)::VARCHAR"
            f" FROM {bronze.scan(BATCH, '_received_on')}"
        ).fetchall()[0]
        is_estimated = rows > LARGE
        columns = tuple(_column(connection, bronze, column, is_estimated=is_estimated) for column in dataset.columns) if rows else ()
    return DatasetProfile(dataset, rows, batches, first or "", last or "", is_estimated, columns)


def tells_values(column: Column) -> bool:
    """Whether a column's values may be told: it knows of no person and names nothing."""
    return column.personal is Personal.NO and not column.name.endswith("_id") and column.type in (Type.TEXT, Type.BOOLEAN)


def _column(connection: Connection, bronze: Table, column: Column, *, is_estimated: bool) -> ColumnProfile:
    own, rows = name(column.name), bronze.scan(column.name)
    distinct = f"approx_count_distinct({own})" if is_estimated else f"count(DISTINCT {own})"
    hidden = column.personal is not Personal.NO
    measure = f"length({own})" if column.type is Type.TEXT else own
    shares = f"[{', '.join(map(str, QUANTILES))}]"
    chosen = f"approx_quantile({measure}, {shares})" if is_estimated else f"quantile_disc({measure}, {shares})"
    asked = chosen if not hidden and (column.type in _MEASURED or column.type is Type.TEXT) else "NULL"
    filled, different, quantiles = connection.execute(f"SELECT count({own}), {distinct}, {asked} FROM {rows}").fetchall()[0]
    if quantiles and is_estimated:  # the ends are no estimate
        low, high = connection.execute(f"SELECT min({measure}), max({measure}) FROM {rows}").fetchall()[0]
        quantiles = [low, *quantiles[1:-1], high]
    values = _values(connection, rows, own) if tells_values(column) else {}
    forms = _forms(connection, rows, own) if column.type is Type.TEXT and not hidden else {}
    return ColumnProfile(column, filled, different, tuple(quantiles or ()), values, forms)


def _values(connection: Connection, rows: str, own: str) -> dict[str, int]:
    found = connection.execute(
        f"SELECT {own}::VARCHAR, count(*) FROM {rows} WHERE {own} IS NOT NULL GROUP BY 1 HAVING count(*) >= {SMALLEST}"
        f" ORDER BY 2 DESC, 1 LIMIT {_VALUES}"
    ).fetchall()
    return {_ADDRESS.sub("(not shown)", value): count for value, count in found}


def _forms(connection: Connection, rows: str, own: str) -> dict[str, int]:
    form = f"regexp_replace(regexp_replace(left({own}, 40), {text('[[:alpha:]]')}, 'a', 'g'), '[0-9]', '9', 'g')"
    found = connection.execute(
        f"SELECT {form}, count(*) FROM {rows} WHERE {own} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {_FORMS}"
    ).fetchall()
    return dict(found)


def lines(found: DatasetProfile) -> list[Sequence[str]]:
    """For people: (column, type, filled, distinct, low, middle, high, values) of each column."""
    mark = "~" if found.is_estimated else ""
    return [
        (
            one.column.name,
            one.column.type.name.lower(),
            f"{one.filled / found.rows:.1%}",
            f"{mark}{one.distinct:,}",
            *(_told(one, share) for share in (0.0, 0.5, 1.0)),
            _told_values(one, found.rows),
        )
        for one in found.columns
    ]


def _told(one: ColumnProfile, share: float) -> str:
    if not one.quantiles or not one.filled:
        return ""
    value = one.quantiles[QUANTILES.index(share)]
    return f"{value} characters" if one.column.type is Type.TEXT else str(value)


def _told_values(one: ColumnProfile, rows: int) -> str:
    if one.column.personal is not Personal.NO:
        return "(not shown: it knows of a person)"
    if one.values:
        return ", ".join(f"{value} {count / rows:.1%}" for value, count in one.values.items())
    return ", ".join(f"like {form}" for form in one.forms)
