"""The kinds of checks that a suite may hold: each is one of Great Expectations' row-level expectations, by its own name.

All of them answer for each row by itself ("this row fails"), so that many batches are asked at once and each is still judged alone. What is
true of a whole batch (its volume, its filled columns) is asked the same way: of a frame with one row a batch.

The list is ours, not looked up in the library, so that a suite is read and refused in milliseconds; a test holds it equal to the library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any, Literal

from nocturne.datasets import Type

NUMERIC = frozenset({Type.INTEGER, Type.NUMBER, Type.MONEY})
COMPARABLE = NUMERIC | {Type.DATE, Type.INSTANT}
TEXTUAL = frozenset({Type.TEXT})
COUNTABLE = frozenset({Type.TEXT, Type.INTEGER})
ANY = frozenset(Type)


def _number(value: Any) -> str | None:
    return None if isinstance(value, (int, float)) and not isinstance(value, bool) else "must be a number"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _share(value: Any) -> str | None:
    return None if _number(value) is None and 0 < value <= 1 else "must be a share above 0 and up to 1"


def _length(value: Any) -> str | None:
    return None if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else "must be a whole number, 0 or more"


def _values(value: Any) -> str | None:
    good = isinstance(value, list) and value and all(isinstance(one, (str, int)) and not isinstance(one, bool) for one in value)
    return None if good else "must be a list of texts or whole numbers"


def _regex(value: Any) -> str | None:
    try:
        re.compile(value)
    except (re.error, TypeError) as error:
        return f"must be a regular expression ({error})"
    return None


@dataclass(frozen=True)
class Kind:
    """One kind of check: what its columns are called and may be, what else it takes, and what is always passed with it."""

    columns: tuple[str, ...]
    accepts: frozenset[Type]
    required: Mapping[str, Callable[[Any], str | None]] = field(default_factory=dict)
    optional: Mapping[str, Callable[[Any], str | None]] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()
    always: Mapping[str, Any] = field(default_factory=dict)

    @property
    def takes_list(self) -> bool:
        """Whether it names its columns as one list."""
        return self.columns == ("column_list",)

    @cached_property
    def allowed(self) -> tuple[str, ...]:
        """Every keyword that a suite may give, `mostly` included."""
        return (*self.columns, *self.required, *self.optional, "mostly")


_BOUNDS = {"min_value": _number, "max_value": _number, "strict_min": _flag, "strict_max": _flag}
_LENGTHS = {"min_value": _length, "max_value": _length}
_EITHER = ("min_value", "max_value")
# A row that lacks one of two values says nothing about how they compare; that it lacks it is another check's business.
_PAIR = {"ignore_row_if": "either_value_is_missing"}
_LIST = {"ignore_row_if": "any_value_is_missing"}

KINDS: Mapping[str, Kind] = {
    "expect_column_values_to_not_be_null": Kind(("column",), ANY),
    "expect_column_values_to_be_null": Kind(("column",), ANY),
    "expect_column_values_to_be_between": Kind(("column",), NUMERIC, optional=_BOUNDS, one_of=_EITHER),
    "expect_column_values_to_be_in_set": Kind(("column",), COUNTABLE, {"value_set": _values}),
    "expect_column_values_to_not_be_in_set": Kind(("column",), COUNTABLE, {"value_set": _values}),
    "expect_column_values_to_match_regex": Kind(("column",), TEXTUAL, {"regex": _regex}),
    "expect_column_values_to_not_match_regex": Kind(("column",), TEXTUAL, {"regex": _regex}),
    "expect_column_value_lengths_to_be_between": Kind(("column",), TEXTUAL, optional=_LENGTHS, one_of=_EITHER),
    "expect_column_pair_values_a_to_be_greater_than_b": Kind(
        ("column_A", "column_B"), COMPARABLE, optional={"or_equal": _flag}, always=_PAIR
    ),
    "expect_column_pair_values_to_be_equal": Kind(("column_A", "column_B"), ANY, always=_PAIR),
    "expect_compound_columns_to_be_unique": Kind(("column_list",), ANY, always=_LIST),
}


@dataclass(frozen=True)
class Check:
    """One check as a suite declares it; `place` is file:line. `mostly` is the share of the rows asked that must pass.

    `guards`: no tenant's file may touch it. `reason`: why a tenant's file has changed or muted it.
    """

    type: str
    kwargs: Mapping[str, Any]
    severity: Literal["stop", "warn"]
    why: str
    place: str
    guards: Literal["reconciliation", "isolation"] | None = None
    muted_until: date | None = None
    reason: str = ""

    def is_muted(self, on: date) -> bool:
        """Whether a tenant's file says that it stops and tells nothing on a day."""
        return self.muted_until is not None and on < self.muted_until

    @property
    def kind(self) -> Kind:
        """What kind it is."""
        return KINDS[self.type]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return tuple(self.kwargs["column_list"]) if self.kind.takes_list else tuple(self.kwargs[name] for name in self.kind.columns)

    @property
    def mostly(self) -> float:
        """The share of the rows asked that must pass."""
        return float(self.kwargs.get("mostly", 1.0))

    @property
    def asks_missing(self) -> bool:
        """Whether rows without a value are asked too; all other kinds leave them out."""
        return self.type in ("expect_column_values_to_not_be_null", "expect_column_values_to_be_null")

    @property
    def told(self) -> str:
        """For those who see many nights: what is asked, and of which share of the rows."""
        return f"{self} of {self.mostly:.3g} of the rows" if self.mostly < 1 else str(self)

    def within(self, column: str) -> Check:
        """The same check for rows of several batches in one frame: what must be unique is so within each value of `column`."""
        if not self.kind.takes_list:
            return self
        return replace(self, kwargs={**self.kwargs, "column_list": [column, *self.columns]})

    def __str__(self) -> str:
        """For people: the kind, its columns and its bounds."""
        bounds = ", ".join(f"{name}={value}" for name, value in self.kwargs.items() if name not in self.kind.columns and name != "mostly")
        return f"{self.type}({', '.join(self.columns)}{'; ' if bounds else ''}{bounds})"


def faults(kind: str, kwargs: Mapping[str, Any], columns: Mapping[str, Type]) -> list[str]:
    """What is wrong with a check of this kind, these keywords and these columns to choose from; empty if it is right."""
    if kind not in KINDS:
        return [f"there is no kind of check {kind!r}; there are {', '.join(KINDS)}"]
    form = KINDS[kind]
    found = [f"{kind} takes no {name!r}; it takes {', '.join(form.allowed)}" for name in kwargs if name not in form.allowed]
    found += [f"{kind} needs {name!r}" for name in (*form.columns, *form.required) if name not in kwargs]
    if form.one_of and not any(name in kwargs for name in form.one_of):
        found.append(f"{kind} needs {' or '.join(form.one_of)}")
    rules = {**form.required, **form.optional, "mostly": _share}
    for name, value in kwargs.items():
        if name in rules and (wrong := rules[name](value)):
            found.append(f"{name} {wrong}, not {value!r}")
    return found + _column_faults(form, kwargs, columns)


def _column_faults(form: Kind, kwargs: Mapping[str, Any], columns: Mapping[str, Type]) -> list[str]:
    if form.takes_list:
        named = kwargs.get("column_list", [])
        if not isinstance(named, list) or ("column_list" in kwargs and not named):
            return ["column_list must be a list of columns"]
    else:
        named = [kwargs[name] for name in form.columns if name in kwargs]
    found = [f"there is no column {name!r}; there are {', '.join(columns)}" for name in named if name not in columns]
    found += [
        f"column {name} is {columns[name].value}, which this kind of check cannot compare"
        for name in named
        if name in columns and columns[name] not in form.accepts
    ]
    return found
