"""What the library must find: for every kind of check a frame with damaged rows, and their positions."""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd
import pytest

from nocturne.gates.checks import KINDS, Check
from nocturne.gates.evaluation import Judge, NotEvaluated


def check(kind: str, **kwargs: Any) -> Check:
    return Check(kind, kwargs, "stop", "a test", "suite.yml:1")


DAMAGED: dict[str, tuple[dict[str, Any], dict[str, list[Any]], list[int], int]] = {
    # kind: its keywords, the frame, the damaged positions, how many rows were asked
    "expect_column_values_to_not_be_null": ({"column": "a"}, {"a": ["x", None, "y"]}, [1], 3),
    "expect_column_values_to_be_null": ({"column": "a"}, {"a": [None, "x", None]}, [1], 3),
    "expect_column_values_to_be_between": (
        {"column": "a", "min_value": 0, "max_value": 10, "strict_max": True},
        {"a": [0.0, 10.0, -1.0, None, 9.9]},
        [1, 2],
        4,
    ),
    "expect_column_values_to_be_in_set": ({"column": "a", "value_set": ["x", "y"]}, {"a": ["x", "z", None, "y"]}, [1], 3),
    "expect_column_values_to_not_be_in_set": ({"column": "a", "value_set": ["x"]}, {"a": ["x", "z", None]}, [0], 2),
    "expect_column_values_to_match_regex": ({"column": "a", "regex": "^[A-Z]{2}$"}, {"a": ["FR", "fr", None, "FRA"]}, [1, 3], 3),
    "expect_column_values_to_not_match_regex": ({"column": "a", "regex": "@"}, {"a": ["x", "a@b", None]}, [1], 2),
    "expect_column_value_lengths_to_be_between": (
        {"column": "a", "min_value": 2, "max_value": 3},
        {"a": ["x", "xy", None, "wxyz"]},
        [0, 3],
        3,
    ),
    "expect_column_pair_values_a_to_be_greater_than_b": (
        {"column_A": "a", "column_B": "b", "or_equal": True},
        {"a": [2.0, 1.0, 3.0, None], "b": [1.0, 1.0, 4.0, 1.0]},
        [2],
        3,
    ),
    "expect_column_pair_values_to_be_equal": ({"column_A": "a", "column_B": "b"}, {"a": [1.0, 2.0, None], "b": [1.0, 3.0, 1.0]}, [1], 2),
    "expect_compound_columns_to_be_unique": (
        {"column_list": ["a", "b"]},
        {"a": ["x", "x", "x", None, None], "b": [1, 1, 2, 3, 3]},
        [0, 1],
        3,
    ),
}


def test_every_kind_of_check_has_a_damaged_frame() -> None:
    assert set(DAMAGED) == set(KINDS)


@pytest.mark.parametrize("kind", DAMAGED)
def test_the_damaged_rows_are_found_and_no_others(kind: str) -> None:
    kwargs, columns, damaged, asked = DAMAGED[kind]
    (verdict,) = Judge().ask(pd.DataFrame(columns), [check(kind, **kwargs)])
    assert sorted(verdict.failing.tolist()) == damaged
    assert int(verdict.asked.sum()) == asked


@pytest.mark.parametrize("kind", DAMAGED)
def test_sound_rows_pass(kind: str) -> None:
    kwargs, columns, damaged, _ = DAMAGED[kind]
    frame = pd.DataFrame(columns).drop(index=damaged)
    (verdict,) = Judge().ask(frame, [check(kind, **kwargs)])
    assert verdict.failing.tolist() == []


def test_dates_are_compared_as_dates() -> None:
    frame = pd.DataFrame({"a": [date(2026, 1, 2), date(2026, 1, 1)], "b": [date(2026, 1, 1), date(2026, 1, 2)]}, dtype="datetime64[us]")
    (verdict,) = Judge().ask(frame, [check("expect_column_pair_values_a_to_be_greater_than_b", column_A="a", column_B="b")])
    assert verdict.failing.tolist() == [1]


def test_an_empty_frame_proves_nothing() -> None:
    with pytest.raises(NotEvaluated, match="empty frame"):
        Judge().ask(pd.DataFrame({"a": []}), [check("expect_column_values_to_not_be_null", column="a")])


def test_a_check_that_cannot_be_evaluated_is_no_pass() -> None:
    frame = pd.DataFrame({"a": ["x", "y"]})
    with pytest.raises(NotEvaluated, match=r"suite.yml:1"):
        Judge().ask(frame, [check("expect_column_values_to_be_between", column="absent", min_value=0)])


def test_the_same_check_twice_is_evaluated_twice() -> None:
    frame = pd.DataFrame({"a": ["x", None]})
    strict, mild = Judge().ask(frame, [check("expect_column_values_to_not_be_null", column="a", mostly=mostly) for mostly in (1.0, 0.5)])
    assert (strict.check.mostly, mild.check.mostly) == (1.0, 0.5)
    assert strict.failing.tolist() == mild.failing.tolist() == [1]
