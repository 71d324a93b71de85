"""What a late batch costs in a long lake: 1,000 plays of three old dates, delivered into a year and into its first month.

cost_ratio_365_vs_30_days     CPU seconds of `load_bronze` and `refine_silver` of that batch in the year / those in the month
files_rewritten               silver's data files that the batch replaced or added in the year; all others stand as they were
read_ratio_nights_vs_rewritten   seconds to read all plays of the year's silver, after maintenance, / of the same rows written at once
seconds_of_a_listener         to read what one listener played in the year, before and after maintenance put days in the order of listeners

Both lakes come from one world, a night at a time, by the path of the night, and are kept below `var/`; each measurement works on a copy of
its own.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import shutil
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import CACHE, publish, throwaway_installation
from benchmarks.ingest import alone, content, plays_of, station
from benchmarks.warehouse import world_of
from nocturne.lake import Connection, Table, duck, table, text
from nocturne.ledger import MemoryMarks
from nocturne.maintenance import tidy_lake
from nocturne.settings import Settings, load_settings
from nocturne.simulator import World, WorldParameters, write_sources

_AT_ONCE = 30
_STATIONS = ("land", "load_bronze", "gate_bronze", "refine_silver")
_MONTH = 30
_LATE = (10, 11, 12)  # days of the world
_FORM = "ndjson"


def built(world: World, days: int, settings: Settings) -> MemoryMarks:
    """Grow the lake of this installation to its first `days` days, a night at a time, and keep its marks beside it."""
    tenant, kept = plays_of(world, _FORM), settings.var / "marks"
    done, marks = pickle.loads(kept.read_bytes()) if kept.exists() else (0, MemoryMarks())  # noqa: S301  (we wrote it)
    while done < days:
        upto = min(days, done + _AT_ONCE)
        write_sources(tenant, world, settings.sources_root, days=world.days[done:upto])
        marks = alone(nights, world.parameters, world.days[done:upto], settings, marks)
        shutil.rmtree(settings.sources_root)
        forget(settings)
        done = upto
        kept.write_bytes(pickle.dumps((done, marks)))
    return marks


def forget(settings: Settings) -> None:
    """Let the tables' logs be a month older, so that they tell what Delta keeps of a year: it removes its commits after 30 days."""
    from deltalake import DeltaTable

    for log in settings.lake_root.rglob("_delta_log"):
        long_ago = time.time() - 31 * 86_400
        for commit in log.iterdir():
            os.utime(commit, (long_ago, long_ago))
        delta = DeltaTable(str(log.parent))
        delta.create_checkpoint()
        delta.cleanup_metadata()


def nights(world: WorldParameters, days: Sequence[date], settings: Settings, marks: MemoryMarks) -> MemoryMarks:
    """Run the night of each of these days."""
    for day in days:
        for name in _STATIONS:
            marks, _ = station(name, world, _FORM, settings, marks, day=day)
    return marks


def late_rows(world: World, rows: int) -> bytes:
    """New plays of three old dates, as the source writes them."""
    lines: list[str] = []
    for number in _LATE:
        plays = world.events("plays", world.days[number]).slice(0, -(-rows // len(_LATE))).to_pylist()
        lines += (json.dumps({**play, "play_id": f"late-{play['play_id']}"}, default=_iso) for play in plays)
    return ("\n".join(lines[:rows]) + "\n").encode()


def _iso(value: Any) -> str:
    return str(value.isoformat())


def measured(world: WorldParameters, late: bytes, lake: Settings, marks: MemoryMarks, received_on: date) -> dict[str, Any]:
    """Deliver the late rows into a copy of a lake: what the night costs, and which of silver's files it left."""
    with throwaway_installation() as settings:
        shutil.copytree(lake.lake_root, settings.lake_root, copy_function=os.link)  # no data file is ever written twice
        path = settings.sources_root / "plays" / f"{received_on}.{_FORM}"
        path.parent.mkdir(parents=True)
        path.write_bytes(late)
        tenant = plays_of(World(world), _FORM)
        silver = table(settings, tenant, "silver", "plays")
        before = {(file.part, file.path.name) for file in silver.files()}
        costs = {}
        for name in _STATIONS:
            marks, costs[name] = alone(station, name, world, _FORM, settings, marks)
        after = {(file.part, file.path.name) for file in silver.files()}
        rows, digest = content(settings, tenant)
    return {
        "cpu_seconds": sum(costs[name]["cpu_seconds"] for name in ("load_bronze", "refine_silver")),
        "by_station": {name: {fact: round(value, 3) for fact, value in cost.items()} for name, cost in costs.items()},
        "files_rewritten": len(after - before),
        "parts_rewritten": sorted(str(part) for part, _ in after - before),
        "silver_rows": rows,
        "silver_hash": digest,
    }


def reading(world: World, lake: Settings) -> dict[str, Any]:
    """What reading silver costs as its nights left it, and after maintenance."""
    with throwaway_installation() as settings:
        shutil.copytree(lake.lake_root, settings.lake_root, copy_function=os.link)
        tenant = plays_of(world, _FORM)
        silver = table(settings, tenant, "silver", "plays")
        with duck(settings) as connection:
            before = of_a_listener(connection, silver)
            started = time.perf_counter()
            receipt = tidy_lake(tenant, world.days[-1], settings, MemoryMarks())
            seconds = time.perf_counter() - started
            after = of_a_listener(connection, silver)
            ratio, files = read_ratio(connection, silver, settings.var / "rewritten"), len(silver.files())
    (entry,) = [entry for entry in receipt.entries if entry.name == "silver/plays"]
    return {
        "read_ratio_nights_vs_rewritten": round(ratio, 3),
        "files": files,
        "seconds_of_a_listener": {"before": round(before, 3), "after": round(after, 3)},
        "maintenance": {"seconds": round(seconds, 1), **entry.counts},
    }


def of_a_listener(connection: Connection, silver: Table) -> float:
    """Seconds to read what one listener played."""
    (listener,) = connection.execute(f"SELECT min(listener_key) FROM {silver.scan(parts=[silver.files()[-1].part or ''])}").fetchall()[0]
    query = f"SELECT count(*), sum(ms_played), max(played_at) FROM {silver.scan()} WHERE listener_key = {text(listener)}"
    return least_seconds(connection, query)


def read_ratio(connection: Connection, silver: Table, whole: Path) -> float:
    """Seconds to read silver as it stands / as one query writes it to `whole`."""
    columns = ", ".join(f"max({column})" for column, _ in silver.columns if column != silver.partition)
    connection.execute(f"COPY (SELECT * FROM {silver.scan()}) TO {text(whole)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)")
    stands, rewritten = (
        least_seconds(connection, f"SELECT count(*), {columns} FROM {rows}") for rows in (silver.scan(), f"read_parquet({text(whole)})")
    )
    return stands / rewritten


def least_seconds(connection: Connection, query: str) -> float:
    """The fastest of three."""
    found = []
    for _ in range(3):
        started = time.perf_counter()
        connection.execute(query).fetchall()
        found.append(time.perf_counter() - started)
    return min(found)


def best(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The cheapest run."""
    return min(runs, key=lambda one: one["cpu_seconds"])


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--plays-a-day", type=int, default=200_000)
    parser.add_argument("--late-rows", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=3, help="The cheapest one counts.")
    given = parser.parse_args()
    world = world_of(given.days * given.plays_a_day, given.days + 1)
    late, received_on = late_rows(world, given.late_rows), world.days[-1]
    found: dict[int, dict[str, Any]] = {}
    held: dict[int, int] = {}
    for days in (_MONTH, given.days):
        folder = CACHE / "late" / f"{given.days}x{given.plays_a_day}" / str(days)
        settings = load_settings(var=folder, master_key="6b" * 32)
        folder.mkdir(parents=True, exist_ok=True)
        marks = built(world, days, settings)
        held[days] = sum(int(mark.facts["rows"]) for mark in marks.marks(plays_of(world, _FORM), "bronze", "plays").values())
        found[days] = best([measured(world.parameters, late, settings, marks, received_on) for _ in range(given.runs)])
    month, year = found[_MONTH], found[given.days]
    publish(
        "late",
        params={
            "days": given.days,
            "late_rows": given.late_rows,
            "runs": given.runs,
            "rows_in_month": held[_MONTH],
            "rows": held[given.days],
        },
        results={
            "cost_ratio_365_vs_30_days": round(year["cpu_seconds"] / month["cpu_seconds"], 3),
            "files_rewritten": year["files_rewritten"],
            "parts_rewritten": year["parts_rewritten"],
            **reading(world, settings),
            "year": year,
            "month": month,
        },
        baselines={"bound_cost_ratio": 1.2, "bound_files_rewritten": len(_LATE), "bound_read_ratio": 1.3},
    )


if __name__ == "__main__":
    main()
