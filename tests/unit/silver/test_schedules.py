"""Ten thousand random schedules of deliveries, over the pure parts that decide what is rebuilt: links, inputs and their fingerprints.

What DuckDB and Delta do between them is played in plain Python, so that a thousand schedules take a second;
`tests/integration/lake/test_purity.py` states the same over real tables.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from nocturne.bronze.links import Link, with_links, without
from nocturne.ledger import Mark
from nocturne.silver.inputs import Inputs, digest, in_groups, inputs_by_date, joined, passed_batches

DAYS = 4
SCHEDULES = 10_000


class Row(NamedTuple):
    """A good row: its key, event date and content."""

    key: str
    day: str
    content: int


Silver = dict[str, dict[str, tuple[Row, str]]]
"""Event date -> key -> the winner, and when its content first arrived."""


def received_on(batch: str) -> str:
    return batch.partition("/")[2]


def winners(rows: Iterable[tuple[str, Row]]) -> dict[str, tuple[Row, str]]:
    """By key the content that first arrived last (of equals the greatest), of rows with the batch that holds them."""
    arrived: dict[str, dict[Row, str]] = {}
    for batch, row in rows:
        contents = arrived.setdefault(row.key, {})
        contents[row] = min(received_on(batch), contents.get(row, "9"))
    return {key: max(contents.items(), key=lambda one: (one[1], one[0])) for key, contents in arrived.items()}


def clean(landing: Mapping[str, list[Row]]) -> Silver:
    """Silver of what stands in landing, by the stated rule and nothing else."""
    silver: Silver = {}
    for key, (row, on) in winners((batch, row) for batch, rows in landing.items() for row in rows).items():
        silver.setdefault(row.day, {})[key] = row, on
    return silver


@dataclass
class Nights:
    """Bronze, gate and silver of one dataset, with their marks."""

    landing: dict[str, list[Row]] = field(default_factory=dict)
    bronze: dict[str, Mark] = field(default_factory=dict)
    gate: dict[str, Mark] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    silver: Silver = field(default_factory=dict)
    rebuilt: int = 0

    def load(self) -> None:
        gone = set(self.bronze) - set(self.landing)
        self.bronze |= without(self.bronze, gone)
        self.bronze = {batch: mark for batch, mark in self.bronze.items() if batch not in gone}
        changed = {}
        for batch, rows in self.landing.items():
            fingerprint = digest(sorted(rows))
            if batch not in self.bronze or self.bronze[batch].fingerprint != fingerprint:
                days = [row.day for row in rows]
                changed[batch] = Mark(fingerprint, {"dates": {day: days.count(day) for day in sorted(set(days))}})
        self.bronze |= with_links(self.bronze, changed, self._links(changed))

    def _links(self, changed: Iterable[str]) -> list[Link]:
        return [
            (ours, here.day, theirs, there.day)
            for ours in changed
            for theirs, rows in self.landing.items()
            if theirs in self.bronze or theirs in changed
            for here in self.landing[ours]
            for there in rows
            if here.key == there.key and here.day != there.day
        ]

    def judge(self) -> None:
        self.gate = {batch: Mark(f"{mark.fingerprint}:suite", {"passed": True}) for batch, mark in self.bronze.items()}

    def refine(self, group_rows: int) -> None:
        passed = passed_batches(self.bronze, self.gate)
        inputs = inputs_by_date(passed)
        wanted = {day: given.fingerprint("rules", passed) for day, given in inputs.items()}
        changed = [day for day, mark in wanted.items() if self.marks.get(day) != mark]
        for group in in_groups(changed, inputs, group_rows):
            for day, rows in self._rebuilt(group, joined([inputs[day] for day in group], group)).items():
                self.silver[day], self.marks[day] = rows, wanted[day]
                self.rebuilt += 1
        for day in set(self.marks) - set(wanted):
            del self.marks[day], self.silver[day]

    def _rebuilt(self, days: list[str], inputs: Inputs) -> Silver:
        """These dates, from what the marks say that decides them."""
        here = [(batch, row) for batch in inputs.batches for row in self.landing[batch] if row.day in days]
        elsewhere = [(batch, row) for batch, day in inputs.elsewhere for row in self.landing[batch] if row.day == day]
        built: Silver = {day: {} for day in days}
        for key, (row, on) in winners([*here, *elsewhere]).items():
            if row.day in built:
                built[row.day][key] = row, on
        return built


def some_world(chance: random.Random) -> dict[str, list[Row]]:
    """Received day -> rows of few keys, dates and contents; some of them were delivered before."""
    world: dict[str, list[Row]] = {}
    seen: list[Row] = []
    for day in range(DAYS):
        new = [Row(chance.choice("abcdef"), str(chance.randrange(day + 1)), chance.randrange(3)) for _ in range(chance.randrange(6))]
        world[str(day)] = new + chance.sample(seen, min(len(seen), chance.randrange(3)))
        seen += new
    return world


def run_in_some_way(chance: random.Random, world: Mapping[str, list[Row]]) -> Nights:
    """Any order, by one source or two, rows repeated, wrong deliveries, batches that come and go, nights in between and half nights."""
    nights = Nights()
    turns = [(day, source) for day in world for source in ("app", "web")]
    shares: dict[str, list[Row]] = {f"{source}/{day}": [] for day, source in turns}
    for day, rows in world.items():
        for row in rows:
            for source in chance.choice((("app",), ("web",), ("app", "web"))):
                shares[f"{source}/{day}"] += [row] * chance.randrange(1, 3)
    for day, source in chance.sample(turns, len(turns)):
        batch = f"{source}/{day}"
        if chance.random() < 0.1:
            nights.landing[batch] = [Row("abcdef"[chance.randrange(6)], str(chance.randrange(DAYS)), 9)]
            some_night(chance, nights)
        if chance.random() < 0.05:
            nights.landing.pop(batch, None)
            some_night(chance, nights)
        nights.landing[batch] = chance.sample(shares[batch], len(shares[batch]))
        some_night(chance, nights)
    nights.load()
    nights.judge()
    nights.refine(chance.randrange(1, 30))
    return nights


def some_night(chance: random.Random, nights: Nights) -> None:
    """A night, the first half of one, or none. Between landing and silver nothing changes: a lease holds the tenant."""
    if chance.random() < 0.4:
        nights.load()
        if chance.random() < 0.8:
            nights.judge()
            nights.refine(chance.randrange(1, 30))


def test_ten_thousand_schedules_end_in_the_same_tables_as_one_clean_delivery() -> None:
    chance = random.Random(11)
    moved = corrected = partly = 0
    for _ in range(SCHEDULES):
        world = some_world(chance)
        nights = run_in_some_way(chance, world)
        expected = clean({f"app/{day}": rows for day, rows in world.items()})
        assert {day: rows for day, rows in nights.silver.items() if rows} == expected
        rows = {row for delivered in world.values() for row in delivered}
        moved += len({(row.key, row.day) for row in rows}) > len({row.key for row in rows})
        corrected += len(rows) > len({(row.key, row.day) for row in rows})
        before = nights.rebuilt
        nights.load()
        nights.judge()
        nights.refine(10)
        assert nights.rebuilt == before, "a night with nothing new rebuilds nothing"
        late = next(iter(nights.landing))
        nights.landing[late] = [*nights.landing[late], Row("new", "0", 1)]
        nights.load()
        nights.judge()
        nights.refine(10)
        partly += nights.rebuilt - before < len(nights.silver)
        assert nights.silver["0"]["new"][0] == Row("new", "0", 1)
    assert min(moved, corrected, partly) > SCHEDULES / 3, "the worlds hold what they are to prove"


def test_a_date_that_is_decided_elsewhere_too_is_not_forgotten() -> None:
    """What the schedules would find: without links, a key that moved stands twice."""
    nights = Nights(landing={"app/1": [Row("a", "0", 1)]})
    nights.load()
    nights.judge()
    nights.refine(10)
    nights.landing["app/2"] = [Row("a", "1", 2)]
    nights.load()
    blind = {batch: Mark(mark.fingerprint, {"dates": mark.facts["dates"]}) for batch, mark in nights.bronze.items()}
    nights.bronze = blind
    nights.judge()
    nights.refine(10)
    assert nights.silver != clean(nights.landing)
