"""Silver is a pure function of what was delivered: no order, repetition or splitting of deliveries changes a row."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from nocturne.settings import Settings
from tests.integration.lake.worlds import (
    PLAYS,
    WEB,
    Delivery,
    Night,
    Row,
    assert_silver_is_right,
    candidates_of,
    day,
    event_date,
    ndjson,
    play,
    silver_hash,
    tenant_with,
)

DAYS = 4
TENANT = tenant_with(PLAYS, WEB)


def some_play(chance: random.Random) -> Row:
    """A play of few keys with few contents, around the local midnights of few days, sometimes a bad one."""
    second = chance.choice((0, 3_600, 79_199, 79_200, 82_800, 86_399))
    changes = {"ms_played": chance.choice((1, 2, 3)), "listener_id": chance.choice("ab"), "track_id": chance.choice("xy")}
    if chance.random() < 0.05:
        changes["ms_played"] = -1
    key = "" if chance.random() < 0.03 else chance.choice("abcdefgh")
    return play(key, chance.randrange(DAYS + 1), second, **changes)


World = dict[int, list[Row]]
"""Day -> the plays received on it."""


def some_world(chance: random.Random) -> World:
    """Some days with some plays; every fourth one was delivered before, as it is."""
    world: World = {}
    seen: list[Row] = []
    for number in range(DAYS):
        if chance.random() < 0.8:
            world[number] = [
                chance.choice(seen) if seen and chance.random() < 0.25 else some_play(chance) for _ in range(chance.randrange(1, 9))
            ]
            seen += world[number]
    return world


def deliveries_of(world: World) -> list[Delivery]:
    return [(day(number), row) for number, rows in world.items() for row in rows]


def split(chance: random.Random, rows: list[Row], parts: int) -> list[list[Row]]:
    shares: list[list[Row]] = [[] for _ in range(parts)]
    for row in chance.sample(rows, len(rows)):
        chance.choice(shares).append(row)
    return shares


def deliver_in_some_way(chance: random.Random, night: Night, world: World) -> None:
    """Deliver the world in any order, each day by one source or two, in one file or several; rows repeated; nights in between."""
    turns = [(number, source) for number in world for source in ("app", "web")]
    shares = {number: dict(zip(("app", "web"), split(chance, rows, 2), strict=True)) for number, rows in world.items()}
    for number, source in chance.sample(turns, len(turns)):
        rows = shares[number][source]
        repeated = rows + chance.sample(rows, chance.randrange(len(rows) + 1))
        files = {f"{n}.ndjson": ndjson(part) for n, part in enumerate(split(chance, repeated, chance.randrange(1, 4)))}
        night.deliver(source, day(number), files)
        if chance.random() < 0.1:
            night.run()
        if chance.random() < 0.05 and rows:
            night.deliver(source, day(number), rows[:1])  # a wrong delivery, which is then delivered anew
            night.run()
            night.deliver(source, day(number), files)
    night.run()


@pytest.mark.parametrize("seed", range(100))
def test_silver_follows_from_what_was_delivered(settings: Settings, tmp_path: Path, seed: int) -> None:
    """100 worlds over real tables, each delivered in order and in some other way: the same silver, and the one that the rules state."""
    chance = random.Random(seed)
    world = some_world(chance)
    in_order = Night(settings.model_copy(update={"var": tmp_path / "in_order", "threads": 1}), TENANT)
    for number, rows in sorted(world.items()):
        in_order.deliver("app", day(number), rows)
    in_order.run()
    assert_silver_is_right(in_order, deliveries_of(world))
    otherwise = Night(settings.model_copy(update={"var": tmp_path / "otherwise", "threads": 1}), TENANT)
    deliver_in_some_way(chance, otherwise, world)
    assert silver_hash(otherwise) == silver_hash(in_order)


def test_the_worlds_hold_what_they_are_to_prove() -> None:
    """Keys that move between dates, contents that arrive again, corrections, bad rows, ties: each in many of the 100 worlds."""
    moved = repeated = corrected = tied = bad = 0
    for seed in range(100):
        deliveries = deliveries_of(some_world(random.Random(seed)))
        by_key: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            by_key.setdefault(delivery[1]["play_id"], []).append(delivery)
        moved += any(len({event_date(row) for _, row in rows}) > 1 for rows in by_key.values())
        repeated += any(len({str(row) for _, row in rows}) < len(rows) for rows in by_key.values())
        corrected += any(len({str(row) for _, row in rows}) > 1 for rows in by_key.values())
        tied += any(len(contents) > 1 for contents in candidates_of(deliveries).values())
        bad += any(row["ms_played"] < 0 or not row["play_id"] for _, row in deliveries)
    assert min(moved, repeated, corrected, tied, bad) > 40
