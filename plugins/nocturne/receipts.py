"""What a station did, in a form that travels through XCom, stands in the ledger and is shown to people."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field


class Entry(BaseModel):
    """What happened to one thing (a dataset, a mart, a problem, a report file) in a station.

    `counts` holds rows or other whole numbers by name (`landed`, `kept`, `quarantined`, ...); `event_dates` the dates that
    were touched; `facts` small details for people (never rows, never personal data, never secrets).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    fingerprint: str = ""
    skipped: bool = False
    counts: dict[str, int] = Field(default_factory=dict)
    event_dates: tuple[date, ...] = ()
    facts: dict[str, Any] = Field(default_factory=dict)


class Receipt(BaseModel):
    """What one station did for one tenant and day. `started_at` and `finished_at` are UTC instants."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: str
    day: date
    station: str
    started_at: datetime
    finished_at: datetime
    entries: tuple[Entry, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Wall seconds from start to finish."""
        return (self.finished_at - self.started_at).total_seconds()

    def count(self, name: str) -> int:
        """Sum of the count `name` over all entries."""
        return sum(entry.counts.get(name, 0) for entry in self.entries)

    def entry(self, name: str) -> Entry | None:
        """The entry called `name`, or None."""
        return next((entry for entry in self.entries if entry.name == name), None)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The receipt that `model_dump_json` wrote."""
        return cls.model_validate_json(text)
