"""What a night of marts costs: `build_marts` and `publish_marts` in a process of their own, as the night's tasks are, on top of a history.

    small_build_*      the build of one day of about 5,000 plays on 120 days of history, imports included; CPU: this process and PostgreSQL
    full_*             everything made anew from that history
    reader_*_wait_seconds   the longest that an analyst, who asks every published mart for a row again and again, waited for one of them
                       while this night was published, and for comparison as long before
    {cpu,wall}_ratio_day_1100_vs_760 (with --long)   the same night after 1,100 days of history and after 760

The baseline makes the plays, listener-days, track-days and active listeners of the same history from the same silver in DuckDB alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from typing import Any

import psutil

from benchmarks import publish, start_database, throwaway_installation
from benchmarks.warehouse import tenant_of, world_of, write_silver
from nocturne import lake
from nocturne.installation.database import EmbeddedDatabase
from nocturne.ledger import MemoryMarks
from nocturne.postgres import SQL, Identifier, connect, fetch
from nocturne.settings import Settings
from nocturne.simulator import World
from nocturne.tenants import Tenant
from nocturne.warehouse import load_warehouse

_TASK = """
import json, sys, time
from datetime import date
from nocturne.ledger import MemoryMarks
from nocturne.marts import build_marts, publish_marts
from nocturne.settings import load_settings
from nocturne.tenants import Tenant
station = {"build": build_marts, "publish": publish_marts}[sys.argv[1]]
given = json.load(sys.stdin)
receipt = station(Tenant.model_validate(given["tenant"]), date.fromisoformat(given["day"]), load_settings(), MemoryMarks())
print(json.dumps({"cpu": time.process_time(), "receipt": json.loads(receipt.model_dump_json())}))
"""


@contextmanager
def database_cpu(settings: Settings) -> Iterator[dict[str, float]]:
    """CPU seconds that PostgreSQL's processes spend while the block runs."""
    postmaster = psutil.Process(int((EmbeddedDatabase(settings).data_folder / "postmaster.pid").read_text().split()[0]))
    spent: dict[str, float] = {}
    before = _cpu(postmaster)
    yield spent
    time.sleep(0.3)  # a backend's time is known to the postmaster once it has ended
    spent["cpu"] = _cpu(postmaster) - before


def _cpu(postmaster: psutil.Process) -> float:
    times = postmaster.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in postmaster.children():
        with suppress(psutil.NoSuchProcess):  # it has ended: the postmaster knows its time
            own = child.cpu_times()
            total += own.user + own.system
    return float(total)


def task(name: str, tenant: Tenant, day: date, settings: Settings) -> dict[str, Any]:
    """Run a station in a process of its own; wall and CPU seconds (`cpu` of the process, `database_cpu` of PostgreSQL) and its receipt."""
    with database_cpu(settings) as spent:
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _TASK, name],
            input=json.dumps({"tenant": tenant.model_dump(mode="json", by_alias=True), "day": day.isoformat()}),
            stdout=subprocess.PIPE,
            check=True,
            text=True,
            env=os.environ | _variables(settings),
        )
        wall = time.perf_counter() - started
    told: dict[str, Any] = json.loads(done.stdout)
    return told | {"wall": wall, "database_cpu": spent["cpu"], "total_cpu": told["cpu"] + spent["cpu"]}


def _variables(settings: Settings) -> dict[str, str]:
    """The installation of this process, for another one."""
    key = settings.master_key.get_secret_value() if settings.master_key else ""
    return {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "NOCTURNE_VAR": str(settings.var),
        "NOCTURNE_MASTER_KEY": key,
        "NOCTURNE_POSTGRES_PORT": str(settings.postgres_port),
    }


@contextmanager
def reading(tenant: Tenant, settings: Settings) -> Iterator[dict[str, float]]:
    """The longest wait of a reader of the published marts while the block runs, and how many answers he got."""
    with connect(settings, role=tenant.owner_role) as connection:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename NOT LIKE %s"
        marts = [str(name) for (name,) in connection.execute(query, (tenant.marts_schema, r"\_%")).fetchall()]
    waited: list[float] = []
    ended = threading.Event()

    def read() -> None:
        with connect(settings, role=tenant.reader_role, autocommit=True) as reader:
            while not ended.is_set():
                for mart in marts:
                    started = time.perf_counter()
                    reader.execute(SQL("SELECT FROM {} LIMIT 1").format(Identifier(tenant.marts_schema, mart)))
                    waited.append(time.perf_counter() - started)
                time.sleep(0.01)

    reader = threading.Thread(target=read)
    reader.start()
    told: dict[str, float] = {}
    try:
        yield told
    finally:
        ended.set()
        reader.join()
        told |= {"longest": max(waited, default=0.0), "answers": len(waited)}


def night(tenant: Tenant, world: World, days: Iterable[date], settings: Settings, marks: MemoryMarks) -> dict[str, dict[str, Any]]:
    """Write silver of these days, load, build and publish the last; the tasks of the marts."""
    days = list(days)
    write_silver(world, tenant, settings, marks, days)
    load_warehouse(tenant, days[-1], settings, marks)
    done = {"build": task("build", tenant, days[-1], settings)}
    with reading(tenant, settings) as waits:
        done["publish"] = task("publish", tenant, days[-1], settings)
    done["publish"]["reader"] = waits
    return done


def by_duckdb(tenant: Tenant, settings: Settings) -> float:
    """Seconds in which DuckDB makes plays, listener-days, track-days and active listeners from silver."""
    with lake.duck(settings, memory="4GB") as connection:
        plays = lake.table(settings, tenant, "silver", "plays").scan()
        tracks = lake.table(settings, tenant, "silver", "tracks").scan("track_id", "artist_id", "duration_ms")
        started = time.perf_counter()
        connection.execute(
            f"""
            CREATE TABLE events AS
            SELECT *, sum(begins) OVER (PARTITION BY listener_key ORDER BY played_at, play_id) AS session_number
            FROM (SELECT *, coalesce(played_at > max(played_at + to_milliseconds(ms_played)) OVER (
                PARTITION BY listener_key ORDER BY played_at, play_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) + INTERVAL 30 MINUTE, true)::INTEGER AS begins FROM {plays} WHERE ms_played > 0)
            """
        )
        connection.execute(
            f"""
            CREATE TABLE plays AS
            SELECT events.*, artist_id, ms_played >= 30000 AS is_stream, least(ms_played, duration_ms) >= 0.9 * duration_ms AS is_completed
            FROM events LEFT JOIN {tracks} AS tracks USING (track_id)
            """
        )
        for key in ("listener_key, played_on", "track_id, played_on, country", "artist_id, played_on"):
            connection.execute(
                f'CREATE TABLE "{key}" AS SELECT {key}, count(*), count(*) FILTER (is_stream), sum(ms_played),'
                f" count(DISTINCT listener_key) FILTER (is_stream) FROM plays GROUP BY {key}"
            )
        connection.execute(
            "CREATE TABLE active AS SELECT day, count(DISTINCT listener_key) FROM (SELECT DISTINCT played_on AS day FROM plays)"
            ' JOIN "listener_key, played_on" AS days ON days.played_on BETWEEN day - 27 AND day GROUP BY day'
        )
        return time.perf_counter() - started


def content(tenant: Tenant, settings: Settings, marts: Iterable[str]) -> str:
    """SHA-256 over all published rows."""
    digest = hashlib.sha256()
    for mart in sorted(marts):
        query = f"SELECT md5(string_agg(m::text, '' ORDER BY m::text)) AS digest FROM {tenant.marts_schema}.{mart} AS m"
        digest.update(f"{mart}{fetch(settings, query, role=tenant.owner_role)[0]['digest']}".encode())
    return digest.hexdigest()


def small(plays_a_day: int, days: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(results, baselines, ratios) of a night on a history, and of a whole build."""
    world = world_of(plays_a_day * days, days)
    tenant, marks = tenant_of(world), MemoryMarks()
    with throwaway_installation() as settings:
        start_database(settings, tenant)
        whole = night(tenant, world, world.days[:-2], settings, marks)
        night(tenant, world, world.days[-2:-1], settings, marks)
        last = night(tenant, world, world.days[-1:], settings, marks)
        with reading(tenant, settings) as usual:
            time.sleep(last["publish"]["wall"])
        idle = {name: task(name, tenant, world.days[-1], settings) for name in ("build", "publish")}
        marts = [entry["name"] for entry in last["publish"]["receipt"]["entries"]]
        digest = content(tenant, settings, marts)
        duckdb = by_duckdb(tenant, settings)
    entries = last["build"]["receipt"]["entries"]
    results = {
        "small_build_wall_seconds": _seconds(last["build"]["wall"]),
        "small_build_cpu_seconds": _seconds(last["build"]["total_cpu"]),
        "small_build_process_cpu_seconds": _seconds(last["build"]["cpu"]),
        "small_publish_wall_seconds": _seconds(last["publish"]["wall"]),
        "small_publish_cpu_seconds": _seconds(last["publish"]["total_cpu"]),
        "reader_publish_wait_seconds": _seconds(last["publish"]["reader"]["longest"]),
        "reader_usual_wait_seconds": _seconds(usual["longest"]),
        "reader_answers": int(last["publish"]["reader"]["answers"]),
        "idle_build_wall_seconds": _seconds(idle["build"]["wall"]),
        "idle_publish_wall_seconds": _seconds(idle["publish"]["wall"]),
        "full_build_wall_seconds": _seconds(whole["build"]["wall"]),
        "full_build_cpu_seconds": _seconds(whole["build"]["total_cpu"]),
        "full_publish_wall_seconds": _seconds(whole["publish"]["wall"]),
        "slowest_models_seconds": dict(_slowest(entries)),
        "slowest_models_of_full_build_seconds": dict(_slowest(whole["build"]["receipt"]["entries"])),
        "rows_of_the_night": sum(entry["counts"].get("rows", 0) for entry in entries),
        "content_sha256": digest,
    }
    ratios = {"full_refresh_vs_duckdb": round(whole["build"]["wall"] / duckdb, 2)}
    return results, {"duckdb_full_seconds": _seconds(duckdb)}, ratios


def long(plays_a_day: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """(results, ratios) of the same night on a history of 760 and of 1,100 days: same population, all windows full."""
    world = world_of(plays_a_day * 1_102, 1_102, begins_on=date(2023, 1, 1))
    tenant, marks, results = tenant_of(world), MemoryMarks(), {}
    with throwaway_installation() as settings:
        start_database(settings, tenant)
        done = 0
        for history in (760, 1_100):
            night(tenant, world, world.days[done : history - 1], settings, marks)
            measured = [night(tenant, world, [world.days[n]], settings, marks) for n in (history - 1, history)]
            done = history + 1
            for cost, of in (("cpu", "total_cpu"), ("wall", "wall")):
                results[f"day_{history}_{cost}_seconds"] = _seconds(min(one["build"][of] + one["publish"][of] for one in measured))
            results[f"day_{history}_database_cpu_seconds"] = _seconds(min(one["build"]["database_cpu"] for one in measured))
    return results, {
        f"{cost}_ratio_day_1100_vs_760": round(results[f"day_1100_{cost}_seconds"] / results[f"day_760_{cost}_seconds"], 3)
        for cost in ("cpu", "wall")
    }


def _slowest(entries: Iterable[Mapping[str, Any]]) -> list[tuple[str, float]]:
    timed = [(str(entry["name"]), float(entry["facts"]["seconds"])) for entry in entries if "seconds" in entry["facts"]]
    return sorted(timed, key=lambda pair: -pair[1])[:8]


def _seconds(value: float) -> float:
    return round(value, 3)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plays-a-day", type=int, default=5_000)
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--long", action="store_true", help="also the night after 760 and after 1,100 days (some ten minutes)")
    parser.add_argument("--long-plays-a-day", type=int, default=1_000)
    arguments = parser.parse_args()
    results, baselines, ratios = small(arguments.plays_a_day, arguments.days)
    if arguments.long:
        more, ratio = long(arguments.long_plays_a_day)
        results, ratios = results | more, ratios | ratio
    publish("marts", params=vars(arguments), results=results, baselines=baselines, ratios=ratios)


if __name__ == "__main__":
    main()
