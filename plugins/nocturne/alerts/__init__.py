"""Station: tells those who must know what went wrong in a night, once, with what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from nocturne.alerts.channels import LogFile
from nocturne.alerts.messages import Alert, alerts_of
from nocturne.ledger import Ledger, utc_now
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

_GATES = {"gate_bronze", "gate_marts"}

__all__ = ["raise_alerts"]


def raise_alerts(tenant: Tenant, day: date, settings: Settings, ledger: Ledger, failures: Mapping[str, str]) -> Receipt:
    """Raise an alert for each cause of failure and for each station's warnings.

    `failures` holds the failed tasks, each with its message or with its state alone (`failed`, `upstream_failed`); a cause that is not
    given is taken from the task's receipt. Reads the night's receipts; writes the ledger's alerts and the tenant's log file. Run again, it
    counts an alert that was raised before and delivers it no second time; an alert that was kept but not yet delivered is delivered.
    """
    started = utc_now()
    channel = LogFile(settings.var / "alerts" / f"{tenant.slug}.log")
    delivered = channel.delivered(day)
    entries = []
    pages = settings.reports_root / tenant.slug / "quality" / "index.html"
    for alert in alerts_of(tenant.slug, day, failures, ledger.receipts(tenant.slug, day)):
        if pages.exists() and _GATES & set(alert.tasks):
            alert = replace(alert, message=f"{alert.message} Every check and the rows that failed it: {pages}")
        is_new = ledger.raise_alert(tenant.slug, day, alert.key, severity=alert.severity, message=alert.message)
        if alert.key not in delivered:
            channel.deliver(tenant.slug, day, alert)
        entries.append(_entry(alert, is_new=is_new, is_delivered=alert.key not in delivered))
    return Receipt(tenant=tenant.slug, day=day, station="raise_alerts", started_at=started, finished_at=utc_now(), entries=tuple(entries))


def _entry(alert: Alert, *, is_new: bool, is_delivered: bool) -> Entry:
    return Entry(
        name=alert.key,
        skipped=not is_delivered,
        counts={"raised": int(is_new), "delivered": int(is_delivered)},
        facts={"severity": alert.severity, "tasks": list(alert.tasks)},
    )
