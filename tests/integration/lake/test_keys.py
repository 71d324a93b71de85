"""Keys of data files: a file that holds a key is always found, one that does not is seldom read."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from nocturne import keys
from nocturne.bronze.links import find_links
from nocturne.errors import DiskFull
from nocturne.keys import files_that_may_hold, sweep_keys
from nocturne.lake import Connection, File, Table, duck, table
from nocturne.settings import Settings
from tests.integration.lake.worlds import PLAYS, WEB, Night, day, play, tenant_with


@pytest.fixture
def night(settings: Settings) -> Night:
    """A tenant with five days of plays, of which some are delivered on two days."""
    night, chance = Night(settings, tenant_with(PLAYS, WEB)), random.Random(3)
    for number in range(5):
        night.deliver("app", day(number), [play(f"p{chance.randrange(400)}", number) for _ in range(60)])
    night.run()
    return night


@pytest.fixture
def connection(settings: Settings) -> Iterator[Connection]:
    with duck(settings) as connection:
        yield connection


def bronze_of(night: Night) -> Table:
    return table(night.settings, night.tenant, "bronze", "plays")


def keys_of(connection: Connection, bronze: Table, file: File) -> set[int]:
    return {key for (key,) in connection.execute(f"SELECT _key FROM {bronze.rows_of([file])}").fetchall()}


def sought(values: Iterable[int]) -> str:
    return f"SELECT unnest([{', '.join(map(str, values))}])::BIGINT AS _key"


def kept(night: Night) -> list[Path]:
    return sorted((night.settings.lake_root / night.tenant.slug / "bronze" / ".keys" / "plays").glob("*"))


def test_every_file_that_holds_a_key_is_found_and_hardly_another(night: Night, connection: Connection) -> None:
    bronze, chance = bronze_of(night), random.Random(5)
    held = {file: keys_of(connection, bronze, file) for file in bronze.files()}
    every = sorted(set().union(*held.values()))
    for _ in range(50):
        some = {*chance.sample(every, 2), chance.randrange(1 << 63)}
        found = files_that_may_hold(connection, bronze, sought(some), held)
        assert found == [file for file, keys in held.items() if keys & some]


@pytest.mark.parametrize(("bit", "is_told_apart"), [(62, True), (31, True), (30, True), (23, True), (22, False), (0, False)])
def test_keys_are_told_apart_by_their_first_40_bits(night: Night, connection: Connection, bit: int, is_told_apart: bool) -> None:
    bronze = bronze_of(night)
    held = keys_of(connection, bronze, bronze.files()[0])
    other = next(key ^ 1 << bit for key in sorted(held))
    assert (files_that_may_hold(connection, bronze, sought([other]), bronze.files()[:1]) == []) is is_told_apart


def test_keys_are_kept_with_their_file_and_not_read_again(night: Night, connection: Connection) -> None:
    bronze = bronze_of(night)
    assert [path.stem for path in kept(night)] == sorted(file.path.name for file in bronze.files())
    for path in kept(night):
        path.write_bytes(b"")  # what is kept is asked, not the file
    assert files_that_may_hold(connection, bronze, f"SELECT * FROM {bronze.scan('_key')}", bronze.files()) == []


def test_keys_that_are_missed_are_kept_again(night: Night, connection: Connection) -> None:
    bronze, before = bronze_of(night), {path: path.read_bytes() for path in kept(night)}
    for path in before:
        path.unlink()
    files_that_may_hold(connection, bronze, sought([1]), bronze.files())
    assert {path: path.read_bytes() for path in kept(night)} == before


def test_a_full_disk_is_told_and_the_next_load_keeps_what_is_missing(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.deliver("app", day(5), [play("new", 5)])
    with monkeypatch.context() as full:
        full.setattr(keys, "write_whole", _fail)
        with pytest.raises(DiskFull, match="No space is left to write the keys of bronze plays of acme"):
            night.run()
    night.run()
    assert len(kept(night)) == len(bronze_of(night).files()) == 6


def _fail(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_rows_without_a_key_share_none(night: Night, connection: Connection) -> None:
    bronze = bronze_of(night)
    night.deliver("web", day(4), [play("", 4)])
    night.run()
    (nameless,) = bronze.files(["web/" + day(4).isoformat()])
    assert files_that_may_hold(connection, bronze, f"SELECT * FROM {bronze.rows_of([nameless])}", bronze.files()) == []


def test_many_keys_may_stand_in_any_file(night: Night, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    bronze = bronze_of(night)
    assert files_that_may_hold(connection, bronze, sought([1, 2, 3]), bronze.files()) == []
    monkeypatch.setattr(keys, "_FEW", 2)
    assert files_that_may_hold(connection, bronze, sought([1, 2, 3]), bronze.files()) == bronze.files()
    monkeypatch.undo()
    monkeypatch.setattr(keys, "_WORTH", 2 * max(file.rows for file in bronze.files()))
    assert files_that_may_hold(connection, bronze, sought([1, 2, 3]), bronze.files()) == bronze.files()


def test_links_are_the_same_whether_all_keys_are_read_or_few(night: Night, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    bronze = bronze_of(night)
    batches = sorted(bronze.partitions())
    by_kept_keys = [find_links(connection, bronze, [batch], 60) for batch in batches]
    monkeypatch.setattr(keys, "_FEW", 0)
    assert by_kept_keys == [find_links(connection, bronze, [batch], 60) for batch in batches]
    assert all(by_kept_keys)


def test_what_is_kept_goes_behind_its_file(night: Night) -> None:
    bronze = bronze_of(night)
    assert sweep_keys(bronze) == 0
    night.deliver("app", day(0), [play("other", 0)])
    night.run()
    bronze.vacuum(0)
    assert sweep_keys(bronze) == 1
    assert {path.stem for path in kept(night)} == {file.path.name for file in bronze.files()}
