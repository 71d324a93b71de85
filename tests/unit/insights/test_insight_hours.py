"""An outage of some hours is found by what usually stands there, and chance is not taken for one."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

from nocturne.insights.hours import local_hours, silent_hours
from nocturne.insights.wording import sentence

PARIS = ZoneInfo("Europe/Paris")
DAY = date(2026, 3, 4)
EARLIER = [DAY - timedelta(weeks=week) for week in range(1, 5)]


def hours(usual: int, *, silent: tuple[int, ...] = (), day: date = DAY, never: tuple[int, ...] = ()) -> dict[date, dict[int, int]]:
    """Plays by hour: `usual` in each, none in the hours that are `silent` on the day and those that `never` have any."""
    weeks = {day - timedelta(weeks=week): {hour: usual for hour in range(24) if hour not in never} for week in range(5)}
    return weeks | {day: {hour: count for hour, count in weeks[day].items() if hour not in silent}}


def test_silent_hours_are_found_as_one_span() -> None:
    found = silent_hours(hours(100, silent=(19, 20)), DAY, EARLIER, PARIS)
    assert found is not None
    assert sentence(found, DAY, "EUR") == "Nothing was played from 19:00 to 21:00 on Wednesday 2026-03-04, when 200 plays are usual."


def test_the_span_in_which_most_is_missing_is_told() -> None:
    found = silent_hours(hours(100, silent=(3, 10, 11, 12)), DAY, EARLIER, PARIS)
    assert found is not None
    assert found.member is not None
    assert found.member.key == "10:00-13:00"


def test_an_ordinary_day_and_a_quiet_night_are_no_outage() -> None:
    assert silent_hours(hours(100), DAY, EARLIER, PARIS) is None
    assert silent_hours(hours(100, never=(2, 3, 4)), DAY, EARLIER, PARIS) is None
    assert silent_hours(hours(9, silent=(2, 3, 4)), DAY, EARLIER, PARIS) is None


def test_a_day_that_is_silent_altogether_is_no_matter_of_hours() -> None:
    days = hours(100)
    del days[DAY]
    assert silent_hours(days, DAY, EARLIER, PARIS) is None


def test_a_young_tenant_has_no_usual_hours() -> None:
    days = {day: counts for day, counts in hours(100, silent=(19, 20)).items() if day >= DAY - timedelta(weeks=2)}
    assert silent_hours(days, DAY, EARLIER, PARIS) is None


def test_the_hour_that_summer_time_takes_away_is_not_missed() -> None:
    spring = date(2026, 3, 29)
    assert 2 not in local_hours(spring, PARIS)
    assert len(local_hours(date(2026, 10, 25), PARIS)) == 25
    days = hours(1_000, silent=(2,), day=spring)
    assert silent_hours(days, spring, [spring - timedelta(weeks=week) for week in range(1, 5)], PARIS) is None
