"""Nothing is lost and nothing is made up on the way from a delivery to the marts: the sums that must be equal, to the row and the cent.

of each batch       delivered = left out + valid + quarantined, and bronze and quarantine hold what was counted
of each dataset     valid of all batches = rows in silver + duplicates
of each part        rows in silver = rows that the warehouse was told = rows that it holds (counted again where the night touched it)
of plays            plays in silver = plays in the mart + resumes joined to an earlier play + attempts of no length
of amounts          of each part, in silver = in the warehouse; those of payments and impressions, at the day's rate = revenue
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

WHOLE = "all"  # the part of a reference dataset


@dataclass(frozen=True)
class BatchTerms:
    """What became of a batch's rows. `valid` and `quarantined` are None while silver has not taken it."""

    delivered: int
    left_out: int
    bronze: int
    valid: int | None
    quarantined: int | None
    quarantine: int


@dataclass(frozen=True)
class PartTerms:
    """Rows of an event date (or of all): in silver, as the warehouse was told, and as it holds (None: the night did not touch it)."""

    silver: int
    told: int
    warehouse: int | None = None


@dataclass(frozen=True)
class Terms:
    """Every term of one dataset."""

    dataset: str
    batches: Mapping[str, BatchTerms]
    parts: Mapping[str, PartTerms]
    duplicates: int
    counts: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Add up what people are shown."""
        batches = self.batches.values()
        totals = {
            "delivered": sum(one.delivered for one in batches),
            "left_out": sum(one.left_out for one in batches),
            "valid": sum(one.valid or 0 for one in batches),
            "quarantined": sum(one.quarantined or 0 for one in batches),
            "duplicates": self.duplicates,
            "silver": sum(one.silver for one in self.parts.values()),
            "warehouse": sum(one.told for one in self.parts.values()),
        }
        object.__setattr__(self, "counts", totals)


@dataclass(frozen=True)
class PlayTerms:
    """What became of silver's plays of one event date."""

    silver: int
    mart: int
    joined: int
    zero_length: int


@dataclass(frozen=True)
class AmountTerms:
    """The sum of an amount of a table's part before and behind one step; `tolerance` is what rounding may come to, below a cent."""

    table: str
    part: str
    amount: str
    before: str
    amount_before: Decimal
    behind: str
    amount_behind: Decimal
    tolerance: Decimal = Decimal(0)


def differences(terms: Terms) -> Iterator[str]:
    """What does not add up, each with both sides and the difference."""
    for batch, one in terms.batches.items():
        for text in _of_batch(one):
            yield f"{terms.dataset}, batch {batch}: {text}"
    totals = terms.counts
    kept = f"silver holds {totals['silver']:,} and {totals['duplicates']:,} were duplicates"
    sides = f"{totals['valid']:,} rows of all batches were valid, {kept}"
    for text in _compared(sides, totals["silver"] + totals["duplicates"], totals["valid"]):
        yield f"{terms.dataset}: {text}"
    for part, place in terms.parts.items():
        held = place.told if place.warehouse is None else place.warehouse
        sides = f"silver holds {place.silver:,} rows, the warehouse was told {place.told:,} and holds {held:,}"
        for text in _compared(sides, place.told if place.told != place.silver else held, place.silver):
            yield f"{terms.dataset}, {part}: {text}"


def play_differences(terms: Mapping[str, PlayTerms]) -> Iterator[str]:
    """The event dates whose plays do not add up."""
    for day, one in terms.items():
        sides = f"silver holds {one.silver:,}, the mart {one.mart:,}, {one.joined:,} resumes joined, {one.zero_length:,} never sounded"
        for text in _compared(sides, one.mart + one.joined + one.zero_length, one.silver):
            yield f"plays, {day}: {text}"


def amount_differences(terms: Iterable[AmountTerms]) -> Iterator[str]:
    """The amounts that are not the same before and behind a step."""
    for one in terms:
        beyond = one.amount_behind - one.amount_before
        if abs(beyond) > one.tolerance:
            sides = f"{one.amount} is {one.amount_before:f} in {one.before} and {one.amount_behind:f} in {one.behind}"
            yield f"{one.table}, {one.part}: {sides}: {abs(beyond):f} {'too much' if beyond > 0 else 'missing'}"


def _of_batch(one: BatchTerms) -> Iterator[str]:
    delivered = f"{one.delivered:,} rows were delivered and {one.left_out:,} left out"
    kept = one.delivered - one.left_out
    yield from _compared(f"{delivered}, bronze holds {one.bronze:,}", one.bronze, kept)
    if one.valid is None or one.quarantined is None:
        yield "it is in bronze, but silver has not taken it"
        return
    sides = f"{delivered}, {one.valid:,} were valid and {one.quarantined:,} quarantined"
    yield from _compared(sides, one.valid + one.quarantined, kept)
    yield from _compared(f"{one.quarantined:,} rows were quarantined, quarantine holds {one.quarantine:,}", one.quarantine, one.quarantined)


def _compared(sides: str, found: int, wanted: int) -> Iterator[str]:
    if found != wanted:
        yield f"{sides}: {abs(found - wanted):,} {'too many' if found > wanted else 'missing'}"
