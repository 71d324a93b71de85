"""How long people wait for the metrics: questions as they are asked, to the published marts of one tenant, each on a connection of its own.

    history_plays   plays in the published marts; the marts are built and published by the night's own tasks
    p50_ms ...      `execute_query` from question to rows: a new connection, declarations' checks, choice of marts by cost, SQL, rows
    open_p50_ms ... the same on a connection that is open already (`answering.answer`)
    told_p95_ms ... the same of the questions that marts of days tell; the others count people anew, from a row a play or listener-day
    compile_ms      the part of it that is ours: checks and SQL, without PostgreSQL
    every_...       (with --every) each metric that the tenant has, by nothing and by each of its dimensions, over 28 days and over all,
                    asked the second time on one connection; every_slow: those that took longer than 50 ms, by the mart that was read;
                    every_estimated: told from sketches since counting costs too much; every_refused: refused for the same reason

People are counted, however long it takes, in all but `every_...`. Each question is asked with times and members drawn from a seed. The
baseline sends the same SQL on one open connection.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from benchmarks import publish, start_database, throwaway_installation
from benchmarks.marts import night
from benchmarks.warehouse import tenant_of, world_of
from nocturne.errors import QueryRefused
from nocturne.ledger import MemoryMarks
from nocturne.metrics import Answer, Filter, Question, execute_query, load_catalogue
from nocturne.metrics.answering import answer, published_columns
from nocturne.metrics.asking import choices
from nocturne.metrics.compiling import Compiler
from nocturne.metrics.declarations import AddsUp, Catalogue
from nocturne.postgres import asking, fetch
from nocturne.settings import Settings
from nocturne.tenants import Tenant

_LONG_MS = 50


@dataclass(frozen=True)
class Asked:
    """One kind of question: words as at the terminal, days that it looks back (0: all), the dimension of which one member is asked."""

    metrics: str
    by: str
    days: int
    member: str | None = None
    order: str | None = None

    @property
    def counts_people(self) -> bool:
        """Whether people are counted anew."""
        return bool({"listeners", "streams_per_listener"} & set(self.metrics.split()))

    @property
    def name(self) -> str:
        """How it is called in the results."""
        return f"{self.metrics} by {self.by or 'nothing'}, {self.days or 'all'} days" + (f", one {self.member}" if self.member else "")


@dataclass(frozen=True)
class Measured:
    """Milliseconds of each kind: as it is asked, on an open connection, and of its SQL alone; rows of the answers and their digest."""

    waited: dict[str, list[float]]
    opened: dict[str, list[float]]
    alone: dict[str, list[float]]
    rows: int
    digest: str


QUESTIONS = (
    Asked("dau wau mau stickiness", "day", 28),
    Asked("play_count stream_count skip_rate completion_rate", "day", 90),
    Asked("stream_count", "month", 0),
    Asked("play_count avg_duration", "genre artist", 28),
    Asked("stream_count", "artist_name", 28, order="-stream_count"),
    Asked("stream_count skip_rate", "track title", 7, "country", "-stream_count"),
    Asked("stream_count", "country month", 0),
    Asked("stream_count", "day", 90, "genre"),
    Asked("listeners streams_per_listener", "week", 90),
    Asked("listeners", "month country", 0),
    Asked("play_count listeners", "platform tier", 28),
    Asked("listeners_estimate", "month country", 0),
    Asked("stream_count listeners_estimate", "week", 90),
    Asked("stream_count skip_rate", "month country tier", 0),
    Asked("mrr opening_mrr new_mrr expansion_mrr contraction_mrr churned_mrr reactivation_mrr arppu", "month", 0),
    Asked("net_revenue refunds", "country month", 0),
    Asked("held_streams", "holder month", 90),
    Asked("retention_rate", "week_number", 0),
    Asked("stream_count mrr net_revenue", "week", 90),
)


def drawn(asked: Asked, last: date, dice: random.Random, members: Mapping[str, Sequence[str]]) -> Question:
    """A question of the kind, about a time that ends within the last month of history."""
    until = last - timedelta(dice.randrange(28))
    return Question(
        tuple(asked.metrics.split()),
        tuple(asked.by.split()),
        until - timedelta(asked.days - 1) if asked.days else None,
        until if asked.days else None,
        filters=(Filter(asked.member, "=", dice.choice(members[asked.member])),) if asked.member else (),
        order=(asked.order,) if asked.order else (),
        limit=100 if asked.order else 10_000,
    )


def ask(question: Question, tenant: Tenant, settings: Settings) -> Answer:
    """Ask it as people do."""
    return execute_query(
        tenant, settings, question.metrics, question.dimensions, (question.first, question.last), filters=question.filters,
        order=question.order, limit=question.limit, exact=True,
    )  # fmt: skip


def measure(tenant: Tenant, settings: Settings, last: date, rounds: int) -> Measured:
    """Ask every kind of question so many times."""
    dice, digest, rows = random.Random(7), hashlib.sha256(), 0
    members = {name: [str(row[0]) for row in execute_query(tenant, settings, ["play_count"], [name]).rows] for name in ("country", "genre")}
    waited, opened, alone = ({asked.name: [] for asked in QUESTIONS} for _ in range(3))
    catalogue = load_catalogue(settings.metrics, settings.dbt_project)
    for _ in range(rounds):
        questions = [(asked.name, drawn(asked, last, dice, members)) for asked in QUESTIONS]
        for name, question in questions:
            started = time.perf_counter()
            told = ask(question, tenant, settings)
            waited[name].append((time.perf_counter() - started) * 1_000)
            digest.update(repr(told.rows).encode())
            rows += len(told.rows)
        with asking(settings, role=tenant.reader_role) as connection:
            for name, question in questions:
                started = time.perf_counter()
                told = answer(connection, catalogue, tenant, question, None)
                opened[name].append((time.perf_counter() - started) * 1_000)
                started = time.perf_counter()
                connection.execute(told.statement.text, told.statement.values).fetchall()
                alone[name].append((time.perf_counter() - started) * 1_000)
    return Measured(waited, opened, alone, rows, digest.hexdigest())


def every_question(catalogue: Catalogue, last: date) -> Iterator[Question]:
    """Each metric by nothing and by each of its dimensions, over 28 days and over all, with what it does not add up without."""
    for metric in catalogue.metrics.values():
        step = catalogue.steps(metric)[:1] if metric.adds_up is AddsUp.NEVER else ()
        whole = metric.within[:1] if metric.adds_up is AddsUp.SHARE else ()
        for dimension in ((), *((one,) for one in metric.dimensions)):
            by = tuple(dict.fromkeys([*map(str, step), *metric.requires, *whole, *dimension]))
            for first in (last - timedelta(27), None):
                yield Question((metric.name,), by, first, last if first else None, limit=10_000)


def measure_every(tenant: Tenant, settings: Settings, last: date) -> dict[str, Any]:
    """Ask each as people do; what has no right answer is left out."""
    catalogue, spent, estimated = load_catalogue(settings.metrics, settings.dbt_project), [], 0
    slow: dict[str, list[str]] = {}
    refused: list[str] = []
    for question in every_question(catalogue, last):
        asked = f"{question.metrics[0]} by {' '.join(question.dimensions) or 'nothing'}, {'28' if question.first else 'all'} days"
        with asking(settings, role=tenant.reader_role) as connection:
            try:
                answer(connection, catalogue, tenant, question, settings.query_cost)
            except QueryRefused as reason:
                refused += [asked] if "--exact" in str(reason.next_step) else []
                continue
            started = time.perf_counter()
            told = answer(connection, catalogue, tenant, question, settings.query_cost)
            spent.append((time.perf_counter() - started) * 1_000)
        estimated += any("--exact" in note for note in told.notes)
        if spent[-1] > _LONG_MS:
            slow.setdefault(" ".join(told.marts), []).append(f"{asked}: {spent[-1]:.0f} ms")
    return {
        "every_questions": len(spent),
        **{f"every_p{share}_ms": percentile(spent, share / 100) for share in (50, 90, 95, 99)},
        "every_estimated": estimated,
        "every_refused": refused,
        "every_slow_count": sum(map(len, slow.values())),
        "every_slow": {marts: [len(questions), questions[-1]] for marts, questions in slow.items()},
    }


def compile_ms(tenant: Tenant, settings: Settings) -> float:
    """Milliseconds of checks and SQL of a question, in the median."""
    catalogue, spent = load_catalogue(settings.metrics, settings.dbt_project), []
    with asking(settings, role=tenant.reader_role) as connection:
        published = published_columns(connection, tenant)
    for _ in range(20):
        for asked in QUESTIONS:
            started = time.perf_counter()
            question = Question(tuple(asked.metrics.split()), tuple(asked.by.split()))
            found = choices(catalogue, tenant, question, published)
            chosen = {part: next(iter(sources.values())) for part, sources in found.sources.items()}
            Compiler(catalogue, tenant, question).statement(chosen).text.as_string()
            spent.append((time.perf_counter() - started) * 1_000)
    return statistics.median(spent)


def of_kinds(times: Mapping[str, Sequence[float]], *, are_told: bool = False) -> list[float]:
    """Milliseconds of all kinds together; with `are_told`, of those that count nobody anew."""
    return [one for asked in QUESTIONS if not (are_told and asked.counts_people) for one in times[asked.name]]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of `values` does not exceed."""
    return round(sorted(values)[min(len(values) - 1, int(len(values) * share))], 1)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plays-a-day", type=int, default=3_500)
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--every", action="store_true", help="also every metric by each of its dimensions (some minutes)")
    arguments = parser.parse_args()
    world = world_of(arguments.plays_a_day * arguments.days, arguments.days)
    tenant, marks = tenant_of(world), MemoryMarks()
    with throwaway_installation() as settings:
        start_database(settings, tenant)
        night(tenant, world, world.days, settings, marks)
        plays = fetch(settings, f"SELECT count(*) AS plays FROM {tenant.marts_schema}.plays", role=tenant.reader_role)[0]["plays"]
        (asked_plays,) = execute_query(tenant, settings, ["play_count"]).rows[0]
        assert asked_plays == plays, "the metric counts what the mart holds"
        measured = measure(tenant, settings, world.days[-1], arguments.rounds)
        compiled = compile_ms(tenant, settings)
        of_every = measure_every(tenant, settings, world.days[-1]) if arguments.every else {}
    every, opened, alone = (of_kinds(times) for times in (measured.waited, measured.opened, measured.alone))
    told, told_opened = (of_kinds(times, are_told=True) for times in (measured.waited, measured.opened))
    results = {
        "history_plays": plays,
        "questions": len(every),
        "rows": measured.rows,
        "p50_ms": percentile(every, 0.50),
        "p95_ms": percentile(every, 0.95),
        "p99_ms": percentile(every, 0.99),
        "open_p50_ms": percentile(opened, 0.50),
        "open_p95_ms": percentile(opened, 0.95),
        "told_p95_ms": percentile(told, 0.95),
        "told_open_p50_ms": percentile(told_opened, 0.50),
        "told_open_p95_ms": percentile(told_opened, 0.95),
        "told_open_p99_ms": percentile(told_opened, 0.99),
        "compile_ms": round(compiled, 2),
        "open_p50_ms_by_question": {name: percentile(times, 0.50) for name, times in measured.opened.items()},
        "answers_sha256": measured.digest,
        **of_every,
    }
    baselines = {"sql_alone_p50_ms": percentile(alone, 0.50), "sql_alone_p95_ms": percentile(alone, 0.95)}
    ratios = {"open_p50_vs_sql_alone": round(percentile(opened, 0.50) / percentile(alone, 0.50), 2)}
    publish("query", params=vars(arguments), results=results, baselines=baselines, ratios=ratios)


if __name__ == "__main__":
    main()
