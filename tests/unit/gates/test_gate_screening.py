"""What SQL leaves to the library: every row that fails a check is among the suspects, and as many rows are asked."""

from __future__ import annotations

from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nocturne.datasets import Type
from nocturne.gates.checks import KINDS, Check
from nocturne.gates.evaluation import Judge
from nocturne.gates.screening import asks, suspects

JUDGE = Judge()
TEXTS = st.none() | st.sampled_from(["FR", "fr", "FRA", "", "F\n", "FR\n", "Ｆ", "é", "٣", "a@b", "x", "3", "🎧", "nan"])
NUMBERS = st.none() | st.sampled_from([0.0, -0.0, 1.0, -1.0, 1.5, 3.0, 2.0**53, 1e300, float("inf")])
WHOLE = st.none() | st.integers(-3, 3)

ASKED: dict[str, list[tuple[dict[str, Any], Type]]] = {
    "expect_column_values_to_not_be_null": [({"column": "a"}, Type.TEXT), ({"column": "a"}, Type.NUMBER)],
    "expect_column_values_to_be_null": [({"column": "a"}, Type.TEXT)],
    "expect_column_values_to_be_between": [
        ({"column": "a", "min_value": 0}, Type.NUMBER),
        ({"column": "a", "min_value": 1, "max_value": 1.5, "strict_min": True}, Type.NUMBER),
        ({"column": "a", "max_value": 3, "strict_max": True}, Type.INTEGER),
    ],
    "expect_column_values_to_be_in_set": [
        ({"column": "a", "value_set": ["FR", "it's"]}, Type.TEXT),
        ({"column": "a", "value_set": [1, 2]}, Type.INTEGER),
        ({"column": "a", "value_set": ["3", 3]}, Type.TEXT),
    ],
    "expect_column_values_to_not_be_in_set": [
        ({"column": "a", "value_set": ["FR", ""]}, Type.TEXT),
        ({"column": "a", "value_set": [3]}, Type.TEXT),
    ],
    "expect_column_values_to_match_regex": [
        ({"column": "a", "regex": "^[A-Z]{2}$"}, Type.TEXT),
        ({"column": "a", "regex": r"^\d$"}, Type.TEXT),
        ({"column": "a", "regex": "^.R"}, Type.TEXT),
        ({"column": "a", "regex": "(?i)fr"}, Type.TEXT),
    ],
    "expect_column_values_to_not_match_regex": [
        ({"column": "a", "regex": "@"}, Type.TEXT),
        ({"column": "a", "regex": "R$"}, Type.TEXT),
        ({"column": "a", "regex": r"\w"}, Type.TEXT),
    ],
    "expect_column_value_lengths_to_be_between": [({"column": "a", "min_value": 1, "max_value": 2}, Type.TEXT)],
    "expect_column_pair_values_a_to_be_greater_than_b": [
        ({"column_A": "a", "column_B": "b", "or_equal": True}, Type.NUMBER),
        ({"column_A": "a", "column_B": "b"}, Type.INTEGER),
    ],
    "expect_column_pair_values_to_be_equal": [({"column_A": "a", "column_B": "b"}, Type.NUMBER)],
    "expect_compound_columns_to_be_unique": [({"column_list": ["a", "b"]}, Type.TEXT), ({"column_list": ["a"]}, Type.INTEGER)],
}
VALUES = {Type.TEXT: TEXTS, Type.NUMBER: NUMBERS, Type.INTEGER: WHOLE}


def test_every_kind_of_check_is_screened() -> None:
    assert set(ASKED) == set(KINDS)


@pytest.mark.parametrize(("kind", "kwargs", "of"), [(kind, *one) for kind, cases in ASKED.items() for one in cases])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_what_the_library_finds_was_suspected(kind: str, kwargs: dict[str, Any], of: Type, data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(VALUES[of], VALUES[of]), min_size=1, max_size=12))
    check = Check(kind, kwargs, "stop", "Because.", "suite.yml:1")
    within = check.within("batch")
    frame = pd.DataFrame({"a": [one for one, _ in pairs], "b": [other for _, other in pairs], "batch": ["one"] * len(pairs)})
    frame = frame.astype(dict.fromkeys(("a", "b"), "str" if of is Type.TEXT else "float64"))
    (verdict,) = JUDGE.ask(frame, [within])
    sql = {Type.TEXT: "VARCHAR", Type.NUMBER: "DOUBLE", Type.INTEGER: "BIGINT"}[of]
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE held (place INTEGER, a {sql}, b {sql}, batch VARCHAR)")
        connection.executemany("INSERT INTO held VALUES (?, ?, ?, 'one')", [(place, *pair) for place, pair in enumerate(pairs)])
        condition = suspects(within, {"a": of, "b": of}, "SELECT * FROM held")
        suspected = {place for (place,) in connection.execute(f"SELECT place FROM held WHERE {condition}").fetchall()}
        asked = {place for (place,) in connection.execute(f"SELECT place FROM held WHERE {asks(check)}").fetchall()}
    assert set(verdict.failing.tolist()) <= suspected
    assert asked == set(verdict.asked.nonzero()[0].tolist())


def test_a_condition_leaves_the_many_out() -> None:
    check = Check("expect_column_values_to_match_regex", {"column": "a", "regex": "^[A-Z]{2}$"}, "stop", "Because.", "suite.yml:1")
    assert suspects(check, {"a": Type.TEXT}, "") == "coalesce(NOT regexp_matches(\"a\", '^[A-Z]{2}$'), false)"
    assert suspects(Check(check.type, {"column": "a", "regex": r"^\d"}, "stop", "", ""), {"a": Type.TEXT}, "") == "coalesce(true, false)"
