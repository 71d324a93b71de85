"""Past days: a backfill gives the same tables as having run each night, and one that overlaps the nightly waits its turn."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tests.e2e.conftest import Installation

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 6)


def test_a_backfill_gives_the_same_tables_as_having_run_each_night(installation: Installation) -> None:
    by_night, backfilled = installation.tenant("night_by_night"), installation.tenant("backfilled")
    api = installation.api
    for offset in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=offset)
        if offset % 2:  # with a logical date, as a person or the scheduler would ...
            local = day + timedelta(days=1)
            api.trigger(by_night.nightly_dag, f"night_{day}", logical_date=_due(local), conf={})
        else:  # ... and without, naming the day
            api.trigger(by_night.nightly_dag, f"night_{day}", logical_date=None, conf={"day": day.isoformat()})
        runs = installation.wait_for_runs(by_night.nightly_dag, offset + 1)
        assert {run["state"] for run in runs} == {"success"}
        assert set(installation.ledger.receipts(by_night.slug, day)) >= {"land", "publish_marts"}

    installation.airflow(
        "backfill", "create", "--dag-id", backfilled.nightly_dag, "--from-date", FIRST.isoformat(),
        "--to-date", (LAST + timedelta(days=1)).isoformat(), "--max-active-runs", "2", "--run-backwards",
    )  # fmt: skip
    # A nightly that starts while the backfill runs: one of them at a time changes the tenant. (The backfill also makes Airflow run the
    # last scheduled night, for which nothing was delivered: it fails at `land` and must change nothing.)
    api.trigger(backfilled.nightly_dag, "overlapping", logical_date=None, conf={"day": LAST.isoformat()})
    runs = installation.wait_for_runs(backfilled.nightly_dag, (LAST - FIRST).days + 2)
    assert {run["state"] for run in runs} == {"success"}
    assert {run["run_type"] for run in runs} == {"backfill", "manual"}

    # Listeners' keys, and what derives from them, differ from tenant to tenant, as they must.
    assert installation.silver(backfilled, without=("listener_key",)) == installation.silver(by_night, without=("listener_key",))
    assert installation.marts_but_for_keys(backfilled) == installation.marts_but_for_keys(by_night)


def _due(day: date) -> datetime:
    return datetime.combine(day, time(3, 0), tzinfo=ZoneInfo("Asia/Jakarta"))
