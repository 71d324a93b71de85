"""What a metric is, as `dbt/metrics/*.yml` declares it.

How a metric adds up says what may be made of it:

    sum        over rows, days and members: it adds up
    ratio      of two other metrics, each added up first
    share      of one member in the whole of the same time and other members
    distinct   people (or tracks) counted anew over exactly what is asked; answers never add up to each other
    estimate   the same, told from sketches within a stated error instead of counted
    last       the value at the end of the time asked; it adds up over members, not over time
    first      the same, at its beginning
    never      stands as it is for its own time and members: a distinct count of a window, a mean
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from nocturne.metrics.shapes import Shape, Step

WHOLE_MARKET = "whole_market"
"""What a metric needs beside datasets: a tenant that sees everybody's streams."""
OR = " or "
ALL = "(all)"
"""The member of a sketch's column that is not split: of all together."""


Take = Literal["rows", "sum", "count", "distinct", "sketch", "value"]
LEVEL = "level"
"""The column of a mart of sketches that tells the resolution of a row."""


class AddsUp(StrEnum):
    """How a metric adds up."""

    SUM = "sum"
    RATIO = "ratio"
    SHARE = "share"
    DISTINCT = "distinct"
    ESTIMATE = "estimate"
    LAST = "last"
    FIRST = "first"
    NEVER = "never"


class Unit(StrEnum):
    """What a metric's value is."""

    COUNT = "count"
    NUMBER = "number"
    MS = "ms"
    SECONDS = "seconds"
    RATIO = "ratio"
    AMOUNT = "amount"

    @property
    def sql(self) -> str:
        """PostgreSQL's type of such values: money and parts of streams stay exact."""
        return {"ratio": "double precision", "number": "numeric(38, 6)", "amount": "numeric(38, 6)"}.get(self.value, "bigint")


@dataclass(frozen=True)
class Condition:
    """A test of a column: it is true, not true, known, positive, or one word."""

    column: str
    test: Literal["true", "not", "known", "positive", "word"]
    word: str = ""


@dataclass(frozen=True)
class Source:
    """Where a metric's rows stand in one mart, and what is taken of them.

    `take` is `rows` (count them), `sum`, `count` (rows in which a boolean is true), `distinct`, `sketch` or `value`, of `column`; `time`
    is the column that dates them; by the dimensions `not_by` this mart does not tell what the metric means. `less` is a column that is
    taken off what is summed; `lasts` says how long a row lasts where the mart's name does not. Of the columns `one_of` each row of
    sketches is split by one at most; the others hold ALL.
    """

    mart: Shape
    take: Take
    column: str
    where: tuple[Condition, ...]
    time: str | None
    not_by: frozenset[str]
    less: str | None = None
    lasts: Step | None = None
    one_of: tuple[str, ...] = ()

    @property
    def step(self) -> Step:
        """How long one of its rows lasts."""
        if self.lasts:
            return self.lasts
        return self.mart.step if self.time == self.mart.time else Step.DAY

    @property
    def columns(self) -> frozenset[str]:
        """The mart's columns that it reads, those of dimensions apart."""
        named = [self.column, *(condition.column for condition in self.where), *([self.time] if self.time else [])]
        named += [self.less] if self.less else []
        named += [LEVEL, *self.one_of] if self.take == "sketch" else []
        return frozenset(name for name in named if name != "*")


@dataclass(frozen=True)
class Lookup:
    """A mart of facts, one row a `by`, that gives other marts' rows more columns: `gives` is dimension's column -> its column."""

    mart: Shape
    by: str
    gives: Mapping[str, str]


@dataclass(frozen=True)
class Dimension:
    """A way to split: the column of marts (or of a lookup) that tells it; a row in which it is not known has the member `missing`."""

    name: str
    column: str
    title: str
    says: str
    missing: str | None


@dataclass(frozen=True)
class Metric:
    """One number that people ask for."""

    name: str
    domain: str
    title: str
    formula: str
    unit: Unit
    adds_up: AddsUp
    sources: tuple[Source, ...]
    of: str | None
    over: str | None
    times: int
    within: tuple[str, ...]
    dimensions: tuple[str, ...]
    requires: tuple[str, ...]
    window: str | None
    error: str | None
    estimate: str | None
    needs: tuple[str, ...]
    owner: str
    boundaries: tuple[str, ...]
    unknown: str | None
    instead: str | None
    version: int
    place: str

    @property
    def steps(self) -> tuple[Step, ...]:
        """The lengths of time by which it may be asked, of a metric that has rows of its own."""
        timed = [source for source in self.sources if source.time]
        if self.adds_up is AddsUp.NEVER:
            return tuple(step for step in Step if any(source.step is step for source in timed))
        return tuple(step for step in Step if any(step.holds(source.step) for source in timed))


@dataclass(frozen=True)
class Catalogue:
    """All metrics, dimensions and lookups."""

    metrics: Mapping[str, Metric]
    dimensions: Mapping[str, Dimension]
    lookups: tuple[Lookup, ...]

    def parts(self, metric: Metric) -> tuple[Metric, ...]:
        """The metrics with rows of their own that make it: itself, or those that it divides."""
        if metric.adds_up is AddsUp.RATIO:
            return tuple(part for name in (metric.of, metric.over) for part in self.parts(self.metrics[str(name)]))
        return self.parts(self.metrics[str(metric.of)]) if metric.adds_up is AddsUp.SHARE else (metric,)

    def dimension(self, name: str) -> Dimension:
        """A declared dimension; else a column of that very name."""
        return self.dimensions.get(name) or Dimension(name, name, name.replace("_", " ").capitalize(), f"The column {name}.", None)

    def steps(self, metric: Metric) -> tuple[Step, ...]:
        """The lengths of time by which a metric may be asked: those of all its parts."""
        return tuple(step for step in Step if all(step in part.steps for part in self.parts(metric)))

    def needs(self, metric: Metric) -> tuple[str, ...]:
        """What a tenant must deliver to have it: its own needs and those of its parts."""
        inherited = (need for part in self.parts(metric) for need in part.needs)
        return tuple(dict.fromkeys([*metric.needs, *inherited]))
