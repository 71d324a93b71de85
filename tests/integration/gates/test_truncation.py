"""The gate over a world of 120 days: it stops no ordinary day, tells of an outage, and stops a delivery that was cut off."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from nocturne.bronze import load_bronze
from nocturne.errors import GateFailed
from nocturne.gates import gate_bronze
from nocturne.landing import land
from nocturne.ledger import MemoryMarks
from nocturne.settings import Settings
from nocturne.simulator import World, WorldParameters, write_sources
from nocturne.tenants import Tenant

FIRST = date(2026, 3, 1)
OUTAGES = [
    {"happens_on": "2026-04-22", "from_hour": 18, "to_hour": 22},
    {"happens_on": "2026-05-13", "from_hour": 0, "to_hour": 9},
]


class Nights:
    """A world's nights, up to the gate."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.marks = MemoryMarks()
        shape = {"begins_on": FIRST, "days": 120, "listeners": 400, "seed": 5, "tracks": 300, "artists": 40, "events": {"outages": OUTAGES}}
        self.world = World(WorldParameters.model_validate(shape))
        sources = [{"name": name, "dataset": name, "kind": "files", "location": f"{name}/{{day}}.ndjson"} for name in ("plays", "payments")]
        told = {"slug": "cut", "name": "Cut", "time_zone": "Europe/Paris", "currency": "EUR", "begins_on": FIRST}
        self.tenant = Tenant.model_validate({**told, "sources": sources})
        write_sources(self.tenant, self.world, settings.sources_root)

    def run(self) -> tuple[str, ...]:
        """Land, load, gate; the warnings."""
        for station in (land, load_bronze):
            station(self.tenant, self.world.days[-1], self.settings, self.marks)
        return gate_bronze(self.tenant, self.world.days[-1], self.settings, self.marks).warnings

    def file(self, day: date) -> Path:
        return self.settings.sources_root / f"plays/{day}.ndjson"

    def cut(self, day: date, share: float) -> bytes:
        """Keep the first part of a day's plays; what was there."""
        whole = self.file(day).read_bytes()
        lines = whole.splitlines(keepends=True)
        self.file(day).write_bytes(b"".join(lines[: round(len(lines) * share)]))
        return whole


@pytest.fixture(scope="module")
def nights(session_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    yield Nights(session_settings.model_copy(update={"var": tmp_path_factory.mktemp("cut")}))


def test_no_day_of_120_is_stopped_and_that_of_an_evening_without_plays_alone_is_warned_of(nights: Nights) -> None:
    """Weekends, a service that grows, and two outages: that of an evening takes four of ten plays, that of a night few."""
    told = [warning for warning in nights.run() if "rows_" in warning or "skew" in warning]
    assert len(told) == 1
    assert "rows_deviation" in told[0]
    assert f"plays/{OUTAGES[0]['happens_on']}" in told[0]
    passed = [batch for name in ("plays", "payments") for batch in nights.marks.marks(nights.tenant, "gate_bronze", name)]
    assert len(passed) > 200


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25])
@pytest.mark.parametrize("number", [60, 90, 119])
def test_a_delivery_that_was_cut_off_is_stopped_and_passes_when_it_is_whole(nights: Nights, number: int, share: float) -> None:
    nights.run()
    day = FIRST + timedelta(days=number)
    whole = nights.cut(day, share)
    with pytest.raises(GateFailed) as failure:
        nights.run()
    assert f"batch plays/{day} (received {day}): rows_to_floor is 0." in str(failure.value)
    assert "accept: [{day: <its day>, reason: ...}]" in str(failure.value)
    nights.file(day).write_bytes(whole)
    nights.run()
