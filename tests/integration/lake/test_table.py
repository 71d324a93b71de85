"""The door to Delta: parts are replaced whole, in one commit, whoever else writes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from nocturne import lake
from nocturne.errors import NocturneError
from nocturne.lake import Connection, Table, duck
from nocturne.settings import Settings

COLUMNS = (("part", "VARCHAR"), ("number", "BIGINT"), ("words", "VARCHAR[]"))


@pytest.fixture
def numbers(tmp_path: Path) -> Table:
    return Table("numbers", tmp_path / "lake" / "numbers", COLUMNS, "part")


def rows(first: int, count: int, *parts: str) -> str:
    values = ", ".join(f"('{part}')" for part in parts)
    return f"SELECT part, i AS number, ['a', NULL] AS words FROM range({first}, {first + count}) AS t (i), (VALUES {values}) AS p (part)"


def held(connection: Connection, table: Table) -> dict[str, list[int]]:
    found = connection.execute(f"SELECT part, list(number ORDER BY number) FROM {table.scan()} GROUP BY 1 ORDER BY 1").fetchall()
    return dict(found)


def test_parts_are_replaced_and_others_stay(settings: Settings, numbers: Table) -> None:
    with duck(settings) as connection:
        numbers.replace(connection, rows(0, 3, "a", "b", "c"), ["a", "b", "c"])
        before = {file.part: file.path for file in numbers.files()}
        numbers.replace(connection, rows(7, 1, "b"), ["b"])
        assert held(connection, numbers) == {"a": [0, 1, 2], "b": [7], "c": [0, 1, 2]}
    after = {file.part: file.path for file in numbers.files()}
    assert {part for part in after if after[part] != before[part]} == {"b"}
    assert {part: found.rows for part, found in numbers.partitions().items()} == {"a": 3, "b": 1, "c": 3}


def test_a_part_without_rows_is_empty_afterwards(settings: Settings, numbers: Table) -> None:
    with duck(settings) as connection:
        numbers.replace(connection, rows(0, 3, "a", "b"), ["a", "b"])
        numbers.replace(connection, rows(5, 1, "a"), ["a", "b"])
        assert held(connection, numbers) == {"a": [5]}
        numbers.replace(connection, rows(0, 0, "a"), ["a"])
        assert (held(connection, numbers), numbers.partitions()) == ({}, {})
    assert len(list(numbers.path.rglob("*.parquet"))) == 4 - 1, "no file is left for a part without rows"


def test_the_same_rows_again_change_nothing_but_the_version(settings: Settings, numbers: Table) -> None:
    with duck(settings) as connection:
        for _ in range(2):
            numbers.replace(connection, rows(0, 3, "a", "b"), ["a", "b"])
        assert held(connection, numbers) == {"a": [0, 1, 2], "b": [0, 1, 2]}
    assert numbers.version() == len(numbers.history()) - 1 == 2


@pytest.mark.parametrize("part", ["app/2026-03-01", "2026-03-01", "a b", "é", "100%", "a%2Fb", "x=y", "it's"])
def test_a_parts_name_may_hold_anything(settings: Settings, numbers: Table, part: str) -> None:
    quoted = part.replace("'", "''")
    with duck(settings) as connection:
        numbers.replace(connection, rows(0, 2, quoted), [part])
        numbers.replace(connection, rows(0, 2, quoted, "other"), [part, "other"])
        assert held(connection, numbers) == dict(sorted({part: [0, 1], "other": [0, 1]}.items()))
        numbers.vacuum(0)
        assert held(connection, numbers)[part] == [0, 1]
        numbers.delete([part])
        assert held(connection, numbers) == {"other": [0, 1]}


def test_deleting_what_is_not_there_makes_no_version(settings: Settings, numbers: Table) -> None:
    numbers.delete(["a"])
    assert not numbers.exists()
    with duck(settings) as connection:
        numbers.replace(connection, rows(0, 1, "a"), ["a"])
    version = numbers.version()
    numbers.delete(["b"])
    assert numbers.version() == version


def test_a_table_without_parts_is_replaced_whole(settings: Settings, tmp_path: Path) -> None:
    whole = Table("whole", tmp_path / "whole", COLUMNS)
    with duck(settings) as connection:
        whole.replace(connection, rows(0, 5, "a", "b"))
        whole.replace(connection, rows(3, 1, "c"))
        assert held(connection, whole) == {"c": [3]}
        assert whole.partitions()[""].rows == 1
        whole.replace(connection, rows(3, 0, "c"))
        assert held(connection, whole) == {}


def test_written_rows_count_when_they_are_committed(settings: Settings, numbers: Table) -> None:
    with duck(settings) as connection:
        written = numbers.write(connection, rows(0, 2, "a", "b"), ["a", "b"])
        assert (written.rows, numbers.exists(), held(connection, numbers)) == (4, False, {})
        assert connection.execute(f"SELECT count(*) FROM {numbers.rows_of(written.files)}").fetchone() == (4,)
        numbers.commit(written, ["a", "b"])
        assert held(connection, numbers) == {"a": [0, 1], "b": [0, 1]}
        thrown = numbers.write(connection, rows(0, 9, "a"), ["a"])
        thrown.discard()
        assert not any(file.path.exists() for file in thrown.files)


def test_writers_that_meet_commit_one_after_the_other(settings: Settings, numbers: Table) -> None:
    """Eight writers of a part each, at once: no commit is lost, none raises."""
    failures: list[Exception] = []
    start = threading.Barrier(8)

    def write(part: str) -> None:
        own = Table(numbers.title, numbers.path, COLUMNS, "part")
        try:
            with duck(settings, threads=1) as connection:
                written = own.write(connection, rows(0, 3, part), [part])
                start.wait()
                for _ in range(3):
                    own.commit(written, [part])
        except (NocturneError, OSError) as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(f"p{n}",)) for n in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    with duck(settings) as connection:
        assert held(connection, numbers) == {f"p{n}": [0, 1, 2] for n in range(8)}


def test_a_reader_keeps_its_version(settings: Settings, numbers: Table) -> None:
    with duck(settings) as connection:
        numbers.replace(connection, rows(0, 1, "a"), ["a"])
        query = numbers.scan("number")
        numbers.replace(connection, rows(5, 1, "a"), ["a"])
        assert connection.execute(f"SELECT number FROM {query}").fetchall() == [(0,)]
        assert connection.execute(f"SELECT number FROM {numbers.scan('number')}").fetchall() == [(5,)]


def test_a_scan_reads_the_parts_and_columns_that_it_names(settings: Settings, numbers: Table) -> None:
    with duck(settings) as connection:
        numbers.replace(connection, rows(0, 2, "a", "b", "c"), ["a", "b", "c"])
        assert connection.execute(f"SELECT * FROM {numbers.scan('number', 'part', parts=['b'])}").fetchall() == [(0, "b"), (1, "b")]
        assert connection.execute(f"SELECT count(*) FROM {numbers.scan(parts=[])}").fetchone() == (0,)
        assert connection.execute(f"SELECT count(*) FROM {numbers.scan('part', parts=['x'])}").fetchone() == (0,)


def test_small_files_are_merged_and_forgotten_ones_removed(settings: Settings, numbers: Table) -> None:
    with duck(settings) as connection:
        numbers.replace(connection, rows(0, 2, "a"), ["a"])
        numbers.replace(connection, rows(0, 2, "b"), ["b"])
        killed = numbers.write(connection, rows(9, 1, "a"), ["a"])  # never committed
        numbers.optimise()
        assert numbers.vacuum(168) == []
        assert killed.files[0].path.exists(), "a file younger than the retention may be about to be committed"
        numbers.vacuum(0)
        assert not killed.files[0].path.exists()
        assert held(connection, numbers) == {"a": [0, 1], "b": [0, 1]}
    assert sorted(file.path for file in numbers.files()) == sorted(numbers.path.rglob("*.parquet"))


def test_large_files_are_put_in_order_once_and_their_rows_stay(settings: Settings, numbers: Table) -> None:
    backwards = f"SELECT * FROM ({rows(0, 5, 'a', 'b')}) ORDER BY number DESC"
    with duck(settings) as connection:
        numbers.replace(connection, backwards, ["a", "b"])
        numbers.replace(connection, f"SELECT * FROM ({rows(0, 3, 'c')}) ORDER BY number DESC", ["c"])
        before = numbers.file_names("abc")
        assert numbers.cluster(connection, "number", above=3) == 2
        read = connection.execute(f"SELECT part, list(number) FROM {numbers.scan()} GROUP BY 1 ORDER BY 1").fetchall()
        assert read == [("a", [0, 1, 2, 3, 4]), ("b", [0, 1, 2, 3, 4]), ("c", [2, 1, 0])]
        assert connection.execute(f"SELECT DISTINCT words FROM {numbers.scan()}").fetchall() == [(["a", None],)]
        assert {part: found.rows for part, found in numbers.partitions().items()} == {"a": 5, "b": 5, "c": 3}
        assert numbers.cluster(connection, "number", above=3) == 0, "they are in order"
        numbers.replace(connection, rows(7, 9, "b"), ["b"])
        assert numbers.cluster(connection, "number", above=3) == 1
        numbers.vacuum(0)
        assert numbers.has_files(before["a"]), "the rows of the file that went stand in the one in order"
        assert not numbers.has_files(before["b"]), "these rows were replaced"
        found = connection.execute(f"SELECT list(number) FROM {numbers.rows_of_names(before['a'])}").fetchall()
        assert found == [([0, 1, 2, 3, 4],)]


def test_rows_of_one_value_keep_their_order(settings: Settings, numbers: Table) -> None:
    with duck(settings) as connection:
        numbers.replace(connection, "SELECT 'a' AS part, i % 2 AS number, [i::VARCHAR] AS words FROM range(6) AS t (i)", ["a"])
        numbers.cluster(connection, "number", above=0)
        assert connection.execute(f"SELECT words[1] FROM {numbers.scan()}").fetchall() == [(text,) for text in "024135"]


def test_what_another_writes_meanwhile_is_not_undone_by_putting_in_order(
    settings: Settings, numbers: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Table("numbers", numbers.path, COLUMNS, "part")

    def meanwhile(what: str) -> None:
        if what == "wrote numbers in order":
            monkeypatch.setattr(lake, "at_write", lambda _what: None)
            with duck(settings) as own:
                other.replace(own, rows(100, 1, "a"), ["a"])

    with duck(settings) as connection:
        numbers.replace(connection, rows(0, 5, "a", "b"), ["a", "b"])
        monkeypatch.setattr(lake, "at_write", meanwhile)
        assert numbers.cluster(connection, "number", above=0) == 0
        assert held(connection, numbers) == {"a": [100], "b": [0, 1, 2, 3, 4]}
        assert not list(numbers.path.rglob("*-clustered.parquet"))
        assert numbers.cluster(connection, "number", above=0) == 2
        assert held(connection, numbers) == {"a": [100], "b": [0, 1, 2, 3, 4]}


def test_a_long_log_is_summed_up(settings: Settings, numbers: Table) -> None:
    with duck(settings) as connection:
        written = numbers.write(connection, rows(0, 1, "a"), ["a"])
        for _ in range(101):
            numbers.commit(written, ["a"])
        assert (numbers.path / "_delta_log" / "_last_checkpoint").exists()
        assert held(connection, numbers) == {"a": [0]}
