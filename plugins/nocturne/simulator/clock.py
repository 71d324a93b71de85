"""The world's days: local calendar days of its time zone, numbered from 0, with their UTC beginnings (a day has 23, 24 or 25 hours)."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from nocturne.simulator.parameters import WorldParameters
from nocturne.simulator.randomness import Floats, Ints

DAY_MS = 86_400_000
BEFORE = 120
"""Days before the world's first that have a number (negative): subscriptions run in before deliveries begin."""
_WEEK = np.array([0.93, 0.92, 0.94, 0.98, 1.10, 1.10, 1.03])


class Clock:
    """Turns day numbers into dates and instants, and back."""

    def __init__(self, parameters: WorldParameters) -> None:
        self.begins_on = parameters.begins_on
        self.days = parameters.days
        zone = ZoneInfo(parameters.time_zone)
        first = parameters.begins_on - timedelta(days=BEFORE)
        midnights = (first + timedelta(days=n) for n in range(BEFORE + parameters.days + 2))
        self._starts: Ints = np.array(
            [int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000 for day in midnights], np.int64
        )

        self._changes: Ints = np.full(len(self._starts) - 1, DAY_MS, np.int64)
        for day in np.flatnonzero(np.diff(self._starts) != DAY_MS):
            self._changes[day] = _change(int(self._starts[day]), int(self._starts[day + 1]), zone)

    def start_ms(self, day: int | Ints) -> Ints:
        """UTC milliseconds at which these days begin."""
        starts: Ints = self._starts[np.asarray(day) + BEFORE]
        return starts

    def length_ms(self, day: int) -> int:
        """Milliseconds of a day."""
        return int(self._starts[day + BEFORE + 1] - self._starts[day + BEFORE])

    def passed_ms(self, days: Ints, wall_ms: Ints) -> Ints:
        """Milliseconds from a day's beginning until clocks first show `wall_ms` after midnight (where that hour is left out: the next)."""
        change, longer = self._changes[days + BEFORE], self._starts[days + BEFORE + 1] - self._starts[days + BEFORE] - DAY_MS
        passed: Ints = np.where(wall_ms < change - np.minimum(longer, 0), wall_ms, wall_ms + longer)
        return passed

    def day_of(self, instants: Ints) -> Ints:
        """The day numbers of UTC milliseconds."""
        return np.searchsorted(self._starts, instants, side="right") - 1 - BEFORE

    def date_of(self, day: int) -> date:
        """The date of a day number."""
        return self.begins_on + timedelta(days=int(day))

    def number_of(self, day: date) -> int:
        """The number of a date."""
        return (day - self.begins_on).days

    def dates(self, days: Ints) -> np.ndarray:
        """The same for many, as datetime64[D]."""
        return np.datetime64(self.begins_on, "D") + days.astype("timedelta64[D]")

    def season(self, day: int) -> float:
        """How much is listened to on a day, against the mean: the week and the year."""
        on = self.date_of(day)
        year = 1.0 + 0.06 * np.cos(2 * np.pi * (on.timetuple().tm_yday - 350) / 365.25)
        return float(_WEEK[on.weekday()] * year)

    def weights(self, days: Ints) -> Floats:
        """The week's part of the season of many days."""
        return _WEEK[(days + self.begins_on.weekday()) % 7]


def _change(begins_ms: int, ends_ms: int, zone: ZoneInfo) -> int:
    """Milliseconds after which clocks are changed on a day of another length than 24 hours."""
    before = datetime.fromtimestamp(begins_ms / 1000, zone).utcoffset()
    minutes = range(begins_ms, ends_ms, 60_000)
    return next(minute for minute in minutes if datetime.fromtimestamp(minute / 1000, zone).utcoffset() != before) - begins_ms
