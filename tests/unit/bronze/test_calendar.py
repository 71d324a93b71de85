"""Event dates: DuckDB must say of every instant what Python says, in every zone, also where the zone changed."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from nocturne.bronze.calendar import FIRST, Offset, digest, local_date, offsets
from nocturne.lake import duck
from nocturne.settings import Settings
from nocturne.tenants import Zone

UNTIL = date(2027, 6, 1)
ZONES = (
    "Africa/Casablanca", "America/New_York", "America/Sao_Paulo", "America/St_Johns", "America/Vancouver", "Asia/Jakarta",
    "Asia/Kathmandu", "Asia/Kolkata", "Asia/Tehran", "Asia/Tokyo", "Atlantic/Azores", "Australia/Lord_Howe", "Europe/Dublin",
    "Europe/London", "Europe/Moscow", "Europe/Paris", "Pacific/Apia", "Pacific/Chatham", "Pacific/Kiritimati", "UTC",
)  # fmt: skip


def zone(value: str, since: datetime = FIRST) -> Zone:
    return Zone.model_validate({"from": since, "value": value})


def dates(settings: Settings, instants: list[datetime], found: tuple[Offset, ...]) -> list[date]:
    given = pa.table({"instant": pa.array(instants, pa.timestamp("us", "UTC")), "place": range(len(instants))})
    with duck(settings) as connection:
        connection.register("given", given)
        query = f"SELECT {local_date('epoch_us(instant)', found)} FROM given ORDER BY place"
        return [day for (day,) in connection.execute(query).fetchall()]


def some_instants(chance: random.Random, found: tuple[Offset, ...]) -> list[datetime]:
    """500 instants: anywhere since 1900, around each kind of change of the zone, and around local midnights."""
    last = datetime.combine(UNTIL, datetime.min.time(), UTC)
    anywhere = [FIRST + chance.random() * (last - FIRST) for _ in range(300)]
    changes = [datetime.fromtimestamp(since, UTC) + timedelta(microseconds=chance.choice((-1, 0, 1))) for since, _ in found[1:]]
    midnights = [
        datetime.combine(day, datetime.min.time(), UTC) - timedelta(seconds=offset) + timedelta(microseconds=chance.choice((-1, 0, 1)))
        for day in (UNTIL - timedelta(days=chance.randrange(10_000)) for _ in range(200))
        for _, offset in [found[-1]]
    ]
    return [*anywhere, *chance.sample(changes, min(100, len(changes))), *midnights][:500]


@pytest.mark.parametrize("name", ZONES)
def test_the_event_date_is_the_local_day_of_the_instant(settings: Settings, name: str) -> None:
    """20 zones x 500 instants: 10,000 cases."""
    found = offsets([zone(name)], UNTIL)
    instants = some_instants(random.Random(name), found)
    assert len(instants) >= 500
    assert dates(settings, instants, found) == [instant.astimezone(ZoneInfo(name)).date() for instant in instants]


def test_a_change_of_the_tenants_zone_takes_effect_at_its_instant(settings: Settings) -> None:
    moved = datetime(2026, 3, 10, 12, tzinfo=UTC)
    found = offsets([zone("America/New_York"), zone("Asia/Tokyo", moved)], UNTIL)
    before, after = moved - timedelta(microseconds=1), moved + timedelta(hours=3)
    assert dates(settings, [before, after], found) == [date(2026, 3, 10), date(2026, 3, 11)]
    assert dates(settings, [after], offsets([zone("America/New_York")], UNTIL)) == [date(2026, 3, 10)]


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 6, 1), 24), (date(2026, 10, 25), 25)])
def test_a_day_has_23_24_or_25_hours(settings: Settings, day: date, hours: int) -> None:
    start = datetime.combine(day, datetime.min.time(), ZoneInfo("Europe/Paris")).astimezone(UTC)
    instants = [start + timedelta(hours=hour) for hour in range(-1, 27)]
    assert dates(settings, instants, offsets([zone("Europe/Paris")], UNTIL)).count(day) == hours


def test_what_a_zone_does_later_touches_no_earlier_batch() -> None:
    paris = [zone("Europe/Paris")]
    moves_later = [*paris, zone("Asia/Tokyo", datetime(2026, 3, 20, tzinfo=UTC))]
    day = date(2026, 3, 10)
    assert digest(offsets(paris, UNTIL), day) == digest(offsets(moves_later, UNTIL), day) == digest(offsets(paris, day), day)
    assert digest(offsets(paris, UNTIL), date(2026, 3, 18)) != digest(offsets(moves_later, UNTIL), date(2026, 3, 18))
