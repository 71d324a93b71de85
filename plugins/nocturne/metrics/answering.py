"""The answer to a question: asked of the published marts, as the tenant's read-only role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import combinations
from typing import Any

from nocturne.metrics.asking import Choices, Filter, Published, Question, TimeRange, choices
from nocturne.metrics.compiling import Compiler, Statement
from nocturne.metrics.declarations import AddsUp, Catalogue, Source, Unit
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
) -> Answer:
    """Ask metrics by dimensions over a time (both ends taken in; None: open) of the tenant's published marts.

    Of the marts that can tell what is asked, those are read that cost least by PostgreSQL's own estimate. Reads one snapshot as the
    tenant's reader role. Raises QueryRefused with the reason for what has no right answer or takes too long, DatabaseUnavailable.
    """
    first, last = time_range
    question = Question(tuple(metrics), tuple(dimensions), first, last, tuple(filters), tuple(order), limit, offset)
    with asking(settings, role=tenant.reader_role) as connection:
        return answer(connection, load_catalogue(settings.metrics, settings.dbt_project), tenant, question)


def answer(connection: Connection, catalogue: Catalogue, tenant: Tenant, question: Question) -> Answer:
    """Answer a question on a connection of `asking` that is open: for who asks several of one snapshot. Raises as `execute_query` does."""
    found = choices(catalogue, tenant, question, published_columns(connection, tenant))
    chosen = _cheapest(connection, catalogue, tenant, question, found)
    statement = Compiler(catalogue, tenant, question).statement(chosen)
    rows = connection.execute(statement.text, statement.values).fetchall()
    page = tuple(tuple(row) for row in rows[: question.limit])
    publish_id, business_day = _publish(connection, tenant)
    return Answer(
        columns=tuple(_column(catalogue, tenant, name) for name in (*question.dimensions, *question.metrics)),
        rows=page,
        marts=tuple(dict.fromkeys(source.mart.name for source in chosen.values())),
        publish_id=publish_id,
        business_day=business_day,
        has_more=len(rows) > question.limit,
        notes=tuple(_notes(catalogue, question, page)),
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


def _cheapest(connection: Connection, catalogue: Catalogue, tenant: Tenant, question: Question, found: Choices) -> Mapping[str, Source]:
    """Of each part the source to ask: the set of marts that together tell all and cost least.

    Marts of the very grain that is asked come first: they are never longer than others, and hold rows of days on which nothing was. What a
    mart costs is asked only where that does not settle it.
    """
    by_mart: dict[str, dict[str, Source]] = {}
    for part, sources in found.sources.items():
        for mart, source in sources.items():
            by_mart.setdefault(mart, {})[part] = source
    finer = {mart: _is_finer(catalogue, question, next(iter(told.values()))) for mart, told in by_mart.items()}

    @cache
    def cost(mart: str) -> float:
        return _cost(connection, catalogue, tenant, question, by_mart[mart])

    together = _together(by_mart, found)
    coarse = min(sum(map(finer.__getitem__, marts)) for marts in together)
    left = [marts for marts in together if sum(map(finer.__getitem__, marts)) == coarse]
    best = left[0] if len(left) == 1 else min(left, key=lambda marts: sum(map(cost, marts)))
    chosen = {}
    for part, sources in found.sources.items():
        marts = [mart for mart in sources if mart in best]
        mart = marts[0] if len(marts) == 1 else min(marts, key=lambda mart: (finer[mart], cost(mart)))
        chosen[part] = sources[mart]
    return chosen


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


def _cost(connection: Connection, catalogue: Catalogue, tenant: Tenant, question: Question, told: Mapping[str, Source]) -> float:
    """What PostgreSQL thinks that reading a mart costs."""
    by_time: dict[str | None, dict[str, Source]] = {}
    for part, source in told.items():
        by_time.setdefault(source.time, {})[part] = source
    cost = 0.0
    for alike in by_time.values():
        compiler = Compiler(catalogue, tenant, question)
        text = SQL("EXPLAIN (FORMAT JSON) {}").format(compiler.part(alike))
        row = connection.execute(text, compiler.values).fetchone()
        cost += float(row[0][0]["Plan"]["Total Cost"]) if row else 0.0
    return cost


def _publish(connection: Connection, tenant: Tenant) -> tuple[int | None, date | None]:
    query = SQL("SELECT publish_id, day FROM {} ORDER BY publish_id DESC LIMIT 1").format(Identifier(tenant.marts_schema, "_publishes"))
    row = connection.execute(query).fetchone()
    return (int(row[0]), row[1]) if row else (None, None)


def _column(catalogue: Catalogue, tenant: Tenant, name: str) -> Column:
    metric = catalogue.metrics.get(name)
    if metric is None:
        dimension = catalogue.dimension(name)
        return Column(name, dimension.title, dimension.says)
    currency = tenant.currency if metric.unit is Unit.AMOUNT else None
    return Column(name, metric.title, metric.formula, metric.unit, metric.adds_up, metric.version, currency)


def _notes(catalogue: Catalogue, question: Question, rows: Sequence[tuple[Any, ...]]) -> list[str]:
    """Why values are not known, and which columns nobody may add up."""
    notes = []
    for place, name in enumerate(question.metrics, start=len(question.dimensions)):
        metric = catalogue.metrics[name]
        if any(row[place] is None for row in rows):
            reasons = dict.fromkeys(one.unknown for one in (metric, *catalogue.parts(metric)) if one.unknown)
            notes.append(f"{name} is not known where it is empty: {'; '.join(reasons) or 'nothing that makes it stands there'}.")
        notes += [f"{name} is made of an estimate: {part.error}." for part in catalogue.parts(metric) if part.error]
        if len(rows) > 1 and metric.adds_up in (AddsUp.DISTINCT, AddsUp.ESTIMATE, AddsUp.NEVER):
            notes.append(f"The rows of {name} do not add up to each other.")
    if not rows:
        notes.append("Nothing stands there.")
    return notes
