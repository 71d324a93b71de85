"""Forms of an answer: CSV and JSON as text, Parquet as bytes. Amounts and parts of streams stay exact in each of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from nocturne.metrics.answering import Answer, Column
from nocturne.metrics.declarations import AddsUp, Unit

if TYPE_CHECKING:
    import pyarrow as pa


def as_csv(answer: Answer) -> str:
    """RFC 4180, with names in the first line; what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([column.name for column in answer.columns])
    writer.writerows([_plain(value) for value in row] for row in answer.rows)
    return text.getvalue()


def as_json(answer: Answer) -> str:
    """Rows as objects, with what is to be known of them; amounts are texts, since JSON's readers take numbers for binary ones."""
    document = {
        "columns": [dict(_told(column)) for column in answer.columns],
        "rows": [{column.name: _json(value) for column, value in zip(answer.columns, row, strict=True)} for row in answer.rows],
        "marts": answer.marts,
        "publish_id": answer.publish_id,
        "business_day": answer.business_day.isoformat() if answer.business_day else None,
        "has_more": answer.has_more,
        "notes": answer.notes,
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def as_parquet(answer: Answer) -> bytes:
    """One row group of typed columns; of each the meaning stands in its field's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns, fields = [], []
    for place, column in enumerate(answer.columns):
        values = [row[place] for row in answer.rows]
        array = pa.array(values, _arrow(column, values))
        columns.append(array)
        fields.append(pa.field(column.name, array.type, metadata={name: str(value) for name, value in _told(column)}))
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, schema=pa.schema(fields)), sink, compression="zstd")
    return sink.getvalue()


def _arrow(column: Column, values: list[Any]) -> pa.DataType | None:
    """A metric's type follows its unit, so that a page without a value has it too; a dimension's its values."""
    import pyarrow as pa

    if column.unit is None:
        return pa.string() if all(value is None for value in values) else None
    if column.unit in (Unit.AMOUNT, Unit.NUMBER):
        return pa.decimal128(38, 6)
    is_divided = column.unit is Unit.RATIO or column.adds_up in (AddsUp.RATIO, AddsUp.SHARE)
    return pa.float64() if is_divided else pa.int64()


def _told(column: Column) -> Iterator[tuple[str, Any]]:
    yield from (("name", column.name), ("title", column.title), ("says", column.says))
    more = (("unit", column.unit), ("adds_up", column.adds_up), ("version", column.version), ("currency", column.currency))
    yield from ((name, value) for name, value in more if value is not None)


def as_text(value: Any, column: Column) -> str:
    """A value for people's eyes, with thousands; what is not known is empty."""
    if value is None or isinstance(value, bool) or column.unit is None:
        return "" if value is None else str(value)
    if isinstance(value, Decimal):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}" if column.unit is Unit.RATIO else f"{value:,.1f}"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (date, datetime)) else f"{value:f}" if isinstance(value, Decimal) else value


def _json(value: Any) -> Any:
    return _plain(value) if isinstance(value, (date, datetime, Decimal)) else value


FORMS: Mapping[str, Callable[[Answer], str | bytes]] = {"csv": as_csv, "json": as_json, "parquet": as_parquet}
