"""The door to DuckDB: what is not trusted reaches nothing, takes no longer than allowed, and cannot change that."""

from __future__ import annotations

import time
from itertools import product
from pathlib import Path

import pytest

from nocturne.datasets import DATASETS
from nocturne.errors import PermanentError
from nocturne.lake import Layer, QueryError, duck, limited, name, reader, table, text
from nocturne.settings import Settings
from nocturne.tenants import Tenant

TENANT = Tenant.model_validate(
    {
        "slug": "acme",
        "name": "Acme",
        "time_zone": "Europe/Paris",
        "currency": "EUR",
        "begins_on": "2026-01-01",
        "sources": [{"name": "app", "dataset": "plays", "kind": "files", "location": "plays/{day}.ndjson"}],
    }
)


def test_instants_are_utc(settings: Settings) -> None:
    with duck(settings) as connection:
        assert connection.execute("SELECT '2026-03-01 12:00:00'::TIMESTAMPTZ::VARCHAR").fetchone() == ("2026-03-01 12:00:00+00",)


def test_a_sandbox_reads_and_writes_its_folders_alone(settings: Settings, tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.csv").write_text("x\n1\n")
    with duck(settings, only=[inside]) as connection:
        assert connection.execute(f"SELECT x FROM read_csv({text(inside / 'a.csv')})").fetchall() == [(1,)]
        connection.execute(f"COPY (SELECT 1) TO {text(inside / 'b.parquet')} (FORMAT parquet)")
        for forbidden in (
            f"SELECT * FROM read_csv({text(outside / 'a.csv')})",
            f"SELECT * FROM read_text({text(inside / '..' / 'outside' / 'a.csv')})",
            f"SELECT * FROM glob({text(outside / '*')})",
            f"COPY (SELECT 1) TO {text(outside / 'b.parquet')} (FORMAT parquet)",
            f"ATTACH {text(outside / 'a.db')}",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SELECT * FROM read_csv('https://example.org/a.csv')",
        ):
            with pytest.raises(QueryError):
                connection.execute(forbidden).fetchall()


@pytest.mark.parametrize("change", ["enable_external_access = true", "memory_limit = '8GB'", "threads = 8", "allowed_directories = ['/']"])
def test_a_sandbox_cannot_be_opened_from_within(settings: Settings, tmp_path: Path, change: str) -> None:
    with duck(settings, only=[tmp_path]) as connection, pytest.raises(QueryError, match=r"locked|cannot|Cannot"):
        connection.execute(f"SET {change}")


def test_what_takes_too_long_is_interrupted(settings: Settings) -> None:
    started = time.monotonic()
    with duck(settings) as connection:
        says = r"\[tenant acme\] Counting took longer than the 0\.2 s allowed"
        with pytest.raises(PermanentError, match=says), limited(connection, 0.2, doing="Counting", tenant=TENANT):
            connection.execute("SELECT count(*) FROM range(1000000000000) AS t (i) WHERE i % 7 = 3").fetchall()
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert time.monotonic() - started < 30


def test_what_needs_too_much_memory_says_what_to_do(settings: Settings) -> None:
    needs_more = pytest.raises(PermanentError, match="NOCTURNE_DUCKDB_MEMORY")
    with duck(settings, memory="50MB") as connection, needs_more, limited(connection, 60, doing="Collecting"):
        connection.execute("SELECT list(i::VARCHAR || repeat('a', 50)) FROM range(20000000) AS t (i)").fetchall()


def test_an_error_of_the_query_itself_passes(settings: Settings) -> None:
    with duck(settings) as connection, pytest.raises(QueryError, match="nothing"), limited(connection, 60, doing="Asking"):
        connection.execute("SELECT nothing")


def test_large_sorts_go_to_disk_below_var_and_leave_nothing(settings: Settings) -> None:
    with duck(settings, memory="20MB", threads=1) as connection:
        query = "SELECT max(place) FROM (SELECT row_number() OVER (ORDER BY hash(i)) AS place FROM range(1000000) AS t (i))"
        assert connection.execute(query).fetchone() == (1_000_000,)
    assert list((settings.var / "tmp" / "duckdb").iterdir()) == []


def test_a_reader_streams_arrow(settings: Settings) -> None:
    with duck(settings) as connection:
        rows = reader(connection, "SELECT i FROM range(100000) AS t (i)")
        assert sum(batch.num_rows for batch in rows) == 100_000


@pytest.mark.parametrize("value", ["", "it's", 'a "b"', "'; DROP TABLE x; --", "é\n\\"])
def test_values_and_names_are_quoted(settings: Settings, value: str) -> None:
    with duck(settings) as connection:
        result = connection.execute(f"SELECT {text(value)} AS {name(value or 'x')}")
        assert (result.description[0][0], result.fetchone()) == (value or "x", (value,))


def test_a_table_that_does_not_exist_yet_is_an_empty_one(settings: Settings) -> None:
    kinds = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}
    layers: tuple[Layer, ...] = ("bronze", "silver", "quarantine")
    with duck(settings) as connection:
        for layer, dataset in product(layers, DATASETS):
            one = table(settings, TENANT, layer, dataset)
            assert (one.exists(), one.version(), one.history(), one.partitions(), one.files()) == (False, None, [], {}, [])
            described = connection.execute(f"DESCRIBE SELECT * FROM {one.scan()}").fetchall()
            assert tuple((column, kinds.get(kind, kind)) for column, kind, *_ in described) == one.columns


def test_silver_has_the_columns_that_the_dataset_declares(settings: Settings) -> None:
    for dataset in DATASETS.values():
        silver = table(settings, TENANT, "silver", dataset)
        assert silver.columns == tuple((column, kind.value) for column, kind, _ in dataset.silver_columns)
        assert silver.partition == dataset.event_date
