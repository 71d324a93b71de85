"""Sources of kind `database`, against a real PostgreSQL (another database, another role) and SQLite."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nocturne.bronze import load_bronze
from nocturne.errors import DeliveryError, SourceMissing, SourceUnavailable
from nocturne.lake import duck, table
from nocturne.landing import Connection, land
from nocturne.landing.batches import Shelf
from nocturne.ledger import MemoryMarks
from nocturne.manifests import Manifest, read_manifests
from nocturne.settings import Settings
from tests.integration.landing.delivering import DAY, tenant_of
from tests.integration.landing.killing import run

SECRET = "hush/hush"
FULL = {"kind": "database", "connection": "shop", "dataset": "tracks", "location": "", "database": {"table": "plays"}}
NIGHTS = [DAY + timedelta(days=count) for count in range(4)]


def source_of(**database: Any) -> dict[str, Any]:
    return FULL | {"database": database}


def new_of(**watermark: Any) -> dict[str, Any]:
    return source_of(table="plays", watermark={"column": "changed_at"} | watermark)


@pytest.fixture
def marks() -> MemoryMarks:
    return MemoryMarks()


@pytest.fixture(scope="module")
def shop(database: Settings) -> Iterator[Connection]:
    """Another database of the same server, and a role that reads it."""
    ours = f"host={database.postgres_address} port={database.postgres_port} user={database.postgres_user}"
    ours += f" password={database.password(database.postgres_user)}"
    with psycopg.connect(f"{ours} dbname=postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop")
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'hush/hush'")
    with psycopg.connect(f"{ours} dbname=shop", autocommit=True) as connection:
        connection.execute("GRANT CREATE ON SCHEMA public TO reader")
    yield Connection("postgres", database.postgres_address, database.postgres_port, "shop", "reader", SECRET)


@pytest.fixture
def say(shop: Connection) -> Iterator[Callable[[str], None]]:
    """Says something to that database, in which `plays` is gone in the end."""
    place = f"host={shop.host} port={shop.port} dbname=shop user=reader password={SECRET}"
    with psycopg.connect(place, autocommit=True) as connection:
        yield lambda text: connection.execute(text) and None  # type: ignore[call-overload]
        connection.execute("DROP TABLE IF EXISTS plays CASCADE")


def take(settings: Settings, marks: MemoryMarks, connection: Connection, source: dict[str, Any], day: date = DAY, **more: Any) -> Any:
    return land(tenant_of(source), day, settings, marks, lambda _: connection, **more)


def batches(settings: Settings, source: dict[str, Any]) -> dict[date, Manifest]:
    found = read_manifests(settings, tenant_of(source), "tracks")
    return {manifest.received_on: manifest for manifest in found.values()}


def tables(settings: Settings, source: dict[str, Any], day: date = DAY) -> list[pa.Table]:
    shelf = Shelf(settings, (tenant := tenant_of(source)), tenant.sources[0])
    found = [pq.read_table(shelf.folder(day) / file.name) for file in batches(settings, source)[day].files]
    assert [len(one) for one in found] == [file.rows for file in batches(settings, source)[day].files]
    return found


def rows(settings: Settings, source: dict[str, Any], day: date = DAY) -> list[dict[str, Any]]:
    return [row for one in tables(settings, source, day) for row in one.to_pylist()]


# a state -------------------------------------------------------------------------------------------------------------------------
def test_a_table_comes_with_its_types(settings: Settings, marks: MemoryMarks, shop: Connection, say: Callable[[str], None]) -> None:
    say(
        "CREATE TABLE plays (i int, b bigint, n numeric(12, 2), u numeric, t text, at timestamptz, seen timestamp, d date, j jsonb, id uuid,"
        " a text[], raw bytea, yes boolean, f float8, wait interval, place inet)"
    )
    say(
        "INSERT INTO plays VALUES (1, 2, 3.5, 4.25, 'é', '2026-03-29 02:00+02', '2026-03-29 01:00', '2026-03-29', '{\"a\": 1}',"
        " '00000000-0000-0000-0000-000000000001', '{a,b}', '\\x00ff', true, 1.5, '1 day', '10.0.0.1')"
    )
    say("INSERT INTO plays (i) VALUES (NULL)")
    take(settings, marks, shop, FULL)
    (found,) = tables(settings, FULL)
    assert found.to_pylist()[0] == {
        "i": 1, "b": 2, "n": Decimal("3.50"), "u": "4.25", "t": "é", "at": datetime(2026, 3, 29, tzinfo=UTC),
        "seen": datetime.fromisoformat("2026-03-29T01:00"), "d": date(2026, 3, 29), "j": '{"a": 1}', "id": "00000000-0000-0000-0000-000000000001",
        "a": '["a","b"]', "raw": b"\x00\xff", "yes": True, "f": 1.5, "wait": "1 day", "place": "10.0.0.1/32",
    }  # fmt: skip
    assert set(found.to_pylist()[1].values()) == {None}
    assert found.schema.field("n").type == pa.decimal128(12, 2)
    assert found.schema.field("at").type == pa.timestamp("us", tz="UTC")
    origin = batches(settings, FULL)[DAY].files[0].origin
    assert origin.endswith("/shop: plays")
    assert SECRET not in origin


def test_the_state_of_a_night_is_a_batch_if_it_has_changed(
    settings: Settings, marks: MemoryMarks, shop: Connection, say: Callable[[str], None]
) -> None:
    say("CREATE TABLE plays AS SELECT 1 AS x")
    taken = [take(settings, marks, shop, FULL, day=night).count("batches") for night in NIGHTS[:2] for _ in range(2)]
    say("INSERT INTO plays VALUES (2)")
    taken.append(take(settings, marks, shop, FULL, day=NIGHTS[2]).count("batches"))
    assert taken == [1, 0, 0, 0, 1]
    assert rows(settings, FULL, NIGHTS[2]) == [{"x": 1}, {"x": 2}]
    say("DELETE FROM plays")
    take(settings, marks, shop, FULL, day=NIGHTS[3])
    assert batches(settings, FULL)[NIGHTS[3]].files == ()


def test_a_query_reads_what_it_says(settings: Settings, marks: MemoryMarks, shop: Connection, say: Callable[[str], None]) -> None:
    say("CREATE TABLE plays AS SELECT n, n::text AS name FROM generate_series(1, 5) n")
    source = source_of(query="WITH few AS (SELECT * FROM plays WHERE name LIKE '%2' OR n > 4) SELECT n * 2 AS twice FROM few -- all")
    take(settings, marks, shop, source)
    assert rows(settings, source) == [{"twice": 4}, {"twice": 10}]


def test_what_was_read_comes_to_stand_in_bronze(
    settings: Settings, marks: MemoryMarks, shop: Connection, say: Callable[[str], None]
) -> None:
    say("CREATE TABLE plays AS SELECT 'p' || n AS play_id, timestamptz '2026-03-29 10:00Z' AS played_at, 'l' AS who, 't' AS track, n AS ms FROM generate_series(1, 3) n")  # fmt: skip
    mapped = {"play_id": "play_id", "played_at": "played_at", "listener_id": "who", "track_id": "track", "ms_played": "ms"}
    tenant = tenant_of(FULL | {"dataset": "plays", "map": mapped})
    land(tenant, DAY, settings, marks, lambda _: shop)
    load_bronze(tenant, DAY, settings, marks)
    bronze = table(settings, tenant, "bronze", tenant.datasets[0])
    with duck(settings) as connection:
        found = connection.execute(
            f"SELECT play_id, played_at, ms_played, len(_problems) FROM {bronze.rows_of(bronze.files())} ORDER BY 1"
        ).fetchall()
    assert found == [(f"p{n}", datetime(2026, 3, 29, 10, tzinfo=UTC), n, 0) for n in (1, 2, 3)]


# what is new ---------------------------------------------------------------------------------------------------------------------
def fill(say: Callable[[str], None], *minutes: int | None, first: int = 0) -> None:
    at = ["NULL" if minute is None else f"'2026-03-29 00:{minute:02}:00.000001+00'" for minute in minutes]
    values = ", ".join(f"({first + n}, {instant})" for n, instant in enumerate(at))
    say(f"INSERT INTO plays VALUES {values}")


def test_each_night_takes_what_is_new_with_an_overlap(
    settings: Settings, marks: MemoryMarks, shop: Connection, say: Callable[[str], None]
) -> None:
    source = new_of(overlap=120)
    say("CREATE TABLE plays (n int, changed_at timestamptz)")
    fill(say, 1, 5, 3)
    take(settings, marks, shop, source, day=NIGHTS[0])
    fill(say, 4, 9, 2, first=10)  # the first came late, the last too late for the overlap
    take(settings, marks, shop, source, day=NIGHTS[1])
    assert [row["n"] for row in rows(settings, source, NIGHTS[1])] == [1, 2, 10, 11]
    ranges = [manifest.ranges[0] for manifest in batches(settings, source).values()]
    assert [(one.part, one.since, one.until) for one in ranges] == [
        ("changed_at", None, "2026-03-29T00:05:00.000001+00:00"),
        ("changed_at", "2026-03-29T00:05:00.000001+00:00", "2026-03-29T00:09:00.000001+00:00"),
    ]
    third = take(settings, marks, shop, source, day=NIGHTS[2])
    fourth = take(settings, marks, shop, source, day=NIGHTS[3])
    assert third.count("batches") == 1, "the last row stands within the overlap, and the batch before held more"
    assert (fourth.count("batches"), fourth.warnings) == (0, ())


def test_a_night_that_is_taken_again_takes_the_same_range(
    settings: Settings, marks: MemoryMarks, shop: Connection, say: Callable[[str], None]
) -> None:
    source = new_of()
    say("CREATE TABLE plays (n int, changed_at timestamptz)")
    for night, minute in zip(NIGHTS[:3], (1, 2, 3), strict=True):
        fill(say, minute, first=minute)
        take(settings, marks, shop, source, day=night)
    before = batches(settings, source)
    for night in (NIGHTS[1], NIGHTS[2]):  # one amid others, and the last one, of which only its mark is left
        was = rows(settings, source, night)
        shutil.rmtree(Shelf(settings, tenant_of(source), tenant_of(source).sources[0]).folder(night))
        fill(say, 7, first=70)
        take(settings, marks, shop, source, day=night)
        assert rows(settings, source, night) == was
        assert batches(settings, source)[night].ranges == before[night].ranges


def test_rows_without_a_watermark_are_not_lost_but_told(
    settings: Settings, marks: MemoryMarks, shop: Connection, say: Callable[[str], None]
) -> None:
    source = new_of()
    say("CREATE TABLE plays (n int, changed_at timestamptz)")
    fill(say, 1, None)
    assert take(settings, marks, shop, source, day=NIGHTS[0]).warnings == (
        "plays: 1 rows have no changed_at; such rows are taken every night",
    )
    fill(say, 5, None, first=10)
    take(settings, marks, shop, source, day=NIGHTS[1])
    assert [row["n"] for row in rows(settings, source, NIGHTS[1])] == [0, 1, 10, 11]


def test_a_number_may_be_the_watermark_and_nothing_new_may_be_missed(
    settings: Settings, marks: MemoryMarks, shop: Connection, say: Callable[[str], None]
) -> None:
    source = new_of(column="n", type="number", start="2") | {"required": True}
    say("CREATE TABLE plays AS SELECT n FROM generate_series(1, 12) n")
    take(settings, marks, shop, source, day=NIGHTS[0])
    assert [row["n"] for row in rows(settings, source)] == list(range(2, 13))
    say("INSERT INTO plays VALUES (100)")
    take(settings, marks, shop, source, day=NIGHTS[1])
    assert [row["n"] for row in rows(settings, source, NIGHTS[1])] == [12, 100]
    take(settings, marks, shop, source, day=NIGHTS[2])
    with pytest.raises(SourceMissing, match="plays has nothing for 2026-04-01 at plays"):
        take(settings, marks, shop, source, day=NIGHTS[3])


# one snapshot, and nothing written -----------------------------------------------------------------------------------------------
def test_a_query_that_writes_is_refused_by_the_transaction(
    settings: Settings, marks: MemoryMarks, shop: Connection, say: Callable[[str], None]
) -> None:
    say("CREATE TABLE plays (n int)")
    say("CREATE FUNCTION add() RETURNS int LANGUAGE sql AS 'INSERT INTO plays VALUES (1) RETURNING n'")
    try:
        with pytest.raises(DeliveryError, match="read-only transaction"):
            take(settings, marks, shop, source_of(query="SELECT add() AS n"))
    finally:
        say("DROP FUNCTION add")


def test_rows_that_change_together_come_together(
    settings: Settings, marks: MemoryMarks, shop: Connection, say: Callable[[str], None]
) -> None:
    say("CREATE TABLE plays AS SELECT n, 0 AS version, repeat('x', 200) AS filler FROM generate_series(1, 60000) n")
    ended = threading.Event()

    def change() -> None:
        version = 0
        while not ended.is_set():
            version += 1
            say(f"UPDATE plays SET version = {version} WHERE n IN (1, 60000)")

    changing = threading.Thread(target=change)
    changing.start()
    try:
        take(settings, marks, shop, FULL)
    finally:
        ended.set()
        changing.join()
    found = [row["version"] for row in rows(settings, FULL) if row["n"] in (1, 60000)]
    assert len(found) == 2
    assert len(set(found)) == 1


# errors --------------------------------------------------------------------------------------------------------------------------
def test_what_is_wrong_is_told_without_secrets(
    settings: Settings, marks: MemoryMarks, shop: Connection, say: Callable[[str], None]
) -> None:
    say("CREATE TABLE plays (n int, t text)")
    say("INSERT INTO plays VALUES (1, 'somebody@example.com')")
    cases: list[tuple[Connection, dict[str, Any], type[Exception], str]] = [
        (replace(shop, password="hush again"), FULL, DeliveryError, "password authentication failed"),
        (replace(shop, path="nowhere"), FULL, DeliveryError, 'database "nowhere" does not exist'),
        (replace(shop, port=1), FULL, SourceUnavailable, "gave no rows: connection"),
        (shop, source_of(table="nothing"), DeliveryError, 'relation "nothing" does not exist'),
        (shop, source_of(query="SELECT n, n FROM plays"), DeliveryError, "two columns of one name"),
        (shop, source_of(query="SELECT t::int AS n FROM plays"), DeliveryError, "invalid input syntax for type integer: "),
        (shop, new_of(column="colour"), DeliveryError, "has no column colour; it has n, t"),
        (shop, new_of(column="t"), DeliveryError, "has a row whose t is no instant"),
        (replace(shop, scheme="nosuch"), FULL, DeliveryError, "names no driver that is installed"),
        (replace(shop, extra={"driver": "postgresql+psycopg"}), source_of(table="nothing"), DeliveryError, 'relation "nothing" does not'),
        (replace(shop, port=1, extra={"driver": "postgresql+psycopg"}), FULL, SourceUnavailable, "connection .* failed"),
    ]
    for connection, source, kind, told in cases:
        with pytest.raises(kind, match=told) as caught:
            take(settings, marks, connection, source)
        assert "hush" not in str(caught.value)
        assert "example.com" not in str(caught.value), "a row is nothing to tell"
        assert "hush" not in repr(connection)
    assert batches(settings, FULL) == {}


@pytest.mark.parametrize(
    ("database", "told"),
    [
        ({}, "`table` or a `query`"),
        ({"table": "a", "query": "SELECT 1"}, "only one of them"),
        ({"table": 'a"; DROP TABLE b'}, "table"),
        ({"query": "DELETE FROM a"}, "must be one SELECT"),
        ({"query": "SELECT 1; DROP TABLE a"}, "must be one SELECT"),
        ({"query": "WITH gone AS (DELETE FROM a RETURNING *) SELECT * FROM gone"}, "without DELETE"),
        ({"query": "SELECT * INTO b FROM a"}, "without INTO"),
        ({"query": "SELECT * FROM a FOR UPDATE"}, "without LOCK"),
        ({"query": "SELECT '"}, "no SQL query"),
        ({"table": "a", "watermark": {"column": "x", "type": "text", "overlap": 1}}, "a text has no overlap"),
    ],
)
def test_what_is_no_reading_is_refused_with_the_tenants_file(database: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        tenant_of(source_of(**database))


# other databases -----------------------------------------------------------------------------------------------------------------
@pytest.fixture
def lite(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "shop.db")
    yield connection
    connection.close()


def sqlite_at(tmp_path: Path) -> Connection:
    return Connection.from_uri(f"sqlite:///{tmp_path}/shop.db")


def test_sqlite_is_read_with_the_types_that_its_values_have(
    settings: Settings, marks: MemoryMarks, lite: sqlite3.Connection, tmp_path: Path
) -> None:
    lite.execute("CREATE TABLE plays (n, x, t, late, raw)")
    lite.executemany("INSERT INTO plays VALUES (?, ?, ?, ?, ?)", [(n, n / 2, f"é{n}", None, b"\xff") for n in range(30_000)])
    lite.executemany("INSERT INTO plays VALUES (?, ?, ?, ?, ?)", [("many", 1, "é", "now", None)])
    lite.commit()
    take(settings, marks, sqlite_at(tmp_path), FULL)
    found = rows(settings, FULL)
    assert found[0] == {"n": 0, "x": 0.0, "t": "é0", "late": None, "raw": b"\xff"}
    assert found[29_999]["n"] in (29_999, "29999"), "beside a word, a number is text"
    assert found[30_000] == {"n": "many", "x": 1.0, "t": "é", "late": "now", "raw": None}
    assert len(found) == 30_001


def test_sqlite_is_read_from_a_watermark_on(settings: Settings, marks: MemoryMarks, lite: sqlite3.Connection, tmp_path: Path) -> None:
    source = new_of(overlap=60)
    lite.execute("CREATE TABLE plays (n INTEGER, changed_at TEXT)")
    for night, minutes in zip(NIGHTS, ((1, 5), (4, 9)), strict=False):
        lite.executemany("INSERT INTO plays VALUES (?, ?)", [(minute, f"2026-03-29 00:{minute:02}:00") for minute in minutes])
        lite.commit()
        take(settings, marks, sqlite_at(tmp_path), source, day=night)
    assert [sorted(row["n"] for row in rows(settings, source, night)) for night in NIGHTS[:2]] == [[1, 5], [4, 5, 9]]
    assert batches(settings, source)[NIGHTS[1]].ranges[0].until == "2026-03-29 00:09:00"
    with pytest.raises(DeliveryError, match="the database speaks sqlite, and the query was checked as postgres"):
        take(settings, marks, sqlite_at(tmp_path), source_of(query="SELECT 1 AS n"), day=NIGHTS[2])


def test_a_database_is_never_made_by_looking_for_it(settings: Settings, marks: MemoryMarks, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="unable to open database file"):
        take(settings, marks, sqlite_at(tmp_path), FULL)
    assert not (tmp_path / "shop.db").exists()


def test_sqlalchemy_reads_as_adbc_does(settings: Settings, marks: MemoryMarks, shop: Connection, say: Callable[[str], None]) -> None:
    say("CREATE TABLE plays (n int, amount numeric(10, 2), changed_at timestamptz, word text)")
    say("INSERT INTO plays SELECT n, n / 4.0, timestamptz '2026-03-29Z' + n * interval '1 second', 'a:b%' FROM generate_series(1, 50000) n")
    source = source_of(query="SELECT n, amount, changed_at, word FROM plays WHERE word LIKE 'a:%'", watermark={"column": "changed_at"})
    other = replace(shop, extra={"driver": "postgresql+psycopg"})
    for connection, night in ((shop, NIGHTS[0]), (other, NIGHTS[1])):
        place = settings.model_copy(update={"var": settings.var / connection.extra.get("driver", "adbc")})
        own = MemoryMarks()
        take(place, own, connection, source, day=night)
        say("INSERT INTO plays VALUES (0, 0, '2027-01-01Z', 'a:') ")
        take(place, own, connection, source, day=night + timedelta(days=1))
        say("DELETE FROM plays WHERE n = 0")
    first, second = (settings.model_copy(update={"var": settings.var / name}) for name in ("adbc", "postgresql+psycopg"))
    for count in range(2):
        ours, theirs = rows(first, source, NIGHTS[count]), rows(second, source, NIGHTS[count + 1])
        assert ours == theirs
    assert len(rows(first, source, NIGHTS[0])) == 50_000
    assert tables(second, source, NIGHTS[1])[0].schema.field("amount").type == pa.decimal128(10, 2)
    assert [row["n"] for row in rows(first, source, NIGHTS[1])] == [50_000, 0]


# kills, and memory ---------------------------------------------------------------------------------------------------------------
KILLS = """
import os, shutil, signal, sqlite3, sys
from pathlib import Path
from tests.integration.landing.delivering import DAY, tenant_of
from tests.integration.landing.killing import killed_at
import pyarrow.parquet as pq
import sqlalchemy.dialects.sqlite
from nocturne.landing import Connection, databases, land
from nocturne.ledger import MemoryMarks
from nocturne.manifests import read_manifests
from nocturne.settings import load_settings

settings = load_settings(var=Path(sys.argv[1]), master_key="5a" * 32)
place = Path(sys.argv[1]) / "shop.db"
watermark = {"column": "n", "type": "number"}
tenant = tenant_of({"kind": "database", "connection": "shop", "location": "", "database": {"table": "plays", "watermark": watermark}})

def take(marks):
    return land(tenant, DAY, settings, marks, lambda _: Connection("sqlite", path=str(place)))

with sqlite3.connect(place) as shop:
    shop.execute("CREATE TABLE plays (n INTEGER, x)")
    shop.executemany("INSERT INTO plays VALUES (?, ?)", [(n, n if n < 25_000 else "much") for n in range(25_001)])
shop.close()
step = 0
while True:
    step += 1
    shutil.rmtree(settings.lake_root, ignore_errors=True)
    was_killed = killed_at(step, lambda _: take(MemoryMarks()))
    assert len(read_manifests(settings, tenant, "plays")) in (0, 1)
    take(MemoryMarks())
    (manifest,) = read_manifests(settings, tenant, "plays").values()
    folder = settings.lake_root / f"dusk/landing/plays/received_on={DAY}/plays"
    rows = [row["n"] for file in manifest.files for row in pq.read_table(folder / file.name).to_pylist()]
    assert sorted(rows) == list(range(25_001)), f"step {step}"
    assert [(one.since, one.until) for one in manifest.ranges] == [(None, "25000")]
    left = [path for path in settings.lake_root.rglob("*") if path.is_file() and path.name != "lock"]
    assert len(left) == len(manifest.files) + 1, left
    if not was_killed:
        break
print(step)
"""
READING = """
import json, sys
from pathlib import Path
from tests.integration.landing.delivering import DAY, tenant_of
from nocturne.landing import Connection, databases, land
from nocturne.ledger import MemoryMarks
from nocturne.settings import load_settings
import adbc_driver_postgresql.dbapi, sqlalchemy.dialects.sqlite

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024

settings = load_settings(var=Path(sys.argv[1]), master_key="5a" * 32)
before = peak()
land(tenant_of(json.loads(sys.argv[2])), DAY, settings, MemoryMarks(), lambda _: Connection(**json.loads(sys.argv[3])))
print(peak() - before)
"""


def test_a_kill_before_any_write_leaves_a_whole_batch_or_none(tmp_path: Path) -> None:
    assert int(run(KILLS, str(tmp_path))) > 8


def test_a_server_that_goes_away_amid_rows_is_asked_again(
    settings: Settings, database: Settings, marks: MemoryMarks, shop: Connection, say: Callable[[str], None]
) -> None:
    say("CREATE TABLE plays AS SELECT n, repeat('x', 300) AS word FROM generate_series(1, 50000) n")
    source = source_of(query="SELECT n, word, CASE WHEN n = 45000 THEN pg_sleep(2) END AS slept FROM plays")
    ours = f"host={database.postgres_address} port={database.postgres_port} dbname=shop user={database.postgres_user}"
    with psycopg.connect(f"{ours} password={database.password(database.postgres_user)}", autocommit=True) as connection:

        def end() -> None:
            time.sleep(1)
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'nocturne' AND usename = 'reader'"
            )

        ending = threading.Thread(target=end)
        ending.start()
        with pytest.raises(SourceUnavailable, match="gave no rows"):
            take(settings, marks, shop, source)
        ending.join()
    assert batches(settings, source) == {}
    take(settings, marks, shop, source)
    assert len(rows(settings, source)) == 50_000


@pytest.mark.parametrize("way", ["postgres", "sqlite"])
def test_two_million_rows_are_read_in_bounded_memory(
    settings: Settings, shop: Connection, say: Callable[[str], None], lite: sqlite3.Connection, tmp_path: Path, way: str
) -> None:
    if way == "postgres":
        say(
            "CREATE UNLOGGED TABLE plays AS SELECT n, md5(n::text) || md5((n + 1)::text) AS word, n / 7.0 AS x FROM generate_series(1, 2000000) n"
        )
    else:
        lite.execute(
            "CREATE TABLE plays AS WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 2000000)"
            " SELECT n, hex(randomblob(32)) AS word, n / 7.0 AS x FROM many"
        )
        lite.commit()
    started = time.monotonic()
    connection = shop if way == "postgres" else sqlite_at(tmp_path)
    fields = json.dumps({name: getattr(connection, name) for name in ("scheme", "host", "port", "path", "login", "password")})
    grew = float(run(READING, str(settings.var), json.dumps(FULL), fields))
    manifest = batches(settings, FULL)[DAY]
    print(f"{way}: {manifest.bytes / 1e6:.0f} MB of Parquet in {time.monotonic() - started:.1f} s, {grew:.0f} MB of memory more")  # noqa: T201
    assert sum(file.rows or 0 for file in manifest.files) == 2_000_000
    assert grew < 120  # the rows alone are 160 MB
