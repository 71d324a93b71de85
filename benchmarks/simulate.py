"""How fast the simulator writes a world's plays as NDJSON to disk, beside DuckDB and `json.dumps` writing the same rows from memory.

The path is the demo's: `write_sources` of the demo tenant with most listeners, its world grown to the number of events asked for and its
plays alone. The time holds everything: the world, the lives of its subscriptions, the lines, the disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import shutil
import time
from pathlib import Path

import pyarrow as pa

from benchmarks import CACHE, publish
from nocturne.lake import duck
from nocturne.settings import load_settings
from nocturne.simulator import World, WorldParameters, demo_worlds, write_sources
from nocturne.simulator.foreign import foreign
from nocturne.simulator.writing import typed
from nocturne.tenants import Tenant, load_tenants


def grown(parameters: WorldParameters, events: int) -> WorldParameters:
    """The same world with as many more listeners as so many plays need."""
    world = World(parameters)
    now = sum(world.expected_plays(day) for day in range(0, parameters.days, 10)) * 10
    factor = events / now
    return parameters.model_copy(update={"listeners": round(parameters.listeners * factor)})


def plays_only(tenant: Tenant, suffix: str) -> Tenant:
    """The tenant with nothing but its plays, in one file a day that ends in `suffix`."""
    source = tenant.sources_of("plays")[0]
    return tenant.model_copy(update={"sources": (source.model_copy(update={"location": f"plays/{{day}}{suffix}"}),)})


def timed_write(tenant: Tenant, parameters: WorldParameters, root: Path, threads: int) -> dict[str, float]:
    """Rows, bytes and seconds of writing a world into an empty folder."""
    shutil.rmtree(root, ignore_errors=True)
    started, cpu = time.perf_counter(), time.process_time()
    world = World(parameters)
    world.prepare()
    prepared = time.perf_counter()
    written = write_sources(tenant, world, root, threads=threads)
    return {
        "rows": written.rows,
        "bytes": written.bytes,
        "seconds": time.perf_counter() - started,
        "world_seconds": prepared - started,
        "cpu_seconds": time.process_time() - cpu,
    }


def content_hash(root: Path) -> str:
    """SHA-256 over names and bytes of all plays' files."""
    digest = hashlib.sha256()
    for path in sorted((root / "plays").iterdir()):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def rows_in_memory(tenant: Tenant, parameters: WorldParameters, most: int) -> pa.Table:
    """The first days' rows in the tenant's columns, for the baselines: they need not make a world."""
    world, made, tables = World(parameters), foreign(tenant, tenant.sources[0]), []
    for on in world.days:
        tables.append(typed(made, world.delivered("plays", on)))
        if sum(map(len, tables)) >= most:
            break
    return pa.concat_tables(tables).slice(0, most).combine_chunks()


def by_duckdb(rows: pa.Table, path: Path) -> float:
    """Rows a second that DuckDB's own JSON writer brings to disk from memory."""
    with duck(load_settings(), memory="4GB") as connection:
        connection.register("plays", rows)
        started = time.perf_counter()
        connection.execute(f"COPY plays TO '{path}' (FORMAT json)")
        return len(rows) / (time.perf_counter() - started)


def by_json_dumps(rows: pa.Table, path: Path) -> float:
    """Rows a second of the plain way: a dictionary and `json.dumps` for each."""
    started = time.perf_counter()
    with path.open("w") as file:
        for batch in rows.to_batches(max_chunksize=10_000):
            file.writelines(json.dumps(row) + "\n" for row in batch.to_pylist())
    return len(rows) / (time.perf_counter() - started)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    tenants = load_tenants(load_settings().tenants).tenants
    slug, parameters = max(((slug, world) for slug, world in demo_worlds().items() if slug in tenants), key=lambda pair: pair[1].listeners)
    parameters = grown(parameters, arguments.events)
    root = CACHE / "simulate"
    try:
        tenant = plays_only(tenants[slug], ".ndjson")
        told = timed_write(tenant, parameters, root, arguments.threads)
        digest, peak = content_hash(root), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        packed = timed_write(plays_only(tenant, ".ndjson.gz"), parameters, root, arguments.threads)
        rows = rows_in_memory(tenant, parameters, 1_000_000)
        duckdb = by_duckdb(rows, root / "duckdb.ndjson")
        dumps = by_json_dumps(rows.slice(0, 100_000), root / "dumps.ndjson")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    speed = told["rows"] / told["seconds"]
    publish(
        "simulate",
        params={"events": arguments.events, "threads": arguments.threads, "days": parameters.days, "listeners": parameters.listeners},
        results={
            "events_per_second": round(speed),
            "rows": int(told["rows"]),
            "bytes": int(told["bytes"]),
            "seconds": round(told["seconds"], 3),
            "world_seconds": round(told["world_seconds"], 3),
            "cpu_seconds": round(told["cpu_seconds"], 3),
            "gzip_events_per_second": round(packed["rows"] / packed["seconds"]),
            "peak_rss_mb": round(peak),
            "content_sha256": digest,
        },
        baselines={"duckdb_events_per_second": round(duckdb), "json_dumps_events_per_second": round(dumps)},
        ratios={"vs_duckdb": round(speed / duckdb, 3), "vs_json_dumps": round(speed / dumps, 2)},
    )


if __name__ == "__main__":
    main()
