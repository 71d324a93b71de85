"""The business day of a run, whichever way the run was made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.errors import PermanentError
from nocturne.orchestration.day import business_day
from nocturne.tenants import Tenant


@dataclass(frozen=True)
class Run:
    """What of a run decides its day."""

    logical_date: datetime | None = None
    run_after: datetime = datetime(2026, 6, 30, 12, tzinfo=UTC)
    conf: dict[str, Any] | None = None


def a_tenant(zone: str = "Europe/Paris") -> Tenant:
    return Tenant.model_validate(
        {
            "slug": "some_label",
            "name": "Some label",
            "time_zone": zone,
            "currency": "EUR",
            "begins_on": date(2020, 1, 1),
            "sources": [{"name": "plays", "dataset": "plays", "kind": "files", "location": "plays/{day}.ndjson"}],
        }
    )


def test_a_scheduled_night_is_about_the_local_day_that_was_over() -> None:
    due = datetime(2026, 6, 29, 3, 0, tzinfo=ZoneInfo("Europe/Paris"))
    assert business_day(a_tenant(), Run(logical_date=due)) == date(2026, 6, 28)


def test_the_local_day_counts_and_not_the_utc_one() -> None:
    evening_in_utc = datetime(2026, 6, 28, 22, 30, tzinfo=UTC)  # 00:30 on the 29th in Paris, 18:30 on the 28th in New York
    assert business_day(a_tenant("Europe/Paris"), Run(logical_date=evening_in_utc)) == date(2026, 6, 28)
    assert business_day(a_tenant("America/New_York"), Run(logical_date=evening_in_utc)) == date(2026, 6, 27)


def test_without_a_logical_date_it_is_when_the_run_may_start() -> None:
    assert business_day(a_tenant(), Run(run_after=datetime(2026, 1, 2, 1, tzinfo=UTC))) == date(2026, 1, 1)


def test_a_given_day_goes_over_the_logical_date() -> None:
    run = Run(logical_date=datetime(2026, 6, 29, 1, tzinfo=UTC), conf={"day": "2026-03-01"})
    assert business_day(a_tenant(), run) == date(2026, 3, 1)


def test_a_training_is_about_the_latest_night_that_asked_for_it() -> None:
    assert business_day(a_tenant(), Run(), ["2026-03-01", "2026-03-03", "2026-03-02"]) == date(2026, 3, 3)


@pytest.mark.parametrize("day", ["yesterday", "2026-02-30", "20/06/2026"])
def test_a_day_that_is_no_date_is_refused(day: str) -> None:
    with pytest.raises(PermanentError, match="no date"):
        business_day(a_tenant(), Run(conf={"day": day}))


def test_a_day_before_the_tenant_began_is_refused() -> None:
    with pytest.raises(PermanentError, match="begins on 2020-01-01"):
        business_day(a_tenant(), Run(conf={"day": "2019-12-31"}))


@given(
    st.integers(0, 9 * 365 * 86_400).map(lambda seconds: datetime(2021, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)),
    st.sampled_from(["Europe/Paris", "America/New_York", "Asia/Jakarta", "Pacific/Apia", "Asia/Kolkata"]),
)
def test_the_day_is_over_and_the_next_is_not(instant: datetime, zone: str) -> None:
    day = business_day(a_tenant(zone), Run(logical_date=instant))
    local = instant.astimezone(ZoneInfo(zone)).date()
    assert day + timedelta(days=1) == local
