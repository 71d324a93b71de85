"""Alerts through the ledger: raised once, counted after that, delivered exactly when they were not yet."""

from __future__ import annotations

import json
from datetime import date

from nocturne.alerts import raise_alerts
from nocturne.ledger import Ledger, utc_now
from nocturne.postgres import connect
from nocturne.receipts import Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

DAY = date(2026, 3, 1)


def tenant(slug: str) -> Tenant:
    source = {"name": "app", "dataset": "plays", "kind": "files", "location": "{day}.ndjson"}
    return Tenant.model_validate(
        {"slug": slug, "name": "T", "time_zone": "Europe/Paris", "currency": "EUR", "begins_on": "2026-01-01", "sources": [source]}
    )


def times(settings: Settings, slug: str) -> list[int]:
    with connect(settings) as connection:
        rows = connection.execute("SELECT times FROM nocturne.alerts WHERE tenant = %s ORDER BY alert", (slug,)).fetchall()
    return [row[0] for row in rows]


def test_an_alert_is_delivered_once_and_counted_again(database: Settings, ledger: Ledger) -> None:
    one = tenant("alerts_once")
    log = database.var / "alerts" / "alerts_once.log"
    warned = Receipt(tenant=one.slug, day=DAY, station="gate_bronze", started_at=utc_now(), finished_at=utc_now(), warnings=("Few rows.",))
    ledger.record(warned, run_id="r1")
    ledger.record(warned.model_copy(update={"station": "land"}), run_id="r1", error="The source is gone. Next: Call its owner.")

    first = raise_alerts(one, DAY, database, ledger, {"land": "failed"})
    again = raise_alerts(one, DAY, database, ledger, {"land": "failed"})

    assert first.count("raised") == first.count("delivered") == 3  # the failure, and the warnings of two receipts
    assert again.count("raised") == again.count("delivered") == 0
    assert all(entry.skipped for entry in again.entries)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["severity"] for line in lines] == ["stop", "warn", "warn"]
    assert "The source is gone." in lines[0]["message"]
    assert times(database, one.slug) == [2, 2, 2]


def test_an_alert_that_was_kept_but_not_delivered_is_delivered(database: Settings, ledger: Ledger) -> None:
    one = tenant("alerts_crash")
    raise_alerts(one, DAY, database, ledger, {"land": "The source is gone."})
    (database.var / "alerts" / "alerts_crash.log").unlink()

    again = raise_alerts(one, DAY, database, ledger, {"land": "The source is gone."})

    assert (again.count("raised"), again.count("delivered")) == (0, 1)


def test_what_a_gate_found_leads_to_the_quality_pages(database: Settings, ledger: Ledger) -> None:
    one = tenant("alerts_led")
    pages = database.reports_root / one.slug / "quality" / "index.html"
    pages.parent.mkdir(parents=True)
    pages.write_text("")
    raise_alerts(one, DAY, database, ledger, {"gate_marts": "Two rows are missing.", "land": "The source is gone."})
    log = database.var / "alerts" / "alerts_led.log"
    messages = {line["tasks"][0]: line["message"] for line in map(json.loads, log.read_text().splitlines())}
    assert messages["gate_marts"].endswith(f"Every check and the rows that failed it: {pages}")
    assert str(pages) not in messages["land"]


def test_another_day_is_another_alert(database: Settings, ledger: Ledger) -> None:
    one = tenant("alerts_days")
    for day in (DAY, date(2026, 3, 2)):
        assert raise_alerts(one, day, database, ledger, {"land": "The source is gone."}).count("delivered") == 1
