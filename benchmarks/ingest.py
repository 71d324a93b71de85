"""How fast delivered files become silver: `land`, `load_bronze`, `refine_silver` of a first night, beside DuckDB's bare scan and dlt.

<format>_events_per_second    delivered plays / seconds of the three stations; the gate between them is run too, and told apart
peak_rss_mb                   the greatest of any station's process (each has its own, as the tasks of a night have)
ndjson_vs_bare_duckdb         those seconds / the seconds in which DuckDB scans the same files and writes them as one Parquet file
single_event_ms               one event of JSON through the dataset's pydantic model, the mean of 20,000 different ones
ndjson_vs_dlt                 those seconds / the seconds of dlt's pipeline `filesystem | read_jsonl` into a Delta table

The world holds late, repeated, corrected and bad rows, so rows are refused and keys compared. Neither baseline validates, pseudonymises
or deduplicates; DuckDB ignores lines that are cut off, and dlt, which would stop at one, gets the files without them. dlt stands in an
environment of its own below `var/`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmarks import CACHE, publish, throwaway_installation
from benchmarks.warehouse import tenant_of, world_of
from nocturne.accepting import Acceptance
from nocturne.datasets import row_model
from nocturne.lake import duck, table, text
from nocturne.ledger import MemoryMarks
from nocturne.settings import Settings
from nocturne.simulator import World, WorldParameters, write_sources
from nocturne.tenants import Tenant

STATIONS = ("land", "load_bronze", "gate_bronze", "refine_silver")
DLT = "dlt[filesystem,deltalake]"
_DLT_RUN = """
import sys, time, dlt
from dlt.sources.filesystem import filesystem, read_jsonl
_, sources, lake = sys.argv
started = time.perf_counter()
rows = (filesystem(bucket_url=f"file://{sources}", file_glob="*.ndjson") | read_jsonl()).with_name("plays")
rows.apply_hints(table_format="delta")
target = dlt.destinations.filesystem(f"file://{lake}")
pipeline = dlt.pipeline("bench", destination=target, dataset_name="bench", pipelines_dir=lake + "-state")
pipeline.run(rows)
print("SECONDS", time.perf_counter() - started)
"""


def plays_of(world: World, form: str) -> Tenant:
    """A tenant that delivers a world's plays and nothing else, a file a day; the last day may be a few late rows (see `late`)."""
    tenant = tenant_of(world)
    accepted = Acceptance(day=world.days[-1], reason="late rows alone")
    changed = {"format": form, "location": f"plays/{{day}}.{form}", "accept": (accepted,)}
    plays = tenant.sources_of("plays")[0].model_copy(update=changed)
    return tenant.model_copy(update={"sources": (plays,)})


# our way -----------------------------------------------------------------------------------------------------------------------
def station(
    name: str, world: WorldParameters, form: str, settings: Settings, marks: MemoryMarks, *, day: date | None = None
) -> tuple[MemoryMarks, dict[str, float]]:
    """Run one station of a day (the world's last) in this process, which imported it and its libraries before, as a worker does before it
    forks a task; its marks and what it cost.
    """
    tenant = plays_of(World(world), form)
    import deltalake  # noqa: F401 (stations import it where they first open a table)

    from nocturne import bronze, gates, landing, silver
    from nocturne.gates.evaluation import library

    if name == "gate_bronze":
        library()
    run: Callable[..., Any] = {
        "land": landing.land, "load_bronze": bronze.load_bronze, "gate_bronze": gates.gate_bronze, "refine_silver": silver.refine_silver,
    }[name]  # fmt: skip
    started, cpu = time.perf_counter(), _cpu_seconds()
    run(tenant, day or world.last_day, settings, marks)
    cost = {"wall_seconds": time.perf_counter() - started, "cpu_seconds": _cpu_seconds() - cpu, "rss_mb": _rss_mb()}
    return marks, cost


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _rss_mb() -> float:
    """The most memory that this process held; `ru_maxrss` would tell that of the process which started it, if it was greater."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` returns in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def night(world: WorldParameters, form: str, sources: Path) -> dict[str, Any]:
    """Rows, costs by station and a hash of silver of one first night."""
    with throwaway_installation(sources=sources) as settings:
        marks, costs = MemoryMarks(), {}
        for name in STATIONS:
            marks, costs[name] = alone(station, name, world, form, settings, marks)
        tenant = plays_of(World(world), form)
        told = [mark.facts for mark in marks.marks(tenant, "bronze", "plays").values()]
        rows, digest = content(settings, tenant)
    ours = [cost for name, cost in costs.items() if name != "gate_bronze"]
    seconds = sum(cost["wall_seconds"] for cost in ours)
    delivered = sum(int(fact["rows"]) for fact in told)
    return {
        "delivered": delivered,
        "silver_rows": rows,
        "silver_hash": digest,
        "seconds": seconds,
        "cpu_seconds": sum(cost["cpu_seconds"] for cost in ours),
        "events_per_second": delivered / seconds,
        "peak_rss_mb": max(cost["rss_mb"] for cost in ours),
        "by_station": {name: {fact: round(value, 3) for fact, value in cost.items()} for name, cost in costs.items()},
    }


def content(settings: Settings, tenant: Tenant) -> tuple[int, str]:
    """Rows of silver's plays and a hash of them that no order changes."""
    silver = table(settings, tenant, "silver", "plays")
    columns = ", ".join(f'"{column}"' for column, _ in silver.columns)
    with duck(settings) as connection:
        ((rows, total),) = connection.execute(f"SELECT count(*), sum(hash({columns})::HUGEINT) FROM {silver.scan()}").fetchall()
    return int(rows), f"{int(total or 0):x}"


# beside it -----------------------------------------------------------------------------------------------------------------------
def bare_duckdb(files: list[Path], target: Path, settings: Settings) -> float:
    """Seconds in which DuckDB, with a station's threads and more memory, scans NDJSON and writes one Parquet file.

    With a station's memory it does not come to the end of 20 million rows.
    """
    listed = ", ".join(map(text, files))
    with duck(settings, memory="4GB") as connection:
        started = time.perf_counter()
        connection.execute(
            f"COPY (SELECT * FROM read_json([{listed}], format = 'newline_delimited', ignore_errors = true))"
            f" TO {text(target)} (FORMAT parquet)"
        )
        return time.perf_counter() - started


def single_event(files: list[Path], count: int = 20_000) -> float:
    """Milliseconds in which one event is validated by its model; events that are refused are refused as fast."""
    model = row_model("plays")
    with files[0].open("rb") as lines:
        events = [line for line, _ in zip(lines, range(count), strict=False)]
    started = time.perf_counter()
    for event in events:
        with suppress(ValidationError):
            model.model_validate_json(event)
    return (time.perf_counter() - started) * 1_000 / len(events)


def without_cut_lines(files: list[Path], target: Path) -> Path:
    """A folder with the files, without the lines that are no JSON."""
    target.mkdir(parents=True)
    for file in files:
        lines = file.read_bytes().splitlines(keepends=True)
        (target / file.name).write_bytes(b"".join(line for line in lines if line.endswith(b"}\n")))
    return target


def by_dlt(sources: Path, scratch: Path) -> float | str:
    """Seconds of dlt's usual path over these files; why not, if it cannot be had."""
    environment = CACHE / "dlt"
    python = environment / "bin" / "python"
    uv = shutil.which("uv") or CACHE.parent / "bootstrap" / "bin" / "uv"  # where set-up puts it if the machine has none
    try:
        if not python.exists():
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True, capture_output=True, text=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, DLT], check=True, capture_output=True, text=True)
        done = subprocess.run([python, "-c", _DLT_RUN, sources, scratch], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        return "uv is not installed"
    except subprocess.CalledProcessError as error:
        return f"dlt did not run: {(error.stderr or str(error)).strip().splitlines()[-1]}"
    return float(done.stdout.rpartition("SECONDS")[2])


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="About so many: the rate counts those delivered.")
    parser.add_argument("--events-a-day", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3, help="The fastest one counts.")
    parser.add_argument("--formats", nargs="+", default=["ndjson", "csv", "parquet"])
    parser.add_argument("--without-dlt", action="store_true")
    given = parser.parse_args()
    days = max(1, given.events // given.events_a_day)
    world = world_of(round(given.events * 1.28), days)  # a short world has fewer plays than a long one's mean says
    root = CACHE / "ingest"
    nights: dict[str, dict[str, Any]] = {}
    baselines: dict[str, Any] = {}
    ratios: dict[str, float] = {}
    try:
        for form in given.formats:
            sources = root / form
            write_sources(plays_of(world, form), world, sources)
            nights[form] = max(
                (night(world.parameters, form, sources) for _ in range(given.runs)), key=lambda one: one["events_per_second"]
            )
        if "ndjson" in nights:
            files = sorted((root / "ndjson" / "plays").glob("*.ndjson"))
            with throwaway_installation() as settings:
                bare = min(alone(bare_duckdb, files, root / "bare.parquet", settings) for _ in range(given.runs))
            dlt = "left out" if given.without_dlt else by_dlt(without_cut_lines(files, root / "whole"), root / "dlt")
            baselines = {"bare_duckdb_seconds": round(bare, 3), "dlt_seconds": round(dlt, 3) if isinstance(dlt, float) else dlt}
            ratios["ndjson_vs_bare_duckdb"] = round(nights["ndjson"]["seconds"] / bare, 2)
            if isinstance(dlt, float):
                ratios["ndjson_vs_dlt"] = round(nights["ndjson"]["seconds"] / dlt, 3)
            size = sum(file.stat().st_size for file in files)
            one_event = single_event(files)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    told = ("delivered", "silver_rows", "silver_hash", "by_station")
    publish(
        "ingest",
        params={
            "events": given.events, "days": days, "runs": given.runs, "columns": 14,
            "ndjson_bytes_a_row": round(size / nights["ndjson"]["delivered"]) if "ndjson" in nights else None,
        },
        results={
            **{f"{form}_events_per_second": round(one["events_per_second"]) for form, one in nights.items()},
            **{f"{form}_cpu_seconds": round(one["cpu_seconds"], 2) for form, one in nights.items()},
            "single_event_ms": round(one_event, 4) if "ndjson" in nights else None,
            "peak_rss_mb": round(max(one["peak_rss_mb"] for one in nights.values())),
            **{f"{form}_{fact}": one[fact] for form, one in nights.items() for fact in told},
        },
        baselines=baselines,
        ratios=ratios,
    )  # fmt: skip


if __name__ == "__main__":
    main()
