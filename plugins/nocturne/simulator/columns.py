"""Arrow columns from the world's numbers, and tables in the catalogue's own columns.

Columns that look up few values are dictionaries; columns of one table that share the same indices (all that belongs to a session) share
the same buffer, which the writer uses. `plain` turns every column into its plain type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nocturne.datasets import DATASETS, Type
from nocturne.simulator.randomness import Flags, Floats, Ints, Words

ARROW: Mapping[Type, pa.DataType] = {
    Type.TEXT: pa.string(),
    Type.INTEGER: pa.int64(),
    Type.NUMBER: pa.float64(),
    Type.MONEY: pa.decimal128(18, 6),
    Type.BOOLEAN: pa.bool_(),
    Type.INSTANT: pa.timestamp("us", "UTC"),
    Type.DATE: pa.date32(),
}
MICRO = 1_000_000
_HEX = np.array([ord(high) | ord(low) << 8 for high in "0123456789abcdef" for low in "0123456789abcdef"], np.uint16)


def schema(dataset: str) -> pa.Schema:
    """The plain schema of a dataset's columns."""
    return pa.schema([pa.field(column.name, ARROW[column.type]) for column in DATASETS[dataset].columns])


def table(dataset: str, rows: int, columns: Mapping[str, pa.Array]) -> pa.Table:
    """A table in the dataset's columns and order; what is not given is NULL."""
    fields = schema(dataset)
    unknown = sorted(set(columns) - set(fields.names))
    if unknown:
        raise ValueError(f"dataset {dataset} has no columns {unknown}")
    arrays = [columns[field.name] if field.name in columns else pa.nulls(rows, field.type) for field in fields]
    return pa.table(arrays, names=fields.names)


def plain(dataset: str, rows: pa.Table) -> pa.Table:
    """The same rows with every column in its plain type."""
    return rows.cast(schema(dataset)).combine_chunks()


def picked(index: pa.Array | NDArray[Any], values: pa.Array | Sequence[Any]) -> pa.DictionaryArray:
    """Values looked up by index; a negative index is NULL."""
    if not isinstance(index, pa.Array):
        index = pa.array(index.astype(np.int32), mask=index < 0) if (index < 0).any() else pa.array(index.astype(np.int32))
    return pa.DictionaryArray.from_arrays(index, values if isinstance(values, pa.Array) else pa.array(values), safe=False)


def hexadecimal(numbers: Words, prefix: str = "") -> pa.StringArray:
    """Sixteen hexadecimal digits of each number."""
    digits = _HEX[numbers.view(np.uint8)]
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * 16
    text = pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(digits))
    return pc.binary_join_element_wise(prefix, text, "") if prefix else text


def numbered(prefix: str, numbers: Ints, width: int) -> pa.StringArray:
    """The prefix and the number with leading zeros."""
    digits = pc.utf8_lpad(pa.array(numbers.astype(np.int64)).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(prefix, digits, "")


def instants(milliseconds: Ints) -> pa.TimestampArray:
    """UTC instants from milliseconds."""
    return pa.array(milliseconds * 1000, pa.int64()).cast(ARROW[Type.INSTANT])


def dates(days: NDArray[np.datetime64], known: Flags | None = None) -> pa.Date32Array:
    """Dates; those that are not known are NULL."""
    return pa.array(days.astype("datetime64[D]"), pa.date32(), mask=None if known is None else ~known)


def money(micros: Ints) -> pa.Decimal128Array:
    """Amounts from millionths."""
    words = np.empty((len(micros), 2), np.int64)
    words[:, 0] = micros
    words[:, 1] = micros >> 63
    return pa.Decimal128Array.from_buffers(ARROW[Type.MONEY], len(micros), [None, pa.py_buffer(words)])


def micros(amounts: Floats, decimals: int) -> Ints:
    """Amounts rounded to so many decimals, in millionths."""
    rounded: Ints = (np.round(amounts * 10**decimals) * 10 ** (6 - decimals)).astype(np.int64)
    return rounded
