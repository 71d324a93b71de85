"""Links: a pure function of which batches hold which keys at which dates, whatever the order in which they were loaded."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import product

from nocturne.bronze.links import Link, with_links, without
from nocturne.ledger import Mark

World = Mapping[str, frozenset[tuple[str, str]]]
"""Batch -> its (key, date) pairs."""


def links_of(world: World, batches: set[str]) -> list[Link]:
    """What `find_links` asks of bronze: links from these batches to all, seen from these."""
    return sorted(
        {
            (ours, here, theirs, there)
            for ours, theirs in product(sorted(batches), sorted(world))
            for (key, here), (other_key, there) in product(world[ours], world[theirs])
            if key == other_key and here != there
        }
    )


def mark(world: World, batch: str) -> Mark:
    return Mark(str(sorted(world[batch])), {"dates": sorted({day for _, day in world[batch]})})


def loaded_at_once(world: World) -> dict[str, Mark]:
    return with_links({}, {batch: mark(world, batch) for batch in world}, links_of(world, set(world)))


def some_batch(chance: random.Random) -> frozenset[tuple[str, str]]:
    return frozenset((chance.choice("abcde"), chance.choice(("1", "2", "3"))) for _ in range(chance.randrange(4)))


def test_both_sides_of_a_link_know_it() -> None:
    world = {"one": frozenset({("a", "1"), ("b", "1")}), "two": frozenset({("a", "2")}), "three": frozenset({("c", "1")})}
    marks = loaded_at_once(world)
    assert marks["one"].facts["links"] == {"two": [["1", "2"]]}
    assert marks["two"].facts["links"] == {"one": [["2", "1"]]}
    assert "links" not in marks["three"].facts


def test_a_batch_may_be_linked_to_itself() -> None:
    marks = loaded_at_once({"one": frozenset({("a", "1"), ("a", "2")})})
    assert marks["one"].facts["links"] == {"one": [["1", "2"], ["2", "1"]]}


def test_the_marks_follow_from_what_stands_not_from_its_history() -> None:
    """10,000 loads, reloads and removals in 500 histories: after each, the marks are those of a world loaded at once."""
    chance = random.Random(7)
    for _ in range(500):
        world: dict[str, frozenset[tuple[str, str]]] = {}
        marks: dict[str, Mark] = {}
        for _ in range(20):
            if world and chance.random() < 0.2:
                gone = {chance.choice(sorted(world))}
                marks |= without(marks, gone)
                for batch in gone:
                    del world[batch], marks[batch]
            else:
                changed = set(chance.sample("uvwxyz", chance.randrange(1, 3)))
                world |= {batch: some_batch(chance) for batch in changed}
                marks |= with_links(marks, {batch: mark(world, batch) for batch in changed}, links_of(world, changed))
            assert marks == loaded_at_once(world)


def test_only_marks_that_change_are_written() -> None:
    world = {"one": frozenset({("a", "1")}), "two": frozenset({("a", "2")}), "three": frozenset({("b", "3")})}
    marks = loaded_at_once(world)
    again = {"two": mark({"two": frozenset({("a", "2")})}, "two")}
    assert with_links(marks, again, links_of(world, {"two"})) == {}
    moved = {**world, "two": frozenset({("b", "2")})}
    written = with_links(marks, {"two": mark(moved, "two")}, links_of(moved, {"two"}))
    assert sorted(written) == ["one", "three", "two"]
