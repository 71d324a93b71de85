"""What makes a delivered row good: the declaration of its dataset, as SQL over bronze's columns.

A reason reads `<column>: <what is wrong>`; what a value was stands in quotes, so that reasons are counted without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nocturne.datasets import Column, Dataset, Type
from nocturne.lake import name, text

_LONGEST_VALUE: Final = 60


def is_bad(dataset: Dataset) -> str:
    """SQL: whether a row is refused."""
    conditions = ["len(_problems) > 0", *(condition for _, condition, _ in _checks(dataset))]
    return f"coalesce({' OR '.join(conditions)}, false)"


def reasons(dataset: Dataset) -> str:
    """SQL: all reasons why a row is refused, as a list; empty for a good row."""
    told = "list_filter(_problems, lambda problem: starts_with(problem, 'row: ') OR starts_with(problem, {column}))"
    found = []
    for column, condition, reason in _checks(dataset):
        # A value that could not be read is NULL in bronze: it was told as a problem, and is not missing as well.
        untold = f"len({told.format(column=text(f'{column}: '))}) = 0"
        found.append(f"CASE WHEN {condition} AND {untold} THEN {reason} END")
    return f"list_concat(_problems, list_filter([{', '.join(found) or 'NULL'}]::VARCHAR[], lambda reason: reason IS NOT NULL))"


def kind_of(reason: str) -> str:
    """SQL of a reason without the value that it tells: what reasons are counted by."""
    return f"regexp_replace({reason}, ' ''.*''', '')"


Check = tuple[str, str, str]
"""(column, SQL condition under which it is bad, SQL of the reason)."""


def _checks(dataset: Dataset) -> Iterator[Check]:
    for column in dataset.columns:
        yield from _checks_of(column)
    if dataset.instant:
        after = f"{dataset.instant}: its date ", " lies after the day on which it was received"
        before = f"{dataset.instant}: its date ", " lies before the year 1900"
        yield dataset.instant, "_event_on > _received_on + 1", _says("_event_on", *after)
        yield dataset.instant, "_event_on < DATE '1900-01-01'", _says("_event_on", *before)


def _checks_of(column: Column) -> Iterator[Check]:
    value = name(column.name)
    if column.required:
        missing = f"{value} IS NULL OR {value} = ''" if column.type is Type.TEXT else f"{value} IS NULL"
        yield column.name, f"({missing})", text(f"{column.name}: is missing")
    there = f"{value} <> '' AND " if column.required and column.type is Type.TEXT else ""
    says = f"{column.name}: "
    if column.accepted:
        accepted = ", ".join(map(text, column.accepted))
        yield column.name, f"({there}{value} NOT IN ({accepted}))", _says(value, says, " is not accepted")
    if column.code:
        yield column.name, f"({there}{column.code.is_wrong_sql(value)})", _says(value, says, f" is no {column.code.title}")
    if column.minimum is not None:
        yield column.name, f"({value} < {column.minimum})", _says(value, says, f" is below {_plain(column.minimum)}")
    if column.maximum is not None:
        yield column.name, f"({value} > {column.maximum})", _says(value, says, f" is above {_plain(column.maximum)}")


def _plain(bound: float) -> str:
    return str(int(bound) if float(bound).is_integer() else bound)


def _says(value: str, before: str, after: str) -> str:
    return f"concat({text(before)}, chr(39), left({value}::VARCHAR, {_LONGEST_VALUE}), chr(39), {text(after)})"
