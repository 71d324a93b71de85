"""Maintenance: files go, rows stay."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from nocturne.lake import duck, table
from nocturne.maintenance import tidy_lake
from nocturne.settings import Settings
from tests.integration.lake.worlds import FIRST, PLAYS, Night, day, everything, play, tenant_with


@pytest.fixture
def night(settings: Settings) -> Night:
    """A tenant of whom one day was delivered twice, the second time with more rows and a bad one."""
    night = Night(settings, tenant_with(PLAYS))
    night.deliver("app", day(0), [play("a", 0), play("b", 0)])
    night.run()
    night.deliver("app", day(0), [play("a", 0), play("b", 0), play("c", 0), play("d", 0, ms_played=-1)])
    night.run()
    return night


def tidy(night: Night, *, keep_hours: int) -> dict[str, tuple[int, int]]:
    """(merged, removed) by table."""
    settings = night.settings.model_copy(update={"keep_hours": keep_hours})
    entries = tidy_lake(night.tenant, FIRST, settings, night.marks).entries
    return {entry.name: (entry.counts.get("merged", 0), entry.counts["removed"]) for entry in entries}


def data_files(night: Night) -> list[Path]:
    return sorted(night.settings.lake_root.rglob("*.parquet"))


def test_files_of_replaced_rows_go_when_their_time_is_over(night: Night) -> None:
    before, files = everything(night), data_files(night)
    assert tidy(night, keep_hours=168)["silver/plays"] == (0, 0)
    assert data_files(night) == files
    told = tidy(night, keep_hours=0)
    assert (told["bronze/plays"], told["silver/plays"]) == ((0, 1), (0, 1))
    assert everything(night) == before
    named = [
        file.path for layer in ("bronze", "silver", "quarantine") for file in table(night.settings, night.tenant, layer, "plays").files()
    ]
    assert data_files(night) == sorted(named)


def test_small_files_of_a_part_become_one(night: Night) -> None:
    silver = table(night.settings, night.tenant, "silver", "plays")
    part = FIRST.isoformat()
    with duck(night.settings) as connection:
        halves = [silver.write(connection, f"SELECT * FROM {silver.scan()} WHERE play_id {which} 'b'", [part]) for which in ("<=", ">")]
    silver.commit(type(halves[0])(tuple(file for half in halves for file in half.files)), [part])
    before = everything(night)
    assert len(silver.files()) == 2
    assert tidy(night, keep_hours=168)["silver/plays"] == (1, 0)
    assert len(silver.files()) == 1
    assert everything(night) == before


def test_a_large_day_stands_in_the_order_of_its_listeners(settings: Settings) -> None:
    night = Night(settings, tenant_with(PLAYS))
    night.deliver("app", day(0), [play(f"p{number}", 0, listener_id=f"l{number % 997}") for number in range(70_000)])
    night.deliver("app", day(1), [play("small", 1)])
    night.run()
    before = night.rows("silver", order="play_id")
    (entry,) = [entry for entry in tidy_lake(night.tenant, FIRST, settings, night.marks).entries if entry.name == "silver/plays"]
    assert (entry.counts["merged"], entry.counts["ordered"]) == (0, 1)
    assert night.rows("silver", order="play_id") == before
    large = table(settings, night.tenant, "silver", "plays").files([FIRST.isoformat()])[0]
    with duck(settings) as connection:
        groups = connection.execute(
            "SELECT stats_min_value, stats_max_value FROM parquet_metadata(?) WHERE path_in_schema = 'listener_key' ORDER BY row_group_id",
            [str(large.path)],
        ).fetchall()
    assert len(groups) == 2
    assert groups[0][1] <= groups[1][0]
    assert all(entry.skipped for receipt in night.run() for entry in receipt.entries)


def test_what_was_tidied_is_not_tidied_again_and_the_next_night_goes_on(night: Night) -> None:
    tidy(night, keep_hours=0)
    again = tidy(night, keep_hours=0)
    assert again == dict.fromkeys(again, (0, 0))
    assert all(entry.skipped for receipt in night.run() for entry in receipt.entries)
    night.deliver("app", day(1), [play("a", 1), play("e", 1)])
    night.run()
    assert [row["play_id"] for row in night.rows("silver", order="play_id")] == ["a", "b", "c", "e"]


def test_tables_of_datasets_that_are_no_longer_declared_are_tidied_too(night: Night) -> None:
    night.tenant = night.tenant.model_copy(update={"sources": ()})
    assert tidy(night, keep_hours=0)["silver/plays"] == (0, 1)


def test_what_killed_processes_left_goes_after_a_day(night: Night) -> None:
    old, fresh, busy = (night.settings.var / "tmp" / "duckdb" / name for name in ("old", "fresh", "busy"))
    for place in (old, fresh, busy):
        place.mkdir(parents=True)
        (place / "block").write_text("x")
    long_ago = time.time() - 2 * 86_400
    for path in (old / "block", old, busy):
        os.utime(path, (long_ago, long_ago))
    assert tidy(night, keep_hours=168)["temporary"] == (0, 1)
    assert sorted(path.name for path in old.parent.iterdir()) == ["busy", "fresh"]
