"""A question to the metrics, and which marts may answer it; what has no right answer is refused, with why and what to ask instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal, cast

from nocturne.errors import QueryRefused
from nocturne.metrics.declarations import OR, WHOLE_MARKET, AddsUp, Catalogue, Metric, Source
from nocturne.metrics.loading import resolve, splits
from nocturne.metrics.shapes import Step
from nocturne.tenants import Tenant

Sign = Literal["=", "!=", ">=", "<=", ">", "<"]
TimeRange = tuple[date | None, date | None]
Published = Mapping[str, frozenset[str]]
"""The columns of each mart that the tenant's analysts can read."""
MOST_ROWS = 1_000_000
_FILTER = re.compile(r"(?P<dimension>[a-z][a-z0-9_]*)\s*(?P<sign>!=|>=|<=|=|>|<)(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class Filter:
    """A test of a dimension; several of one dimension with `=` mean any of them. An empty value means: not known."""

    dimension: str
    sign: Sign
    value: str

    @classmethod
    def parse(cls, text: str) -> Filter:
        """`genre=pop`, `country!=FR`, `week_number<=4`. Raises QueryRefused."""
        found = _FILTER.fullmatch(text.strip())
        if found is None:
            raise QueryRefused(f"{text!r} is no test.", next_step="Write `dimension=value`, or with !=, >=, <=, > or <.")
        return cls(found["dimension"], cast("Sign", found["sign"]), found["value"])


@dataclass(frozen=True)
class Question:
    """What is asked: metrics by dimensions (lengths of time among them) from one day to another, both taken in."""

    metrics: tuple[str, ...]
    dimensions: tuple[str, ...] = ()
    first: date | None = None
    last: date | None = None
    filters: tuple[Filter, ...] = ()
    order: tuple[str, ...] = ()
    limit: int = 1_000
    offset: int = 0

    @property
    def steps(self) -> tuple[Step, ...]:
        """The lengths of time among its dimensions."""
        return tuple(Step(name) for name in self.dimensions if name in set(Step))

    @property
    def members(self) -> tuple[str, ...]:
        """The other dimensions."""
        return tuple(name for name in self.dimensions if name not in set(Step))

    @property
    def touched(self) -> tuple[str, ...]:
        """Every dimension that it splits by or tests."""
        return tuple(dict.fromkeys([*self.members, *(one.dimension for one in self.filters)]))

    @property
    def pinned(self) -> frozenset[str]:
        """Dimensions of which one member alone is asked."""
        equal = [one.dimension for one in self.filters if one.sign == "="]
        return frozenset(name for name in equal if equal.count(name) == 1)


@dataclass(frozen=True)
class Choices:
    """The metrics with rows of their own that a question needs, and of each the sources that can tell it, by mart."""

    parts: tuple[Metric, ...]
    sources: Mapping[str, Mapping[str, Source]] = field(default_factory=dict)


def choices(catalogue: Catalogue, tenant: Tenant, question: Question, published: Published) -> Choices:
    """Check a question against the declarations, the tenant and what is published. Raises QueryRefused with the reason."""
    metrics = [_known(catalogue, name) for name in question.metrics]
    _check_words(catalogue, question, metrics)
    for metric in metrics:
        _check_tenant(catalogue, tenant, metric)
        _check_dimensions(catalogue, question, metric)
    parts = tuple(dict.fromkeys(part.name for metric in metrics for part in catalogue.parts(metric)))
    found = {name: _sources(catalogue, tenant, question, catalogue.metrics[name], published) for name in parts}
    return Choices(tuple(catalogue.metrics[name] for name in parts), found)


def _known(catalogue: Catalogue, name: str) -> Metric:
    if name not in catalogue.metrics:
        near = [other for other in catalogue.metrics if name.lower() in other or other in name.lower()]
        hint = f"Did you mean {', '.join(near[:5])}? " if near else ""
        raise QueryRefused(f"There is no metric {name!r}.", next_step=f"{hint}`nocturne metrics list` lists them.")
    return catalogue.metrics[name]


def _check_words(catalogue: Catalogue, question: Question, metrics: Sequence[Metric]) -> None:
    if not metrics:
        raise QueryRefused("No metric is asked.", next_step="Name at least one; `nocturne metrics list` lists them.")
    named = [*question.metrics, *question.dimensions]
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise QueryRefused(f"{', '.join(twice)} is asked twice.", next_step="Name each once.")
    for word in question.order:
        if word.removeprefix("-") not in named:
            raise QueryRefused(f"The answer has no column {word.removeprefix('-')!r}.", next_step=f"Order by {', '.join(named)}.")
    if question.first and question.last and question.first > question.last:
        raise QueryRefused(f"The time ends ({question.last}) before it begins ({question.first}).", next_step="Exchange the two.")
    if not 1 <= question.limit <= MOST_ROWS or question.offset < 0:
        raise QueryRefused(
            f"{question.limit} rows from row {question.offset} are no page.", next_step=f"Ask 1 to {MOST_ROWS} rows, from 0 on."
        )
    if any("\x00" in one.value for one in question.filters):
        raise QueryRefused("A value holds a zero byte, which no text has.", next_step="Correct the value.")


def why_not(catalogue: Catalogue, tenant: Tenant, metric: Metric) -> str | None:
    """Why a tenant does not have a metric; None: it has it, once its marts are published."""
    for need in catalogue.needs(metric):
        if need == WHOLE_MARKET and not tenant.sees_whole_market:
            return "it sees only its own streams, not the market's"
        if need != WHOLE_MARKET and not any(tenant.has(name) for name in need.split(OR)):
            return f"it delivers no {need}"
    return None


def _check_tenant(catalogue: Catalogue, tenant: Tenant, metric: Metric) -> None:
    if reason := why_not(catalogue, tenant, metric):
        next_step = f"`nocturne metrics list {tenant.slug}` lists what it has."
        raise QueryRefused(f"The tenant has no {metric.name}: {reason}.", next_step=next_step, tenant=tenant.slug)


def _check_dimensions(catalogue: Catalogue, question: Question, metric: Metric) -> None:
    for name in question.touched:
        if name not in metric.dimensions:
            may = ", ".join([*catalogue.steps(metric), *metric.dimensions]) or "nothing else"
            raise QueryRefused(f"{metric.name} is not told by {name}.", next_step=f"It may be asked by {may}.")
    for name in metric.requires:
        if name not in question.members and name not in question.pinned:
            raise QueryRefused(
                f"{metric.name} does not add up over {name}: the same people stand in several.",
                next_step=f"Ask it by {name}, or for one alone (`{name}=...`).",
            )
    if metric.adds_up is AddsUp.SHARE and not set(metric.within) & set(question.members):
        raise QueryRefused(
            f"{metric.name} is a part of a whole: without {' or '.join(metric.within)} it is the whole itself.",
            next_step=f"Ask it by {metric.within[0]}.",
        )
    shares = {one for one in metric.within if metric.adds_up is AddsUp.SHARE}
    if tested := [one.dimension for one in question.filters if one.dimension in shares - set(question.members)]:
        raise QueryRefused(
            f"{metric.name} tested by {tested[0]} must be split by it too: the whole that it is a part of would shrink.",
            next_step=f"Add {tested[0]} to the dimensions.",
        )


def _sources(catalogue: Catalogue, tenant: Tenant, question: Question, part: Metric, published: Published) -> dict[str, Source]:
    """The sources that can tell a metric, by mart; if none can, the reason of the one that is least far from it is raised."""
    reasons: list[tuple[int, QueryRefused]] = []
    found = {}
    for source in part.sources:
        refused = next(_hindrances(catalogue, tenant, question, part, source, published), None)
        if refused is None:
            found[source.mart.name] = source
        else:
            reasons.append(refused)
    if not found:
        raise max(reasons, key=lambda pair: pair[0])[1]
    return found


def _hindrances(
    catalogue: Catalogue, tenant: Tenant, question: Question, part: Metric, source: Source, published: Published
) -> Iterator[tuple[int, QueryRefused]]:
    """Why a source cannot tell what is asked, each with how near it came."""
    mart = source.mart.name
    ways = {name: None if name in source.not_by else resolve(catalogue, source.mart, name) for name in question.touched}
    if untold := [name for name, way in ways.items() if way is None]:
        yield (
            0,
            QueryRefused(
                f"No mart tells {part.name} by {', '.join(question.touched)} at once ({mart} knows no {', '.join(untold)}).",
                next_step="Ask fewer dimensions.",
            ),
        )
    if len(split := splits(catalogue, source, question.touched)) > 1:
        yield (
            3,
            QueryRefused(
                f"{part.name} is told by one of {', '.join(source.one_of)} at a time, not by {' and '.join(split)}.",
                next_step=str(part.instead),
            ),
        )
    yield from _untimely(question, part, source)
    yield from _folded(catalogue, question, part, source)
    needed = {(mart, column) for column in source.columns} | {
        pair
        for way in ways.values()
        if way
        for pair in _columns(mart, way[0].mart.name if way[0] else None, way[0].by if way[0] else "", way[1])
    }
    if absent := sorted({name for name, _ in needed if name not in published}):
        yield (
            4,
            QueryRefused(
                f"The tenant's {' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not published.",
                next_step="Wait for its first night; if it had one, it does not deliver what the mart is made of.",
                tenant=tenant.slug,
            ),
        )
    elif lacking := sorted(f"{name}.{column}" for name, column in needed if column not in published[name]):
        yield (
            4,
            QueryRefused(
                f"The published marts are older than the declarations: {', '.join(lacking)} is not there yet.",
                next_step="Wait for the next night, which builds them anew.",
                tenant=tenant.slug,
            ),
        )


def _columns(mart: str, lookup: str | None, by: str, column: str) -> Iterable[tuple[str, str]]:
    return [(mart, column)] if lookup is None else [(mart, by), (lookup, by), (lookup, column)]


def _untimely(question: Question, part: Metric, source: Source) -> Iterator[tuple[int, QueryRefused]]:
    if source.time is None:
        if question.steps or question.first or question.last:
            yield 1, QueryRefused(f"{part.name} says what is so now: it has no history.", next_step="Ask it without a time.")
        return
    for step in question.steps:
        if not step.holds(source.step):
            steps = ", ".join(one for one in Step if one.holds(source.step))
            yield 1, QueryRefused(f"{part.name} stands by {source.step} and cannot be told by {step}.", next_step=f"Ask it by {steps}.")
    for day, edge in ((question.first, question.first), (question.last, question.last and question.last + timedelta(1))):
        if day and edge and not _begins(edge, source.step):
            yield (
                2,
                QueryRefused(
                    f"{part.name} stands by {source.step}: {day} cuts one in two.",
                    next_step=f"Begin with the first and end with the last day of a {source.step}.",
                ),
            )


def _begins(day: date, step: Step) -> bool:
    """Whether a row of this length may begin on the day. Of weeks the mart itself knows where they begin."""
    return day.day == 1 if step is Step.MONTH else True


def _folded(catalogue: Catalogue, question: Question, part: Metric, source: Source) -> Iterator[tuple[int, QueryRefused]]:
    """What would be added up and must not be: rows of a mart whose every row stands for itself."""
    if part.adds_up is not AddsUp.NEVER:
        return
    told = [name for name in question.touched if name in question.members or name in question.pinned]
    ways = [resolve(catalogue, source.mart, name) for name in told]
    standing = {column for way in ways if way for lookup, column in [way] if lookup is None}
    one_day = question.first is not None and question.first == question.last and source.step is Step.DAY
    if source.time and (source.step in question.steps or one_day):
        standing.add(source.time)
    if folded := [column for column in source.mart.key if column not in standing]:
        over = " and ".join(f"{source.step}s" if column == source.time else f"its {column}s" for column in folded)
        counted = f"a distinct count ({part.window})" if part.window else "no sum"
        why = ": whoever stands in two of them would count twice" if part.window else ""
        yield 3, QueryRefused(f"{part.name} is {counted} and does not add up over {over}{why}.", next_step=str(part.instead))
