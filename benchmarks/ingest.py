"""How fast deliveries become silver: landing, bronze and silver of one day's plays from disk, as NDJSON, CSV and Parquet.

Beside them, on the same NDJSON file: DuckDB's bare scan and Parquet write, and dlt on its usual path to Delta, in an environment of its
own. The path is the night's, with the marks in memory and the bronze gate's verdict written by hand (`gates` measures the gate).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import CACHE, publish, throwaway_installation
from nocturne.bronze import load_bronze
from nocturne.lake import duck, table, text
from nocturne.landing import land
from nocturne.ledger import Mark, MemoryMarks
from nocturne.settings import Settings
from nocturne.silver import refine_silver
from nocturne.simulator import World, WorldParameters, write_sources
from nocturne.tenants import Tenant

PLAYS_A_LISTENER = 2.32
"""And day, in this world."""
FORMATS = ("ndjson", "csv", "parquet")
DLT = """
import json, sys, time, dlt
def rows():
    with open(sys.argv[1]) as lines:
        for number, line in zip(range(int(sys.argv[3])), lines):
            try:
                yield json.loads(line)
            except ValueError:
                pass
started = time.perf_counter()
lake = dlt.destinations.filesystem(bucket_url=sys.argv[2])
pipeline = dlt.pipeline("bench", destination=lake, dataset_name="plays", pipelines_dir=sys.argv[2] + "/state")
pipeline.run(dlt.resource(rows, name="plays", write_disposition="append"), table_format="delta")
print(json.dumps(int(sys.argv[3]) / (time.perf_counter() - started)))
"""


def parameters_of(events: int, days: int) -> WorldParameters:
    """A world with about so many plays over so many days."""
    return WorldParameters(seed=3, days=days, listeners=round(events / days / PLAYS_A_LISTENER), artists=400, tracks=4_000)


def tenant_of(parameters: WorldParameters, form: str) -> Tenant:
    """A tenant that delivers plays alone, a file a day."""
    source = {"name": "plays", "dataset": "plays", "kind": "files", "format": form, "location": f"plays/{{day}}.{form}"}
    zone = {"time_zone": parameters.time_zone, "currency": parameters.currency, "begins_on": parameters.begins_on}
    return Tenant.model_validate({"slug": "ingest", "name": "Ingest", "sources": [source], **zone})


def written_sources(parameters: WorldParameters, form: str, events: int) -> Path:
    """The sources of the world, made once and kept."""
    root = CACHE / "ingest" / f"{events}-{parameters.days}-{form}"
    if not root.exists():
        fresh = root.with_name(f"{root.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        write_sources(tenant_of(parameters, form), World(parameters), fresh, threads=2)
        fresh.rename(root)
    return root


def cpu_seconds() -> float:
    """Of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def ingest(settings: Settings, parameters: WorldParameters, form: str) -> dict[str, Any]:
    """Take the sources in, and measure each station."""
    tenant, day, marks = tenant_of(parameters, form), parameters.last_day, MemoryMarks()
    stations: dict[str, dict[str, float]] = {}

    def timed(name: str, station: Callable[..., object]) -> None:
        started, cpu = time.perf_counter(), cpu_seconds()
        station(tenant, day, settings, marks)
        stations[name] = {"wall_seconds": round(time.perf_counter() - started, 3), "cpu_seconds": round(cpu_seconds() - cpu, 3)}

    timed("land", land)
    timed("load_bronze", load_bronze)
    bronze = marks.marks(tenant, "bronze", "plays")
    marks.mark(tenant, "gate_bronze", "plays", {batch: Mark(f"{mark.fingerprint}:", {"passed": True}) for batch, mark in bronze.items()})
    timed("refine_silver", refine_silver)
    with duck(settings) as connection:
        rows = f"SELECT count(*), sum(hash(s)::HUGEINT)::VARCHAR FROM {table(settings, tenant, 'silver', 'plays').scan()} AS s"
        ((kept, digest),) = connection.execute(rows).fetchall()
    landed = sum(int(mark.facts["rows"]) for mark in bronze.values())
    wall, cpu = (sum(station[key] for station in stations.values()) for key in ("wall_seconds", "cpu_seconds"))
    return {
        "landed": landed, "silver": kept, "content": digest, "events_per_second": round(landed / wall), "wall_seconds": round(wall, 3),
        "cpu_seconds_a_million": round(cpu / landed * 1e6, 2), "stations": stations,
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }  # fmt: skip


def in_a_process(root: Path, parameters: WorldParameters, form: str, told: Any) -> None:
    """Measure one format in a process of its own, so that its peak of memory is its own."""
    with throwaway_installation() as settings:
        settings.sources_root.parent.mkdir(parents=True, exist_ok=True)
        settings.sources_root.symlink_to(root)
        told.put(ingest(settings, parameters, form))


def measured(root: Path, parameters: WorldParameters, form: str) -> dict[str, Any]:
    """What `ingest` measures."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    process = context.Process(target=in_a_process, args=(root, parameters, form, told))
    process.start()
    found: dict[str, Any] = told.get(timeout=3_600)
    process.join()
    return found


def bare_scan(root: Path, target: Path) -> float:
    """Seconds in which DuckDB reads the NDJSON files and writes them as Parquet, and nothing else."""
    files = ", ".join(text(path) for path in sorted((root / "plays").iterdir()))
    with duck(Settings(), memory="4GB") as connection:
        started = time.perf_counter()
        connection.execute(f"COPY (SELECT * FROM read_ndjson_auto([{files}], ignore_errors = true)) TO {text(target)} (FORMAT parquet)")
        return time.perf_counter() - started


def by_dlt(root: Path, folder: Path, rows: int) -> float | None:
    """Events a second of dlt into Delta, or None, with a word on stderr, if it is not to be had."""
    python = CACHE / "dlt" / "bin" / "python"
    uv = shutil.which("uv") or str(CACHE.parent / "bootstrap" / "bin" / "uv")
    try:
        if not python.exists():
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(CACHE / "dlt")], check=True)
            packages = ["dlt[deltalake,filesystem]==1.31.0", "pyarrow==25.0.1"]
            subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *packages], check=True)
        arguments = [str(python), "-c", DLT, str(next(iter(sorted((root / "plays").iterdir())))), str(folder), str(rows)]
        environment = {**os.environ, "RUNTIME__DLTHUB_TELEMETRY": "false", "PYTHONPATH": ""}
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
        return float(json.loads(done.stdout.strip().splitlines()[-1]))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"dlt is not to be had: {getattr(error, 'stderr', None) or error}", file=sys.stderr)
        return None


def main() -> None:
    """Run the benchmark."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--days", type=int, default=5)
    options.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    given = options.parse_args()
    parameters = parameters_of(given.events, given.days)
    found = {form: measured(written_sources(parameters, form, given.events), parameters, form) for form in given.formats}
    ndjson = found.get("ndjson")
    results: dict[str, Any] = {f"{form}_events_per_second": one["events_per_second"] for form, one in found.items()}
    results |= {"peak_rss_mb": max(one["peak_rss_mb"] for one in found.values()), "formats": found}
    baselines: dict[str, Any] = {}
    ratios: dict[str, Any] = {}
    if ndjson:
        root, folder = written_sources(parameters, "ndjson", given.events), CACHE / "ingest" / "baselines"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        bare = bare_scan(root, folder / "bare.parquet")
        dlt = by_dlt(root, folder / "dlt", min(100_000, given.events // given.days // 2))
        shutil.rmtree(folder)
        baselines = {"bare_duckdb_seconds": round(bare, 3), "dlt_events_per_second": dlt and round(dlt)}
        ratios = {
            "ndjson_vs_bare_duckdb": round(ndjson["wall_seconds"] / bare, 2),
            "ndjson_vs_dlt": dlt and round(ndjson["events_per_second"] / dlt, 1),
        }
    publish("ingest", params={"events": given.events, "days": given.days}, results=results, baselines=baselines, ratios=ratios)


if __name__ == "__main__":
    main()
