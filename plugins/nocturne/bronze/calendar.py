"""Event dates: the tenant's local calendar day of an instant, as SQL.

The offsets come from Python's zone data, as everywhere in the house: DuckDB brings an older set of its own, which differs for zones whose
law has changed since.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from nocturne.tenants import Zone

Offset = tuple[int, int]
"""(first second since 1970, seconds to add to UTC from then on)."""

FIRST = datetime(1900, 1, 1, tzinfo=UTC)
_PROBE = 7 * 86_400  # no zone has changed twice within a week and come back to the offset that it had


def offsets(zones: Sequence[Zone], until: date) -> tuple[Offset, ...]:
    """All offsets in force from 1900 to the end of the day after `until`, anywhere on Earth."""
    end = _end(until)
    horizon = _seconds(datetime(until.year + 2, 1, 1, tzinfo=UTC))  # a round one, so that the days of a year are asked for once
    begins = [_seconds(FIRST), *(_seconds(zone.since) for zone in zones[1:]), horizon]
    found: list[Offset] = []
    for zone, begin, stop in zip(zones, begins, begins[1:], strict=False):
        for since, offset in _changes(zone.value, begin, min(stop, horizon)):
            if since < end and (not found or found[-1][1] != offset):
                found.append((since, offset))
    return tuple(found)


def digest(found: Sequence[Offset], until: date) -> str:
    """Tell the offsets in force to the end of the day after `until` from others: what comes later touches no batch of that day."""
    return _told(tuple(found[: bisect_left(found, (_end(until),))]))


@lru_cache(maxsize=64)
def _told(found: tuple[Offset, ...]) -> str:
    return hashlib.sha256(repr(list(found)).encode()).hexdigest()[:16]


def local_date(micros: str, found: Sequence[Offset]) -> str:
    """SQL of the local date of an instant; `micros` is SQL of its microseconds since 1970, from the year 1900 to 9999, or NULL.

    The newest offsets are asked first: nearly every row is answered by one of the first two, and DuckDB asks no further then.
    """
    later = "".join(f" WHEN {micros} >= {since * 1_000_000} THEN {offset * 1_000_000}" for since, offset in found[:0:-1])
    first = found[0][1] * 1_000_000
    return f"make_timestamp({micros} + {f'CASE{later} ELSE {first} END' if later else first})::DATE"


@lru_cache(maxsize=256)
def _changes(zone: str, begin: int, end: int) -> tuple[Offset, ...]:
    """The offsets of one zone from `begin` to before `end`; found by probing, because Python does not tell them."""
    if begin >= end:
        return ()
    info = ZoneInfo(zone)
    found = [(begin, _offset(info, begin))]
    for probe in range(begin, end, _PROBE):
        found.extend(_changes_between(info, probe, min(probe + _PROBE, end - 1)))
    return tuple(found)


def _changes_between(zone: ZoneInfo, low: int, high: int) -> Iterator[Offset]:
    while (before := _offset(zone, low)) != _offset(zone, high):
        earlier, later = low, high
        while later - earlier > 1:
            middle = (earlier + later) // 2
            if _offset(zone, middle) == before:
                earlier = middle
            else:
                later = middle
        yield later, _offset(zone, later)
        low = later


def _offset(zone: ZoneInfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, zone).utcoffset()
    assert offset is not None  # noqa: S101  (a ZoneInfo always has one)
    return int(offset.total_seconds())


def _end(until: date) -> int:
    return _seconds(datetime(until.year, until.month, until.day, tzinfo=UTC) + timedelta(days=3))


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())
