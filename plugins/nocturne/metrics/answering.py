"""The answer to a question: asked of the published marts, as the tenant's read-only role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import combinations
from typing import Any

from nocturne.errors import QueryRefused
from nocturne.metrics.asking import Choices, Filter, Published, Question, TimeRange, choices
from nocturne.metrics.compiling import Compiler, Statement
from nocturne.metrics.declarations import AddsUp, Catalogue, Metric, Source, Unit
from nocturne.metrics.loading import load_catalogue, resolve
from nocturne.postgres import SQL, Connection, Identifier, asking
from nocturne.settings import Settings
from nocturne.tenants import Tenant


@dataclass(frozen=True)
class Column:
    """A column of an answer. `unit` is None of a dimension; `adds_up` says whether its rows may be summed."""

    name: str
    title: str
    says: str
    unit: Unit | None = None
    adds_up: AddsUp | None = None
    version: int | None = None
    currency: str | None = None


@dataclass(frozen=True)
class Answer:
    """Rows in the order asked. All of it is one publish of the marts: pages with the same `publish_id` fit each other.

    `marts` were read by `statement`; `notes` say what a reader must know; `has_more`: rows follow behind this page.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    marts: tuple[str, ...]
    publish_id: int | None
    business_day: date | None
    has_more: bool
    notes: tuple[str, ...]
    statement: Statement


def execute_query(
    tenant: Tenant,
    settings: Settings,
    metrics: Sequence[str],
    dimensions: Sequence[str] = (),
    time_range: TimeRange = (None, None),
    *,
    filters: Sequence[Filter] = (),
    order: Sequence[str] = (),
    limit: int = 1_000,
    offset: int = 0,
    exact: bool = False,
) -> Answer:
    """Ask metrics by dimensions over a time (both ends taken in; None: open) of the tenant's published marts.

    Of the marts that can tell what is asked, those are read that cost least by PostgreSQL's own estimate. Where that is more than an answer
    at once may cost (`query_cost`), people are told from sketches, with a note of the error, or the question is refused; with `exact` all
    is counted however long it takes. Reads one snapshot as the tenant's reader role. Raises QueryRefused with the reason for what has no
    right answer or takes too long, DatabaseUnavailable.
    """
    first, last = time_range
    question = Question(tuple(metrics), tuple(dimensions), first, last, tuple(filters), tuple(order), limit, offset)
    with asking(settings, role=tenant.reader_role) as connection:
        most_cost = None if exact else settings.query_cost
        return answer(connection, load_catalogue(settings.metrics, settings.dbt_project), tenant, question, most_cost)


def answer(connection: Connection, catalogue: Catalogue, tenant: Tenant, question: Question, most_cost: float | None) -> Answer:
    """Answer a question on a connection of `asking` that is open: for who asks several of one snapshot.

    What costs more than `most_cost` by PostgreSQL's estimate is told from sketches or refused; None: nothing does. Raises as
    `execute_query` does.
    """
    published = published_columns(connection, tenant)
    pricing = _Pricing(connection, catalogue, tenant, question)
    found = choices(catalogue, tenant, question, published)
    chosen = pricing.cheapest(found) if most_cost is None else pricing.affordable(found, published, most_cost)
    statement = Compiler(catalogue, tenant, question).statement(chosen)
    rows = connection.execute(statement.text, statement.values).fetchall()
    page = tuple(tuple(row) for row in rows[: question.limit])
    publish_id, business_day = _publish(connection, tenant)
    return Answer(
        columns=tuple(_column(catalogue, tenant, name, chosen.get(name)) for name in (*question.dimensions, *question.metrics)),
        rows=page,
        marts=tuple(dict.fromkeys(source.mart.name for source in chosen.values())),
        publish_id=publish_id,
        business_day=business_day,
        has_more=len(rows) > question.limit,
        notes=tuple(_notes(catalogue, question, page, chosen)),
        statement=statement,
    )


def published_columns(connection: Connection, tenant: Tenant) -> Published:
    """The columns of each mart that is published."""
    rows = connection.execute(
        "SELECT c.relname, array_agg(a.attname) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped GROUP BY c.relname",
        (tenant.marts_schema,),
    )
    return {str(name): frozenset(map(str, columns)) for name, columns in rows}


@dataclass(frozen=True)
class _Pricing:
    """What marts cost that could tell a question, and which of them are read."""

    connection: Connection
    catalogue: Catalogue
    tenant: Tenant
    question: Question
    costs: dict[tuple[str, frozenset[str]], float] = field(default_factory=dict)

    def cheapest(self, found: Choices) -> Mapping[str, Source]:
        """Of each part the source to ask: the set of marts that together tell all and cost least.

        Marts of the very grain that is asked come first, as if they cost nothing: they are never longer than others, and hold rows of days
        on which nothing was. What a mart costs is asked only where that does not settle it.
        """
        by_mart: dict[str, dict[str, Source]] = {}
        for part, sources in found.sources.items():
            for mart, source in sources.items():
                by_mart.setdefault(mart, {})[part] = source
        finer = {mart: _is_finer(self.catalogue, self.question, next(iter(told.values()))) for mart, told in by_mart.items()}
        together = _together(by_mart, found)
        left = [marts for marts in together if not any(map(finer.__getitem__, marts))] or together
        best = left[0]
        if len(left) > 1:
            best = min(left, key=lambda marts: (sum(self.cost(by_mart[mart]) for mart in marts if finer[mart]), len(marts)))
        chosen = {}
        for part, sources in found.sources.items():
            marts = [mart for mart in sources if mart in best]
            mart = marts[0] if len(marts) == 1 else min(marts, key=lambda mart: (finer[mart], self.cost(by_mart[mart])))
            chosen[part] = sources[mart]
        return chosen

    def affordable(self, found: Choices, published: Published, most_cost: float) -> Mapping[str, Source]:
        """The cheapest; where that costs too much, with sketches for those who would be counted. Raises QueryRefused if it still does."""
        chosen = self.cheapest(found)
        if self.total(chosen) <= most_cost:
            return chosen
        sources = dict(found.sources)
        for part in found.parts:
            if part.estimate:
                with suppress(QueryRefused):
                    asked = replace(self.question, metrics=(part.estimate,), order=())
                    sources[part.name] = choices(self.catalogue, self.tenant, asked, published).sources[part.estimate]
        told = self.cheapest(Choices(found.parts, sources))
        if self.total(told) <= most_cost:
            return told
        counted = " and ".join(dict.fromkeys(source.mart.name for source in chosen.values()))
        raise QueryRefused(
            f"{', '.join(self.question.metrics)} would be made from so much of {counted} that it takes longer than an answer may.",
            next_step="Ask fewer days or other dimensions, or wait for it: `--exact` (from Python `exact=True`).",
            tenant=self.tenant.slug,
        )

    def total(self, chosen: Mapping[str, Source]) -> float:
        """What all marts of an answer cost."""
        marts: dict[str, dict[str, Source]] = {}
        for part, source in chosen.items():
            marts.setdefault(source.mart.name, {})[part] = source
        return sum(map(self.cost, marts.values()))

    def cost(self, told: Mapping[str, Source]) -> float:
        """What PostgreSQL thinks that reading a mart for these parts costs."""
        mart = next(iter(told.values())).mart.name
        known = (mart, frozenset(told))
        if known not in self.costs:
            by_time: dict[str | None, dict[str, Source]] = {}
            for part, source in told.items():
                by_time.setdefault(source.time, {})[part] = source
            self.costs[known] = sum(map(self._explained, by_time.values()))
        return self.costs[known]

    def _explained(self, told: Mapping[str, Source]) -> float:
        compiler = Compiler(self.catalogue, self.tenant, self.question)
        text = SQL("EXPLAIN (FORMAT JSON) {}").format(compiler.part(told))
        row = self.connection.execute(text, compiler.values).fetchone()
        return float(row[0][0]["Plan"]["Total Cost"]) if row else 0.0


def _note_of_estimate(catalogue: Catalogue, name: str, part: Metric) -> str:
    """That a column is an estimate, how good it is and, if it was not asked for, how to have it counted."""
    made = "is" if part.name == name else "is made of"
    if part.error:
        return f"{name} {made} an estimate: {part.error}."
    error = catalogue.metrics[str(part.estimate)].error
    return f"{name} {made} an estimate, since counting takes longer than an answer may: {error}; `--exact` counts."


def _together(marts: Iterable[str], found: Choices) -> list[frozenset[str]]:
    """The sets of marts that tell every part, without those of which fewer marts do so too."""
    enough: list[frozenset[str]] = []
    listed = list(marts)
    for size in range(1, min(len(listed), len(found.parts)) + 1):
        for some in map(frozenset, combinations(listed, size)):
            if all(some & sources.keys() for sources in found.sources.values()) and not any(fewer < some for fewer in enough):
                enough.append(some)
    return enough


def _is_finer(catalogue: Catalogue, question: Question, source: Source) -> bool:
    """Whether rows of a mart must be folded to tell the members that are asked."""
    ways = (resolve(catalogue, source.mart, name) for name in question.touched)
    return bool(set(source.mart.key) - {source.mart.time} - {way[1] for way in ways if way and way[0] is None})


def _publish(connection: Connection, tenant: Tenant) -> tuple[int | None, date | None]:
    query = SQL("SELECT publish_id, day FROM {} ORDER BY publish_id DESC LIMIT 1").format(Identifier(tenant.marts_schema, "_publishes"))
    row = connection.execute(query).fetchone()
    return (int(row[0]), row[1]) if row else (None, None)


def _column(catalogue: Catalogue, tenant: Tenant, name: str, source: Source | None) -> Column:
    """What a column holds; a count that sketches told is what its estimate is, in every form of the answer."""
    metric = catalogue.metrics.get(name)
    if metric and metric.estimate and source and source.take == "sketch":
        metric = catalogue.metrics[metric.estimate]
    if metric is None:
        dimension = catalogue.dimension(name)
        return Column(name, dimension.title, dimension.says)
    currency = tenant.currency if metric.unit is Unit.AMOUNT else None
    return Column(name, metric.title, metric.formula, metric.unit, metric.adds_up, metric.version, currency)


def _notes(catalogue: Catalogue, question: Question, rows: Sequence[tuple[Any, ...]], chosen: Mapping[str, Source]) -> list[str]:
    """Why values are not known, which columns are estimates, and which nobody may add up."""
    notes = []
    for place, name in enumerate(question.metrics, start=len(question.dimensions)):
        metric = catalogue.metrics[name]
        if any(row[place] is None for row in rows):
            reasons = dict.fromkeys(one.unknown for one in (metric, *catalogue.parts(metric)) if one.unknown)
            notes.append(f"{name} is not known where it is empty: {'; '.join(reasons) or 'nothing that makes it stands there'}.")
        notes += [_note_of_estimate(catalogue, name, part) for part in catalogue.parts(metric) if chosen[part.name].take == "sketch"]
        if len(rows) > 1 and metric.adds_up in (AddsUp.DISTINCT, AddsUp.ESTIMATE, AddsUp.NEVER):
            notes.append(f"The rows of {name} do not add up to each other.")
    if not rows:
        notes.append("Nothing stands there.")
    return notes
