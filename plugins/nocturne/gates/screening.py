"""Which rows may fail a check, in SQL: the library is asked those, and not the many that cannot.

Each kind of check has a condition that holds for every row that fails it (more rows are no harm: the library decides). Where SQL cannot be
sure to see what the library sees, the condition is `true`, and the library is asked every row. A test holds both against each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from nocturne.datasets import Type
from nocturne.gates.checks import NUMERIC, Check
from nocturne.lake import name, text

_SAME_EVERYWHERE: Final = re.compile(r"(?:[A-Za-z0-9 _@:/+,;=#%&~<>'\"-]|\[[A-Za-z0-9 _@:/+,-]+\]|\{\d+(?:,\d*)?\}|[\^$*+?|()])*")
"""Regular expressions that DuckDB and Python read alike: letters, classes of them, repetition, alternatives and anchors."""
_EVERY_ROW: Final = "true"


def suspects(check: Check, columns: Mapping[str, Type], rows: str) -> str:
    """SQL: whether a row may fail a check. `rows` is SQL of all rows, among which a key that stands several times is sought."""
    condition: str = _CONDITIONS[check.type](check, columns, rows)
    return f"coalesce({condition}, false)"


def asks(check: Check) -> str:
    """SQL: whether a row is asked a check at all."""
    return _EVERY_ROW if check.asks_missing else " AND ".join(f"{name(column)} IS NOT NULL" for column in check.columns)


def _null(check: Check, *_: Any) -> str:
    return f"{name(check.columns[0])} IS NULL"


def _not_null(check: Check, *_: Any) -> str:
    return f"{name(check.columns[0])} IS NOT NULL"


def _outside(value: str, kwargs: Mapping[str, Any]) -> str:
    signs = ("min_value", "<=" if kwargs.get("strict_min") else "<"), ("max_value", ">=" if kwargs.get("strict_max") else ">")
    return " OR ".join(f"{value} {sign} {kwargs[bound]!r}" for bound, sign in signs if bound in kwargs)


def _between(check: Check, *_: Any) -> str:
    return _outside(name(check.columns[0]), check.kwargs)


def _length(check: Check, *_: Any) -> str:
    return _outside(f"length({name(check.columns[0])})", check.kwargs)


def _listed(check: Check, columns: Mapping[str, Type]) -> str | None:
    """The set as a list of SQL; None if a value is of another type than the column, which the library tells from one that is alike."""
    values, column = check.kwargs["value_set"], check.columns[0]
    kind = int if columns[column] in NUMERIC else str
    if not all(isinstance(value, kind) for value in values):
        return None
    return ", ".join(str(value) if kind is int else text(value) for value in values)


def _in_set(check: Check, columns: Mapping[str, Type], *_: Any) -> str:
    listed = _listed(check, columns)
    return _EVERY_ROW if listed is None else f"{name(check.columns[0])} NOT IN ({listed})"


def _not_in_set(check: Check, columns: Mapping[str, Type], *_: Any) -> str:
    listed = _listed(check, columns)
    return _EVERY_ROW if listed is None else f"{name(check.columns[0])} IN ({listed})"


def _no_match(check: Check, *_: Any) -> str:
    regex = str(check.kwargs["regex"])
    return f"NOT regexp_matches({name(check.columns[0])}, {text(regex)})" if _SAME_EVERYWHERE.fullmatch(regex) else _EVERY_ROW


def _match(check: Check, *_: Any) -> str:
    regex = str(check.kwargs["regex"])
    # Python's `$` also stands before a last line break
    same = _SAME_EVERYWHERE.fullmatch(regex) and "$" not in regex
    return f"regexp_matches({name(check.columns[0])}, {text(regex)})" if same else _EVERY_ROW


def _not_greater(check: Check, *_: Any) -> str:
    one, other = map(name, check.columns)
    return f"{one} {'<' if check.kwargs.get('or_equal') else '<='} {other}"


def _unequal(check: Check, *_: Any) -> str:
    one, other = map(name, check.columns)
    return f"{one} <> {other}"


def _repeated(check: Check, _: Mapping[str, Type], rows: str) -> str:
    digest = f"hash({', '.join(map(name, check.columns))})"
    return f"{asks(check)} AND {digest} IN (SELECT {digest} FROM ({rows}) WHERE {asks(check)} GROUP BY 1 HAVING count(*) > 1)"


_CONDITIONS: Final[Mapping[str, Callable[..., str]]] = {
    "expect_column_values_to_not_be_null": _null,
    "expect_column_values_to_be_null": _not_null,
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_not_be_in_set": _not_in_set,
    "expect_column_values_to_match_regex": _no_match,
    "expect_column_values_to_not_match_regex": _match,
    "expect_column_value_lengths_to_be_between": _length,
    "expect_column_pair_values_a_to_be_greater_than_b": _not_greater,
    "expect_column_pair_values_to_be_equal": _unequal,
    "expect_compound_columns_to_be_unique": _repeated,
}
