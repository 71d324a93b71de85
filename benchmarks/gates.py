"""What the gates cost: `gate_bronze` on a first night with many batches, and both gates on a small tenant's usual night.

seconds, rows_per_second     the gate of all batches of plays at once, Great Expectations already imported (`import_cpu_seconds`)
vs_one_query                 its seconds / those of one DuckDB query that asks the same of the same rows, and must find the same
small_night_cpu_seconds      gate_bronze and gate_marts of one day of all datasets after a published history; this process alone
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Mapping, Sequence
from datetime import date

from benchmarks import publish, start_database, throwaway_installation
from benchmarks.warehouse import tenant_of, world_of
from nocturne import lake
from nocturne.bronze import load_bronze
from nocturne.datasets import DATASETS
from nocturne.gates import gate_bronze, gate_marts
from nocturne.gates.adjustments import of_dataset
from nocturne.gates.bronze import wrong_codes
from nocturne.gates.checks import Check
from nocturne.gates.evaluation import library
from nocturne.gates.screening import suspects
from nocturne.gates.suites import AGE, PROBLEMS, WRONG_CODES, load_batch_checks, load_suite, row_columns
from nocturne.landing import land
from nocturne.ledger import MemoryMarks
from nocturne.marts import build_marts, publish_marts
from nocturne.settings import Settings
from nocturne.silver import refine_silver
from nocturne.simulator import World, write_sources
from nocturne.tenants import Tenant
from nocturne.warehouse import load_warehouse

OWN: Sequence[tuple[str, Mapping[str, object]]] = (
    ("expect_column_values_to_match_regex", {"column": "play_id", "regex": "^[a-z0-9-]+$"}),
    ("expect_column_values_to_match_regex", {"column": "track_id", "regex": "^[a-z]+[0-9]+$"}),
    ("expect_column_values_to_match_regex", {"column": "listener_id", "regex": "^[a-z]+[0-9]+$"}),
    ("expect_column_value_lengths_to_be_between", {"column": "play_id", "min_value": 3, "max_value": 40}),
    ("expect_column_value_lengths_to_be_between", {"column": "track_id", "min_value": 2, "max_value": 20}),
    ("expect_column_value_lengths_to_be_between", {"column": "listener_id", "min_value": 2, "max_value": 20}),
    ("expect_column_value_lengths_to_be_between", {"column": "country", "min_value": 2, "max_value": 2}),
    ("expect_column_values_to_be_between", {"column": "ms_played", "min_value": 1, "max_value": 3_600_000}),
    ("expect_column_values_to_not_be_null", {"column": "country"}),
    ("expect_column_values_to_not_be_null", {"column": "platform"}),
    ("expect_column_values_to_not_be_null", {"column": "reason_end"}),
    ("expect_column_values_to_not_be_null", {"column": "context_type"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["listener_id", "played_at", "track_id"]}),
)
"""Checks of the tenant's own, with which there are fifty."""


def with_own_checks(tenant: Tenant) -> Tenant:
    """The tenant with those checks in its file."""
    add = [
        {"type": kind, "kwargs": {**kwargs, "mostly": 0.9}, "severity": "warn", "why": "The measurement asks fifty checks."}
        for kind, kwargs in OWN
    ]
    return Tenant.model_validate(tenant.model_dump(by_alias=True) | {"checks": {"plays": {"add": add}}})


def failing(check: Check) -> str:
    """SQL: how many rows of a group fail a check; of a key that stands several times, how many too many."""
    if check.type == "expect_compound_columns_to_be_unique":
        return f"count(*) - count(DISTINCT ({', '.join(check.columns)}))"
    return f"count(*) FILTER ({suspects(check, row_columns('plays'), rows='')})"


def one_query(settings: Settings, tenant: Tenant) -> tuple[float, int, str]:
    """(seconds, checks of rows that batches fail, digest of the counts) of one query that asks every batch of plays what the gate asks.

    It counts the rows that fail each check, and what checks of batches compare with the past: filled columns, mixes, quantiles, crowds.
    """
    suite, _ = of_dataset(tenant, settings, load_suite(settings.expectations, "plays"), load_batch_checks(settings.expectations))
    with lake.duck(settings) as connection:
        started = time.perf_counter()
        rows = lake.table(settings, tenant, "bronze", "plays").scan()
        measured = f"coalesce(len(_problems), 0) AS {PROBLEMS}, date_diff('day', _event_on, _received_on) AS {AGE}"
        measured += f", {wrong_codes(DATASETS['plays'])} AS {WRONG_CODES}"
        counts = ", ".join(failing(check) for check in suite.rows)
        filled = ", ".join(f"count({column.name})" for column in DATASETS["plays"].columns)
        crowd = "SELECT _batch, max(n) FROM (SELECT _batch, count(*) AS n FROM {rows} GROUP BY _batch, {column}) GROUP BY 1"
        columns = ("listener_id", "track_id")
        crowds = " ".join(f"JOIN ({crowd.format(rows=rows, column=one)}) AS of_{one} USING (_batch)" for one in columns)
        found = connection.execute(
            f"SELECT * FROM (SELECT _batch, count(*), {counts}, {filled}, histogram(country), histogram(platform),"
            f" histogram(hour(played_at AT TIME ZONE 'Europe/Paris')), histogram({AGE}),"
            f" quantile_disc(ms_played, [{', '.join(str(step / 20) for step in range(21))}])"
            f" FROM (SELECT *, {measured} FROM {rows}) GROUP BY 1) {crowds} ORDER BY 1"
        ).fetchall()
        seconds = time.perf_counter() - started
    failed = sum(count > (1 - check.mostly) * total for _, total, *each in found for check, count in zip(suite.rows, each, strict=False))
    return seconds, failed, hashlib.sha256(repr(found).encode()).hexdigest()[:16]


def first_night(plays: int, days: int) -> dict[str, float | int | str]:
    """The gate of many batches at once, and the query."""
    world = world_of(plays, days)
    whole = with_own_checks(tenant_of(world))
    tenant = whole.model_copy(update={"sources": whole.sources_of("plays")})
    with throwaway_installation() as settings:
        marks = MemoryMarks()
        write_sources(tenant, world, settings.sources_root)
        for station in (land, load_bronze):
            station(tenant, world.days[-1], settings, marks)
        started, cpu = time.perf_counter(), time.process_time()
        receipt = gate_bronze(tenant, world.days[-1], settings, marks)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        warned = receipt.count("warnings")
        baseline, failed, digest = min(one_query(settings, tenant) for _ in range(3))
    return {
        "checks": receipt.count("checks"),
        "batches": receipt.count("batches"),
        "rows": receipt.count("rows"),
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu, 3),
        "rows_per_second": round(receipt.count("rows") / seconds),
        "warnings": warned,
        "one_query_seconds": round(baseline, 3),
        "one_query_failed_checks": failed,
        "one_query_digest": digest,
    }


def usual_night(world: World) -> dict[str, float]:
    """CPU seconds of both gates for one day of all datasets, after the days before it were published."""
    tenant = tenant_of(world)
    before, last = world.days[-2], world.days[-1]
    with throwaway_installation() as settings:
        start_database(settings, tenant)
        marks = MemoryMarks()
        write_sources(tenant, world, settings.sources_root, days=world.days[:-1])
        _night(tenant, before, settings, marks)
        write_sources(tenant, world, settings.sources_root)
        spent = _night(tenant, last, settings, marks)
        again = _night(tenant, last, settings, marks)
    return {"small_night_cpu_seconds": round(spent, 3), "second_run_cpu_seconds": round(again, 3)}


def _night(tenant: Tenant, day: date, settings: Settings, marks: MemoryMarks) -> float:
    spent = 0.0
    for station in (land, load_bronze, gate_bronze, refine_silver, load_warehouse, build_marts, gate_marts, publish_marts):
        cpu = time.process_time()
        station(tenant, day, settings, marks)  # type: ignore[operator]
        spent += time.process_time() - cpu if station in (gate_bronze, gate_marts) else 0.0
    return spent


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plays", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--night-plays", type=int, default=150_000, help="plays of the small tenant in 30 days")
    arguments = parser.parse_args()
    cpu = time.process_time()
    library()
    imported = time.process_time() - cpu
    first = first_night(arguments.plays, arguments.days)
    baselines = {key: first.pop(key) for key in ("one_query_seconds", "one_query_failed_checks", "one_query_digest")}
    publish(
        "gates",
        params={"plays": arguments.plays, "days": arguments.days, "night_plays": arguments.night_plays},
        results={**first, **usual_night(world_of(arguments.night_plays, 30)), "import_cpu_seconds": round(imported, 3)},
        baselines=baselines,
        ratios={"vs_one_query": round(float(first["seconds"]) / float(baselines["one_query_seconds"]), 2)},
    )


if __name__ == "__main__":
    main()
