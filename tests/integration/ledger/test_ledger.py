"""The ledger: marks, receipts, alerts, and a lease that one run at a time holds."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from nocturne.errors import LeaseHeld, LeaseLost
from nocturne.ledger import Ledger, Mark, migrate
from nocturne.postgres import connect
from nocturne.quality import Judgement, Result
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

DAY = date(2026, 6, 28)


def a_tenant(slug: str) -> Tenant:
    return Tenant.model_validate(
        {
            "slug": slug,
            "name": slug,
            "time_zone": "UTC",
            "currency": "EUR",
            "begins_on": "2026-01-01",
            "sources": [{"name": "plays", "dataset": "plays", "kind": "files", "location": "plays/{day}.ndjson"}],
        }
    )


def a_receipt(tenant: Tenant, station: str, rows: int) -> Receipt:
    now = datetime.now(UTC)
    return Receipt(
        tenant=tenant.slug, day=DAY, station=station, started_at=now, finished_at=now, entries=(Entry(name="plays", counts={"rows": rows}),)
    )


def test_judgements_are_kept_by_day_and_know_what_silver_refused(ledger: Ledger) -> None:
    tenant = a_tenant("judged")
    passed = Result("check", "a.yml:1", "stop", "passed", "Because.", asked=3)
    first = Judgement("bronze", "plays", date(2026, 3, 1), "app/2026-03-01", (passed,), {"rows": 3})
    later = Judgement("marts", "plays", date(2026, 3, 2), "", (replace(passed, outcome="failed", failing=1),), {"rows": 9})
    for _ in range(2):
        ledger.judge(tenant, [later, first])
    assert ledger.judgements(tenant, first.day, later.day) == [first, later]
    ledger.mark(tenant, "quarantine", "plays", {first.part: Mark("", {"quarantined": 2})})
    ledger.judge(tenant, [replace(later, results=(passed,))])
    assert [one.counts for one in ledger.judgements(tenant, first.day, first.day)] == [{"rows": 3, "quarantined": 2}]
    assert [one.score for one in ledger.judgements(tenant, later.day, later.day)] == [1]
    assert ledger.judgements(a_tenant("other"), first.day, later.day) == []


def test_a_day_is_told_apart_when_something_of_it_was_written_since(ledger: Ledger) -> None:
    tenant = a_tenant("judged_anew")
    passed = Result("check", "a.yml:1", "stop", "passed", "Because.", asked=3)
    first = Judgement("bronze", "plays", date(2026, 3, 1), "app/2026-03-01", (passed,), {"rows": 3})
    assert ledger.judged(tenant) == {}
    ledger.judge(tenant, [first, replace(first, day=date(2026, 3, 2), part="app/2026-03-02")])
    before = ledger.judged(tenant)
    assert list(before) == [date(2026, 3, 1), date(2026, 3, 2)]
    assert ledger.judged(tenant) == before
    ledger.judge(tenant, [replace(first, layer="marts", part="")])
    judged = ledger.judged(tenant)
    assert (judged[first.day] != before[first.day], judged[date(2026, 3, 2)]) == (True, before[date(2026, 3, 2)])
    for part, rows in (("app/2026-03-01", 2), ("app/2026-03-01", 1), ("app/2026-03-02", 0)):
        ledger.mark(tenant, "quarantine", "plays", {part: Mark("", {"quarantined": rows})})
        assert ledger.judged(tenant) != judged
        judged = ledger.judged(tenant)
    ledger.mark(tenant, "silver", "plays", {"app/2026-03-01": Mark("", {})})
    assert ledger.judged(tenant) == judged
    ledger.unmark(tenant, "quarantine", "plays", ["app/2026-03-02"])
    assert ledger.judged(tenant)[date(2026, 3, 2)] == before[date(2026, 3, 2)]


def test_migrating_again_changes_nothing(database: Settings) -> None:
    migrate(database)
    with connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM nocturne.revision").fetchone() == (1,)


def test_two_migrations_at_once_wait_for_each_other(database: Settings) -> None:
    threads = [threading.Thread(target=migrate, args=(database,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()


def test_marks_are_kept_by_tenant_station_dataset_and_part(ledger: Ledger) -> None:
    one, other = a_tenant("marks_one"), a_tenant("marks_other")
    ledger.mark(one, "bronze", "plays", {"a": Mark("1", {"rows": 3}), "b": Mark("2")})
    ledger.mark(one, "bronze", "plays", {"a": Mark("3", {"rows": 4})})
    assert ledger.marks(one, "bronze", "plays") == {"a": Mark("3", {"rows": 4}), "b": Mark("2", {})}
    assert ledger.marks(other, "bronze", "plays") == ledger.marks(one, "silver", "plays") == ledger.marks(one, "bronze", "tracks") == {}
    ledger.unmark(one, "bronze", "plays", ["a"])
    assert set(ledger.marks(one, "bronze", "plays")) == {"b"}


def test_the_latest_receipt_of_a_station_counts(ledger: Ledger) -> None:
    tenant = a_tenant("receipts")
    ledger.record(a_receipt(tenant, "land", 1), run_id="first", error="[tenant receipts] it was away. Next: wait.")
    ledger.record(a_receipt(tenant, "land", 2), run_id="first", cpu_seconds=1.5)
    ledger.record(a_receipt(tenant, "land", 3), run_id="second")
    latest = ledger.receipts(tenant.slug, DAY)["land"]
    assert (latest.receipt.count("rows"), latest.run_id, latest.outcome, latest.error) == (3, "second", "done", None)
    of_the_first = ledger.receipts(tenant.slug, DAY, run_id="first")["land"]
    assert (of_the_first.receipt.count("rows"), of_the_first.cpu_seconds) == (2, 1.5)


def test_an_alert_is_new_once(ledger: Ledger) -> None:
    assert ledger.raise_alert("alerting", DAY, "gate_failed", severity="stop", message="one")
    assert not ledger.raise_alert("alerting", DAY, "gate_failed", severity="stop", message="two")
    assert ledger.raise_alert("alerting", DAY, "late", severity="warn", message="three")


def test_one_run_at_a_time_holds_the_lease(ledger: Ledger) -> None:
    tenant = a_tenant("leased")
    with ledger.holding(tenant, "nightly"):
        pass
    with pytest.raises(LeaseHeld, match="nightly is changing this tenant"), ledger.holding(tenant, "backfill", wait_seconds=0.1):
        pass
    with ledger.holding(tenant, "nightly"):  # the same run goes on
        pass
    ledger.release(tenant, "backfill")  # it is not its to give back
    with pytest.raises(LeaseHeld), ledger.holding(tenant, "backfill", wait_seconds=0.1):
        pass
    ledger.release(tenant, "nightly")
    with ledger.holding(tenant, "backfill", wait_seconds=0.1):
        pass


def test_another_tenant_s_lease_is_another_s(ledger: Ledger) -> None:
    with ledger.holding(a_tenant("lease_one"), "a"), ledger.holding(a_tenant("lease_two"), "b", wait_seconds=0.1):
        pass


def test_a_run_that_died_loses_its_lease_in_time_and_one_that_lives_keeps_it(database: Settings) -> None:
    tenant = a_tenant("dying")
    ledger = Ledger(database.model_copy(update={"lease_seconds": 5}))
    with ledger.holding(tenant, "alive"):
        with connect(database) as connection:
            connection.execute("UPDATE nocturne.leases SET heartbeat_at = now() - interval '4 seconds' WHERE tenant = 'dying'")
        time.sleep(1.5)  # its heart beats meanwhile
        with pytest.raises(LeaseHeld), ledger.holding(tenant, "other", wait_seconds=0.1):
            pass
    with connect(database) as connection:
        connection.execute("UPDATE nocturne.leases SET heartbeat_at = now() - interval '6 seconds' WHERE tenant = 'dying'")
    with ledger.holding(tenant, "other", wait_seconds=0.1):
        pass


def test_a_run_learns_that_its_lease_was_taken_over(database: Settings) -> None:
    tenant = a_tenant("taken_over")
    ledger = Ledger(database.model_copy(update={"lease_seconds": 5}))
    with pytest.raises(LeaseLost, match="taken over"), ledger.holding(tenant, "slow"):
        with connect(database) as connection:
            connection.execute("UPDATE nocturne.leases SET owner = 'quick' WHERE tenant = 'taken_over'")
        time.sleep(1.2)
