"""Where a night begins with a source that grows, and where it must end: told by the manifests of the nights around it.

Nights follow each other without a gap: each begins where the batch before it ended. A night whose batch was removed takes just what lies
between its neighbours; one that was taken before, as its mark tells, ends where it ended then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from nocturne.asking import Growth
from nocturne.landing.batches import Shelf
from nocturne.ledger import Mark
from nocturne.manifests import Manifest, Range


@dataclass(frozen=True)
class Reach:
    """What a night takes: by part, the range after which it begins, and where it must end (None: wherever the source ends)."""

    after: Mapping[str, Range]
    until: Mapping[str, str] | None

    def since(self, part: str) -> str | None:
        """Where a part begins; None: at its beginning."""
        return self.after[part].until if part in self.after else None


def reach(shelf: Shelf, day: date, mark: Mark | None) -> Reach | None:
    """What the night of `day` takes; None if later nights have taken it. Reads the manifests of its two neighbours."""
    days = shelf.days()
    before = _manifest(shelf, max((a_day for a_day in days if a_day < day), default=None))
    later = _manifest(shelf, min((a_day for a_day in days if a_day > day), default=None))
    after = {one.part: one for one in before.ranges} if before else {}
    if later is not None:
        until = {one.part: one.since for one in later.ranges if one.since is not None and _ends(after, one.part) != one.since}
        return Reach(after, until) if until else None
    earlier = [Range.model_validate(one) for one in mark.facts.get("ranges", ())] if mark else []
    was_so = bool(earlier) and all(one.since == _ends(after, one.part) for one in earlier if one.since is not None)
    if not was_so:
        return Reach(after, None)
    anew = {one.part for one in earlier if one.since is None}  # what began again, because the source was made anew, does so this time too
    return Reach({part: one for part, one in after.items() if part not in anew}, {one.part: one.until for one in earlier})


def marked(manifest: Manifest, **facts: Any) -> dict[str, Mark]:
    """The mark of a batch of a source that grows: it keeps the ranges, for the case that the batch is removed and taken again."""
    told = {"received_on": manifest.received_on.isoformat(), "ranges": [one.model_dump() for one in manifest.ranges]}
    return {manifest.batch: Mark(manifest.fingerprint, told | facts)}


def _ends(after: Mapping[str, Range], part: str) -> str | None:
    return after[part].until if part in after else None


def _manifest(shelf: Shelf, day: date | None) -> Manifest | None:
    return shelf.manifest(day) if day else None


# values ----------------------------------------------------------------------------------------------------------------------------
def greatest(growth: Growth, values: Iterable[Any]) -> str | None:
    """The greatest of `values`, as it was written; None if there is none. Raises ValueError if one is no such value."""
    found = max(values, key=growth.order, default=None)
    return None if found is None else str(found)


def reduced(growth: Growth, value: str) -> str:
    """`value` less the overlap; as it was written, if there is none."""
    if not growth.overlap:
        return value
    if growth.type == "number":
        return f"{Decimal(value) - growth.overlap:f}"
    earlier = datetime.fromisoformat(value) - timedelta(seconds=float(growth.overlap))
    return earlier.isoformat().replace("+00:00", "Z") if "T" in value or "t" in value else str(earlier)


def not_ahead(growth: Growth, value: str, now: datetime) -> str:
    """`value`, or `now` if it is later: a clock that goes wrong at the source must not hide what comes after."""
    if growth.type != "instant" or growth.order(value) <= now:
        return value
    return now.isoformat() if datetime.fromisoformat(value).tzinfo else now.replace(tzinfo=None).isoformat()
