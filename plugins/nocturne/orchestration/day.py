"""The business day of a run: defined here, and nowhere else.

| how the run was made | its instant | its business day |
| --- | --- | --- |
| by the schedule | the logical date: when the night was due | the last local day that was over at that instant |
| by a backfill (CLI or UI) | the logical date of that night | the same |
| by hand or through the API, with a logical date | that logical date | the same |
| through the API without a logical date | `run_after` | the same |
| by a night's asset event (a training) | - | the day of that night; of several, the latest |
| any, with `{"day": "YYYY-MM-DD"}` as configuration | - | that day |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Protocol

from nocturne.errors import PermanentError
from nocturne.tenants import Tenant


class Run(Protocol):
    """What of an Airflow run decides its day."""

    @property
    def logical_date(self) -> datetime | None:
        """When it was due."""

    @property
    def run_after(self) -> datetime:
        """When it may start."""

    @property
    def conf(self) -> Mapping[str, Any] | None:
        """What was given with it."""


def business_day(tenant: Tenant, run: Run, event_days: Sequence[str] = ()) -> date:
    """The business day of `run`; `event_days` are the days that the asset events which started it carry.

    Raises PermanentError for a `day` that is no date or lies before the tenant's first day.
    """
    given = (run.conf or {}).get("day") or max(event_days, default=None)
    if given:
        try:
            day = date.fromisoformat(str(given))
        except ValueError as error:
            raise PermanentError(
                f"The run's `day` is {given!r}, which is no date.",
                next_step='Trigger it again with {"day": "YYYY-MM-DD"}.',
                tenant=tenant.slug,
            ) from error
    else:
        day = tenant.business_day(run.logical_date or run.run_after)
    if day < tenant.begins_on:
        raise PermanentError(
            f"The run is about {day}, and the tenant begins on {tenant.begins_on}.",
            next_step="Trigger a later day, or set an earlier `begins_on` in the tenant's file.",
            tenant=tenant.slug,
        )
    return day
