"""Which rows decide an event date, known from bronze's marks alone."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nocturne.ledger import Mark


@dataclass(frozen=True)
class Inputs:
    """What decides one event date: the batches with rows of it, and rows of other dates whose keys stand at this date too.

    `elsewhere` holds (batch, date) pairs.
    """

    rows: int
    batches: frozenset[str]
    elsewhere: frozenset[tuple[str, str]]

    def fingerprint(self, rules: str, passed: Mapping[str, Mark]) -> str:
        """Tell these inputs, as they are now, from others; `rules` stands for all that decides what is made of them."""
        involved = self.batches | {batch for batch, _ in self.elsewhere}
        stand = [(batch, passed[batch].fingerprint) for batch in sorted(involved)]
        return digest([rules, stand, sorted(self.elsewhere)])


def passed_batches(bronze: Mapping[str, Mark], gate: Mapping[str, Mark]) -> dict[str, Mark]:
    """Bronze's marks of the batches that the gate let pass as they stand now."""
    return {
        batch: mark
        for batch, mark in sorted(bronze.items())
        if batch in gate and gate[batch].facts.get("passed") is True and _judged(gate[batch]) == mark.fingerprint
    }


def _judged(mark: Mark) -> str:
    """The fingerprint of the bronze mark that the gate judged: it stands in front of the gate's own."""
    return mark.fingerprint.partition(":")[0]


def inputs_by_date(passed: Mapping[str, Mark]) -> dict[str, Inputs]:
    """The inputs of every event date that stands in these batches, in the order of dates."""
    batches: dict[str, set[str]] = defaultdict(set)
    rows: dict[str, int] = defaultdict(int)
    elsewhere: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for batch, mark in passed.items():
        for day, count in mark.facts["dates"].items():
            batches[day].add(batch)
            rows[day] += int(count)
        links: Mapping[str, Any] = mark.facts.get("links", {})
        for other, pairs in links.items():
            if other in passed:
                for here, there in pairs:
                    elsewhere[here].add((other, there))
    return {day: Inputs(rows[day], frozenset(batches[day]), frozenset(elsewhere[day])) for day in sorted(batches)}


def in_groups(days: Iterable[str], inputs: Mapping[str, Inputs], rows: int) -> Iterator[list[str]]:
    """Days that are rebuilt together: as many neighbours as have no more than `rows` rows."""
    group: list[str] = []
    size = 0
    for day in days:
        if group and size + inputs[day].rows > rows:
            yield group
            group, size = [], 0
        group.append(day)
        size += inputs[day].rows
    if group:
        yield group


def joined(inputs: Sequence[Inputs], days: Sequence[str]) -> Inputs:
    """The inputs of several days taken together."""
    batches = frozenset().union(*(one.batches for one in inputs))
    pairs = frozenset().union(*(one.elsewhere for one in inputs))
    outside = frozenset((batch, day) for batch, day in pairs if day not in days)
    return Inputs(sum(one.rows for one in inputs), batches, outside)


def digest(value: Any) -> str:
    """Tell one value that JSON can write from another."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]
