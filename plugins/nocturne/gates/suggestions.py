"""A suite for a dataset as it is delivered, with thresholds from its batches and a `why` for each check, for a person to edit.

Thresholds come from the worst batch, since each batch is judged by itself, with some room: a check that the history passes by a hair
stops the next ordinary night.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from nocturne.datasets import Column, Dataset, Type
from nocturne.errors import PermanentError
from nocturne.gates.bronze import failures
from nocturne.gates.profiles import QUANTILES, ColumnProfile, DatasetProfile, profile, tells_values
from nocturne.gates.suites import AGE, PROBLEMS, WRONG_CODES, load_suite
from nocturne.lake import BATCH, Connection, Table, duck, name, table, text
from nocturne.ledger import Marks
from nocturne.settings import Settings
from nocturne.tenants import Tenant

_ROOM: Final = 0.02  # share of rows by which a threshold lies below the worst batch
_FEW_VALUES: Final = 20
_ENOUGH_ROWS: Final = 100  # for a set of values or a bound to say anything
_NUMERIC: Final = frozenset({Type.INTEGER, Type.NUMBER, Type.MONEY})


@dataclass(frozen=True)
class Suggestion:
    """A check as a suite declares it."""

    type: str
    kwargs: Mapping[str, Any]
    severity: str
    why: str


@dataclass(frozen=True)
class Written:
    """A suite that was written: where, how many checks, and of how many batches and rows they come."""

    path: Path
    checks: int
    batches: int
    rows: int


def suggest(tenant: Tenant, dataset: Dataset, settings: Settings, ledger: Marks, *, again: bool = False) -> Written:
    """Write a suite for a dataset below `var/suggestions/<slug>/bronze/`, and ask the batches that it comes from whether they pass it.

    Reads bronze and its marks. Only a suite that loads strictly and that every batch passes stays. Raises PermanentError if nothing was
    delivered, or if there is a suite already (somebody may have edited it) and not `again`.
    """
    folder = settings.var / "suggestions" / tenant.slug
    path = folder / "bronze" / f"{dataset.name}.yml"
    if path.exists() and not again:
        raise PermanentError(f"{path} is there already.", next_step="Edit it, or add --again to write it anew.", tenant=tenant.slug)
    found = profile(tenant, dataset, settings)
    if not found.rows:
        raise PermanentError(f"Nothing of {dataset.name} stands in bronze.", next_step="Land and load some days first.", tenant=tenant.slug)
    with duck(settings) as connection:
        checks = list(_Batches(connection, table(settings, tenant, "bronze", dataset), found).checks())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_yaml(found, checks), encoding="utf-8")
    try:
        failed = failures(tenant, dataset, settings, ledger, load_suite(folder, dataset.name))
        kept = [check for number, check in enumerate(checks) if number not in failed]
        if failed:  # what one batch fails for a reason that the counts do not show is not usual
            path.write_text(_yaml(found, kept), encoding="utf-8")
            load_suite(folder, dataset.name)
    except BaseException:
        path.unlink()
        raise
    return Written(path, len(kept), found.batches, found.rows)


class _Batches:
    """The batches of a dataset, and what the worst of them says."""

    def __init__(self, connection: Connection, bronze: Table, found: DatasetProfile) -> None:
        self.connection = connection
        self.bronze = bronze
        self.found = found
        self.dataset = found.dataset

    def checks(self) -> Iterator[Suggestion]:
        """The checks in the order in which a person reads a suite: readable, whole, unique, then column by column."""
        yield from self._readable()
        yield from self._unique()
        for one in self.found.columns:
            if one.filled:
                yield from self._filled(one)
                yield from self._bounded(one)
                yield from self._known(one)
        yield from self._ordered()
        yield from self._punctual()

    def _worst(self, condition: str, *columns: str, where: str = "true") -> float | None:
        """The smallest share of rows that hold `condition`, of those that hold `where`, over all batches; None if no batch has any."""
        rows = self.bronze.scan(BATCH, *dict.fromkeys(columns))
        query = f"SELECT min(share) FROM (SELECT avg(({condition})::INTEGER) AS share FROM {rows} WHERE {where} GROUP BY {BATCH})"
        worst = self.connection.execute(query).fetchall()[0][0]
        return None if worst is None else float(worst)

    def _readable(self) -> Iterator[Suggestion]:
        share = self._worst("coalesce(len(_problems), 0) = 0", "_problems")
        if share is not None and (mostly := _below(share)):
            why = f"In the worst batch {share:.1%} of the rows could be read; more dirt is a changed format."
            yield Suggestion(_BETWEEN, {"column": PROBLEMS, "max_value": 0, "mostly": mostly}, "stop", why)
        codes = [column for column in self.dataset.columns if column.code]
        wrong = " + ".join(f"coalesce(({one.code.is_wrong_sql(name(one.name))})::INTEGER, 0)" for one in codes if one.code)
        share = self._worst(f"({wrong}) = 0", *(one.name for one in codes)) if codes else None
        if share is not None and (mostly := _below(share)):
            why = f"In the worst batch {share:.1%} of the rows had codes that exist."
            yield Suggestion(_BETWEEN, {"column": WRONG_CODES, "max_value": 0, "mostly": mostly}, "stop", why)

    def _unique(self) -> Iterator[Suggestion]:
        key = ", ".join(map(name, self.dataset.key))
        there = " AND ".join(f"{name(column)} IS NOT NULL" for column in self.dataset.key)
        rows = self.bronze.scan(BATCH, *self.dataset.key)
        share = self.connection.execute(
            f"SELECT min(share) FROM (SELECT avg((times = 1)::INTEGER) AS share FROM (SELECT {BATCH}, count(*) OVER (PARTITION BY {BATCH},"
            f" {key}) AS times FROM {rows} WHERE {there}) GROUP BY {BATCH})"
        ).fetchall()[0][0]
        if share is not None and (mostly := _below(share)):
            why = f"In the worst batch {share:.1%} of the rows stood once; so many repeated rows are the source's mistake."
            yield Suggestion(_UNIQUE, {"column_list": list(self.dataset.key), "mostly": mostly}, "warn", why)

    def _filled(self, one: ColumnProfile) -> Iterator[Suggestion]:
        column = one.column
        share = self._worst(f"{name(column.name)} IS NOT NULL", column.name)
        if share is not None and share >= 0.5 and (mostly := _below(share)):
            severity = "stop" if column.required else "warn"
            why = f"In the worst batch {share:.1%} of the rows had it" + ("; a row without it is quarantined." if column.required else ".")
            yield Suggestion("expect_column_values_to_not_be_null", {"column": column.name, "mostly": mostly}, severity, why)

    def _bounded(self, one: ColumnProfile) -> Iterator[Suggestion]:
        column = one.column
        if not one.quantiles or one.filled < _ENOUGH_ROWS:
            return
        low, high = one.quantiles[0], one.quantiles[-1]
        usual = f"the middle of {one.filled:,} rows is {one.quantiles[QUANTILES.index(0.5)]}"
        if column.type in _NUMERIC:
            bounds = {"min_value": _rounded(float(low), up=False), "max_value": _rounded(float(high), up=True)}
            why = f"It lay between {low} and {high}, and {usual}; far beyond is another unit."
            yield Suggestion(_BETWEEN, {"column": column.name, **bounds, "mostly": 0.99}, "warn", why)
        elif column.type is Type.TEXT and not tells_set(one):
            bounds = {"min_value": int(low), "max_value": int(_rounded(float(high), up=True))}
            why = f"It had {low} to {high} characters."
            yield Suggestion("expect_column_value_lengths_to_be_between", {"column": column.name, **bounds, "mostly": 0.99}, "warn", why)

    def _known(self, one: ColumnProfile) -> Iterator[Suggestion]:
        column = one.column
        if not tells_set(one):
            return
        values = sorted(one.values)
        listed = ", ".join(map(text, values))
        share = self._worst(f"{name(column.name)} IN ({listed})", column.name, where=f"{name(column.name)} IS NOT NULL")
        if share is not None and (mostly := _below(share)):
            why = f"Each of these words stood in five rows or more, and in the worst batch {share:.1%} of the rows had one of them."
            yield Suggestion(
                "expect_column_values_to_be_in_set", {"column": column.name, "value_set": values, "mostly": mostly}, "warn", why
            )

    def _ordered(self) -> Iterator[Suggestion]:
        """Pairs of columns of one kind of which one is nearly always the greater: a day and its end, an amount and its tax."""
        for column, other in _pairs(self.found.columns):
            a, b = name(column.name), name(other.name)
            share = self._worst(f"{a} >= {b}", column.name, other.name, where=f"{a} IS NOT NULL AND {b} IS NOT NULL")
            if share is not None and share >= 0.99 and self._differ(a, b, column.name, other.name):
                kwargs = {"column_A": column.name, "column_B": other.name, "or_equal": True, "mostly": _below(share)}
                why = f"{column.name} was not below {other.name} in {share:.1%} of the worst batch; otherwise they are exchanged."
                yield Suggestion("expect_column_pair_values_a_to_be_greater_than_b", kwargs, "warn", why)

    def _differ(self, a: str, b: str, *columns: str) -> bool:
        """Whether a is mostly above b, so that the order is no chance of equal values."""
        rows = self.bronze.scan(*columns)
        share = self.connection.execute(f"SELECT avg(({a} > {b})::INTEGER), count({a} > {b}) FROM {rows}").fetchall()[0]
        return share[0] is not None and share[0] >= 0.5 and share[1] >= _ENOUGH_ROWS

    def _punctual(self) -> Iterator[Suggestion]:
        if self.dataset.kind != "event":
            return
        rows = self.bronze.scan("_event_on", "_received_on")
        query = f"SELECT min(date_diff('day', _event_on, _received_on)), max(date_diff('day', _event_on, _received_on)) FROM {rows}"
        low, high = self.connection.execute(query).fetchall()[0]
        if low is not None:
            kwargs = {"column": AGE, "min_value": min(int(low), -1), "max_value": int(_rounded(float(high) + 1, up=True)), "mostly": 0.99}
            why = f"Rows came {low} to {high} days after their event; others are from a wrong clock or an archive."
            yield Suggestion(_BETWEEN, kwargs, "warn", why)


_BETWEEN: Final = "expect_column_values_to_be_between"
_UNIQUE: Final = "expect_compound_columns_to_be_unique"


def tells_set(one: ColumnProfile) -> bool:
    """Whether a column's values are few words of which all may be told."""
    return (
        tells_values(one.column)
        and one.column.type is Type.TEXT
        and 0 < one.distinct <= _FEW_VALUES
        and one.filled >= _ENOUGH_ROWS
        and bool(one.values)
    )


def _pairs(columns: Sequence[ColumnProfile]) -> Iterator[tuple[Column, Column]]:
    alike = [one.column for one in columns if one.column.type in (Type.DATE, Type.INSTANT, Type.MONEY) and one.filled >= _ENOUGH_ROWS]
    return ((a, b) for a in alike for b in alike if a is not b and a.type is b.type)


def _below(share: float) -> float | None:
    """A threshold with room below the worst share, in steps of a hundredth; None if nothing would be left to hold."""
    mostly = math.floor((share - _ROOM) * 100) / 100
    return mostly if mostly >= 0.05 else None


def _rounded(value: float, *, up: bool) -> float:
    """The next number of the form 1, 2 or 5 times a power of ten that lies outside; 0 stays."""
    if value == 0:
        return 0
    if value < 0:
        return -_rounded(-value, up=not up)
    power = 10.0 ** math.floor(math.log10(value))
    steps = [step * power for step in (1, 2, 5, 10)]
    found = next(step for step in steps if step >= value * (1 - 1e-9)) if up else max(step for step in steps if step <= value * (1 + 1e-9))
    return int(found) if found == int(found) else found


def _yaml(found: DatasetProfile, checks: Sequence[Suggestion]) -> str:
    head = (
        f"# Suggested from {found.rows:,} rows of {found.batches} batches, received from {found.first} to {found.last}.\n"
        "# A threshold says what was usual, not what is right: edit it, and say why. Lines that hold for every tenant belong into\n"
        f"# expectations/bronze/{found.dataset.name}.yml, those of one tenant into its file, below `checks:`.\n"
    )
    listed = [{"type": one.type, "kwargs": dict(one.kwargs), "severity": one.severity, "why": one.why} for one in checks]
    return head + yaml.safe_dump({"dataset": found.dataset.name, "rows": listed}, sort_keys=False, allow_unicode=True, width=140)
