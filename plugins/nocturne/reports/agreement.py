"""What a report prints in several places is one number: the last sum of the way from a delivery to paper.

`reconciliation_days` has counted the rows of silver, warehouse and marts; here its plays, and streams and money by day, hour, country and
genre, are added up as the pages and sheets print them. The same number stands everywhere, to the row and the cent, or the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from nocturne.reports.material import Material, Row
from nocturne.reports.windows import total

DAYS: Final = 28
_PLACES: Final[Mapping[str, Mapping[str, tuple[str, str, str | None]]]] = {
    "plays": {
        "in marts": ("layers", "mart_count", None),
        "by day": ("activity", "play_count", "played_on"),
    },
    "streams": {
        "by day": ("activity", "stream_count", "played_on"),
        "by hour": ("hours", "stream_count", None),
        "by country": ("countries", "streams_28d", None),
        "by genre": ("genres", "streams_28d", None),
    },
    "net revenue": {
        "by day": ("revenue", "net_amount", "day"),
        "by country": ("revenue_countries", "net_amount", None),
    },
}
"""What is printed, by place: (subject, column, column of the day where the subject goes back further than `DAYS`)."""


@dataclass(frozen=True)
class Printed:
    """One number of the last `DAYS` days, as each place prints it."""

    what: str
    sums: Mapping[str, Decimal]

    @property
    def agrees(self) -> bool:
        """Whether all places print the same."""
        return len(set(self.sums.values())) == 1

    @property
    def told(self) -> str:
        """For people: what each place prints."""
        return f"{self.what} of {DAYS} days: " + ", ".join(f"{value:f} {place}" for place, value in self.sums.items())


def printed(material: Material) -> tuple[Printed, ...]:
    """What this report prints in more than one place."""
    found = []
    for what, places in _PLACES.items():
        sums = {
            place: Decimal(total([row for row in material.rows(subject) if _is_within(material, row, day)], column))
            for place, (subject, column, day) in places.items()
            if material.has(subject)
        }
        if len(sums) > 1:
            found.append(Printed(what, sums))
    return tuple(found)


def _is_within(material: Material, row: Row, day: str | None) -> bool:
    return day is None or row[day] > material.day - timedelta(days=DAYS)
