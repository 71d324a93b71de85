"""Shapes: which types are the same, and what is new, gone or neither."""

from __future__ import annotations

import pyarrow as pa
import pytest

from nocturne.bronze.drift import Drift, compared, shape_of
from nocturne.bronze.reading import EVERY_ROW, SOME_ROWS


@pytest.mark.parametrize(
    ("was", "now", "differ"),
    [
        (pa.int32(), pa.int64(), False),
        (pa.uint16(), pa.int64(), False),
        (pa.float32(), pa.float64(), False),
        (pa.int64(), pa.float64(), True),  # 7 and 7.0 are two keys
        (pa.string(), pa.large_string(), False),
        (pa.string(), pa.string_view(), False),
        (pa.string(), pa.dictionary(pa.int32(), pa.string()), False),
        (pa.dictionary(pa.int32(), pa.int64()), pa.string(), True),
        (pa.int64(), pa.string(), True),
        (pa.decimal128(10, 2), pa.decimal128(18, 6), False),
        (pa.decimal128(10, 2), pa.float64(), True),
        (pa.timestamp("ms"), pa.timestamp("us"), False),
        (pa.timestamp("us"), pa.timestamp("us", "UTC"), True),  # another instant
        (pa.timestamp("ms", "UTC"), pa.timestamp("us", "Europe/Paris"), False),
        (pa.date32(), pa.date64(), False),
        (pa.date32(), pa.timestamp("us"), True),
        (pa.null(), pa.string(), False),  # nobody knows what an empty column is
        (pa.string(), pa.null(), False),
        (pa.bool_(), pa.int8(), True),
    ],
    ids=str,
)
def test_a_wider_type_is_the_same_type(was: pa.DataType, now: pa.DataType, differ: bool) -> None:
    expected = (("x", str(was), str(now)),) if differ else ()
    assert compared({"x": str(was)}, {"x": str(now)}) == Drift(retyped=expected)


def test_files_of_one_batch_may_have_several_types() -> None:
    shape = shape_of({"a": {"x": "int64", "y": "text"}, "b": {"x": "string"}})
    assert shape == {"x": "int64 or string", "y": "text"}
    assert compared(shape, {"x": "int64", "y": "text"}).text == ""
    assert compared({"x": "int64", "y": "text"}, shape).text == "of another type: x (was int64, is int64 or string)"


def test_what_is_known_is_not_new_and_what_is_optional_not_gone() -> None:
    was = {"a": EVERY_ROW, "b": EVERY_ROW, "c": SOME_ROWS}
    assert compared(was, {"d": SOME_ROWS}) == Drift(new=("d",), gone=("a", "b"))
    assert compared(was, {"d": SOME_ROWS}, known={"d"}, optional={"a"}) == Drift(gone=("b",))


def test_a_long_list_is_cut() -> None:
    assert compared({}, {f"c{number:02}": "text" for number in range(15)}).text.endswith("c11 and 3 more")
