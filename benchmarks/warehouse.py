"""How fast silver gets into PostgreSQL: `load_warehouse` of a world whose days are all new, beside a bare COPY of the same rows by ADBC.

The path is the night's: marks, Delta, DuckDB, Arrow, COPY, what was touched, `_loaded`, one transaction a dataset. A second run, with
nothing new, and a late one, with a handful of rows on three old days, are timed too.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterable
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks import publish, start_database, throwaway_installation
from nocturne import lake
from nocturne.datasets import DATASETS, Personal
from nocturne.ledger import Mark, MemoryMarks
from nocturne.postgres import fetch, load_arrow
from nocturne.settings import Settings
from nocturne.simulator import World, WorldParameters
from nocturne.tenants import Tenant
from nocturne.warehouse import load_warehouse

DATASETS_HELD = (
    "plays", "interactions", "subscription_events", "payments", "ad_impressions", "tracks", "artists", "releases", "listeners", "plans",
    "rights",
    "fx_rates", "playlists", "playlist_tracks",
)  # fmt: skip


def world_of(plays: int, days: int, *, begins_on: date = date(2026, 1, 1), seed: int = 3) -> World:
    """A world with about so many plays over so many days."""
    made = {"seed": seed, "days": days, "begins_on": begins_on, "tracks": 4_000, "artists": 500}
    probe = World(WorldParameters.model_validate({**made, "listeners": 1_000}))
    expected = sum(probe.expected_plays(day) for day in range(0, days, 7)) * 7
    return World(WorldParameters.model_validate({**made, "listeners": max(50, round(1_000 * plays / expected))}))


def tenant_of(world: World, slug: str = "bench") -> Tenant:
    """A tenant that delivers what the world has and marts read."""
    held = [name for name in DATASETS_HELD if name in world.datasets]
    return Tenant.model_validate(
        {
            "slug": slug,
            "name": "Bench",
            "time_zone": world.parameters.time_zone,
            "currency": world.parameters.currency,
            "begins_on": world.parameters.begins_on,
            "sources": [{"name": name, "dataset": name, "kind": "files", "location": f"{name}/{{day}}.ndjson"} for name in held],
        }
    )


def write_silver(world: World, tenant: Tenant, settings: Settings, marks: MemoryMarks, days: Iterable[date]) -> int:
    """Write what is true on these event dates (and the reference data of the last) as silver, with its marks; the number of rows."""
    days, rows = list(days), 0
    with lake.duck(settings) as connection:
        for dataset in tenant.datasets:
            if dataset.kind == "reference":
                rows += _write(connection, tenant, settings, marks, dataset.name, world.reference(dataset.name, days[-1]), [])
                continue
            for first in range(0, len(days), 30):
                chunk = days[first : first + 30]
                tables = [world.events(dataset.name, on) for on in chunk]
                rows += _write(connection, tenant, settings, marks, dataset.name, pa.concat_tables(tables), chunk)
    return rows


def _write(
    connection: lake.Connection, tenant: Tenant, settings: Settings, marks: MemoryMarks, name: str, rows: pa.Table, days: list[date]
) -> int:
    dataset = DATASETS[name]
    connection.register("delivered", rows)
    columns = []
    for column in dataset.columns:
        if column.personal is Personal.IDENTIFIER:
            columns.append(f"sha256({column.name}) AS {column.silver_name}")
        elif column.silver_name:
            columns.append(column.name)
    on = dataset.event_date
    if on and on not in dataset.by_name:
        columns.append(f"timezone('{tenant.time_zone[0].value}', {dataset.instant})::DATE AS {on}")
    columns.append(f"{on or 'DATE ' + lake.text(tenant.begins_on.isoformat())} AS received_on")
    query = f"SELECT {', '.join(columns)} FROM delivered"
    lake.table(settings, tenant, "silver", name).replace(connection, query, [day.isoformat() for day in days])
    counts = (
        {str(part): count for part, count in connection.execute(f"SELECT {on}, count(*) FROM ({query}) GROUP BY 1").fetchall()}
        if on
        else {}
    )
    digest = hashlib.sha256(str(len(rows)).encode()).hexdigest()[:16]
    parts = counts if on else {"all": len(rows)}
    marks.mark(tenant, "silver", name, {part: Mark(digest, {"rows": count, "duplicates": 0}) for part, count in parts.items()})
    return len(rows)


def bare_copy(tenant: Tenant, settings: Settings) -> float:
    """Rows a second of COPY by ADBC alone, of the same plays from memory into a table without an index."""
    columns = [name for name, _, _ in DATASETS["plays"].postgres_columns]
    with lake.duck(settings, memory="4GB") as connection:
        source = lake.table(settings, tenant, "silver", "plays")
        rows = connection.sql(f"SELECT * FROM {source.scan(*columns)}").to_arrow_table()
    with load_arrow(settings, role=tenant.owner_role) as loader:
        loader.execute(f"CREATE TABLE {tenant.build_schema}.bare (LIKE {tenant.raw_schema}.plays)")
        started = time.perf_counter()
        loader.append(tenant.build_schema, "bare", rows)
        return len(rows) / (time.perf_counter() - started)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plays", type=int, default=600_000)
    parser.add_argument("--days", type=int, default=120)
    arguments = parser.parse_args()
    world = world_of(arguments.plays, arguments.days)
    tenant, marks = tenant_of(world), MemoryMarks()

    with throwaway_installation() as settings:
        start_database(settings, tenant)
        rows = write_silver(world, tenant, settings, marks, world.days)
        last = world.days[-1]
        timings = {}
        for name in ("first", "second", "late"):
            if name == "late":
                add_late(world, tenant, settings, marks, [last - timedelta(days) for days in (20, 50, 80)])
            started, cpu = time.perf_counter(), time.process_time()
            receipt = load_warehouse(tenant, last, settings, marks)
            timings[name] = (receipt.count("loaded"), time.perf_counter() - started, time.process_time() - cpu)
        query = f"SELECT md5(string_agg(p::text, '' ORDER BY play_id)) AS digest FROM {tenant.raw_schema}.plays AS p"
        digest = fetch(settings, query, role=tenant.owner_role)[0]["digest"]
        bare = bare_copy(tenant, settings)
    loaded, seconds, cpu = timings["first"]
    publish(
        "warehouse",
        params={"plays": arguments.plays, "days": arguments.days},
        results={
            "rows_per_second": round(loaded / seconds),
            "rows": loaded,
            "silver_rows": rows,
            "seconds": round(seconds, 3),
            "cpu_seconds": round(cpu, 3),
            "second_run_seconds": round(timings["second"][1], 3),
            "late_rows": timings["late"][0],
            "late_seconds": round(timings["late"][1], 3),
            "content_md5": digest,
        },
        baselines={"bare_copy_rows_per_second": round(bare)},
        ratios={"vs_bare_copy": round(loaded / seconds / bare, 3)},
    )


def add_late(world: World, tenant: Tenant, settings: Settings, marks: MemoryMarks, days: Iterable[date], rows: int = 3) -> None:
    """Give these days so many plays more: silver is written anew, its marks with it."""
    days = list(days)
    tables = [world.events("plays", day) for day in days]
    late = [table.slice(0, rows) for table in tables]
    names = tables[0].column_names.index("play_id")
    renamed = [one.set_column(names, "play_id", pc.binary_join_element_wise(one["play_id"], "late", "-")) for one in late]
    with lake.duck(settings) as connection:
        _write(connection, tenant, settings, marks, "plays", pa.concat_tables([*tables, *renamed]), days)


if __name__ == "__main__":
    main()
