"""The ledger: what happened (receipts), what stands (marks), what gates found (judgements), who is at work (leases), who was told (alerts).

It stands in PostgreSQL.

A *mark* says which input a station has worked in: (tenant, station, dataset, part) -> fingerprint, where the part is a batch, an event
date or whatever the station replaces at once. A station does what its marks do not yet say, so a touch is never lost however often
a night is killed, and a mark is written after the data that it speaks of.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

from nocturne.errors import DatabaseUnavailable, LeaseHeld, LeaseLost
from nocturne.postgres import connect, uri
from nocturne.quality import Judgement
from nocturne.receipts import Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant


@dataclass(frozen=True)
class Mark:
    """The input that was worked in, and small facts about what came of it (row counts, versions)."""

    fingerprint: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Marks(Protocol):
    """What stations need of the ledger."""

    def marks(self, tenant: Tenant, station: str, dataset: str) -> dict[str, Mark]:
        """All marks of a station and dataset, by part."""

    def mark(self, tenant: Tenant, station: str, dataset: str, marks: Mapping[str, Mark]) -> None:
        """Write these marks over any earlier ones of the same parts."""

    def unmark(self, tenant: Tenant, station: str, dataset: str, parts: Iterable[str]) -> None:
        """Forget these parts."""

    def judge(self, tenant: Tenant, judgements: Iterable[Judgement]) -> None:
        """Keep these judgements over any earlier ones of the same parts."""


class Judgements(Marks, Protocol):
    """What stations need of the ledger that look back at what gates found."""

    def judgements(self, tenant: Tenant, since: date, until: date) -> list[Judgement]:
        """What gates found on the days from `since` to `until`; of a batch that silver has taken, with the rows that it quarantined."""

    def judged(self, tenant: Tenant) -> dict[date, str]:
        """Every day that was judged -> a text that is another when anything found on it, or quarantined of it, was written since."""


class MemoryMarks:
    """Marks that live as long as the process: for tests of stations without PostgreSQL."""

    def __init__(self) -> None:
        self._marks: dict[tuple[str, str, str], dict[str, Mark]] = {}
        self._judgements: dict[tuple[str, date, str, str, str], Judgement] = {}

    def marks(self, tenant: Tenant, station: str, dataset: str) -> dict[str, Mark]:
        """All marks of a station and dataset, by part."""
        return dict(self._marks.get((tenant.slug, station, dataset), {}))

    def mark(self, tenant: Tenant, station: str, dataset: str, marks: Mapping[str, Mark]) -> None:
        """Write these marks."""
        self._marks.setdefault((tenant.slug, station, dataset), {}).update(marks)

    def unmark(self, tenant: Tenant, station: str, dataset: str, parts: Iterable[str]) -> None:
        """Forget these parts."""
        for part in list(parts):
            self._marks.get((tenant.slug, station, dataset), {}).pop(part, None)

    def judge(self, tenant: Tenant, judgements: Iterable[Judgement]) -> None:
        """Keep these judgements."""
        self._judgements |= {(tenant.slug, one.day, one.layer, one.table, one.part): one for one in judgements}

    def judgements(self, tenant: Tenant, since: date, until: date) -> list[Judgement]:
        """Those of the days from `since` to `until`; of a batch that silver has taken, with the rows that it quarantined."""
        kept = [one for key, one in sorted(self._judgements.items()) if key[0] == tenant.slug and since <= one.day <= until]
        return [self._with_quarantined(tenant, one) for one in kept]

    def judged(self, tenant: Tenant) -> dict[date, str]:
        """Every day that was judged, and what was found on it, as text."""
        found: dict[date, list[Judgement]] = {}
        for one in self.judgements(tenant, date.min, date.max):
            found.setdefault(one.day, []).append(one)
        return {day: hashlib.sha256(repr(judgements).encode()).hexdigest() for day, judgements in found.items()}

    def _with_quarantined(self, tenant: Tenant, one: Judgement) -> Judgement:
        mark = self._marks.get((tenant.slug, "quarantine", one.table), {}).get(one.part) if one.layer == "bronze" else None
        return replace(one, counts={**one.counts, "quarantined": mark.facts["quarantined"]}) if mark else one


@dataclass(frozen=True)
class Recorded:
    """A receipt as it stands in the ledger."""

    receipt: Receipt
    run_id: str
    outcome: str
    error: str | None
    cpu_seconds: float | None


class Ledger:
    """The ledger of one installation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    # marks ---------------------------------------------------------------------------------------------------------------
    def marks(self, tenant: Tenant, station: str, dataset: str) -> dict[str, Mark]:
        """All marks of a station and dataset, by part."""
        with connect(self.settings) as connection:
            rows = connection.execute(
                "SELECT part, fingerprint, facts FROM nocturne.marks WHERE tenant = %s AND station = %s AND dataset = %s",
                (tenant.slug, station, dataset),
            ).fetchall()
        return {part: Mark(fingerprint, facts) for part, fingerprint, facts in rows}

    def mark(self, tenant: Tenant, station: str, dataset: str, marks: Mapping[str, Mark]) -> None:
        """Write these marks over any earlier ones of the same parts, in one transaction."""
        if not marks:
            return
        with connect(self.settings) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO nocturne.marks (tenant, station, dataset, part, fingerprint, facts) VALUES (%s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (tenant, station, dataset, part) DO UPDATE"
                " SET fingerprint = excluded.fingerprint, facts = excluded.facts, marked_at = now()",
                [
                    (tenant.slug, station, dataset, part, mark.fingerprint, json.dumps(dict(mark.facts)))
                    for part, mark in sorted(marks.items())
                ],
            )

    def unmark(self, tenant: Tenant, station: str, dataset: str, parts: Iterable[str]) -> None:
        """Forget these parts."""
        with connect(self.settings) as connection:
            connection.execute(
                "DELETE FROM nocturne.marks WHERE tenant = %s AND station = %s AND dataset = %s AND part = ANY(%s)",
                (tenant.slug, station, dataset, list(parts)),
            )

    # judgements ----------------------------------------------------------------------------------------------------------
    def judge(self, tenant: Tenant, judgements: Iterable[Judgement]) -> None:
        """Keep these judgements over any earlier ones of the same parts, in one transaction."""
        rows = [
            (tenant.slug, one.layer, one.table, one.day, one.part, one.score, json.dumps(dict(one.counts)), json.dumps(one.facts))
            for one in sorted(judgements, key=lambda one: (one.day, one.layer, one.table, one.part))
        ]
        if not rows:
            return
        with connect(self.settings) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO nocturne.judgements (tenant, layer, table_name, day, part, score, counts, facts)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (tenant, day, layer, table_name, part) DO UPDATE"
                " SET score = excluded.score, counts = excluded.counts, facts = excluded.facts, judged_at = now()",
                rows,
            )

    def judgements(self, tenant: Tenant, since: date, until: date) -> list[Judgement]:
        """Those of the days from `since` to `until`, by day, layer, table and part; of a batch that silver has taken, with the rows that it
        quarantined.
        """
        with connect(self.settings) as connection:
            rows = connection.execute(
                "SELECT judged.layer, judged.table_name, judged.day, judged.part,"
                " judged.counts || CASE WHEN refined.facts IS NULL THEN '{}'"
                " ELSE jsonb_build_object('quarantined', refined.facts -> 'quarantined') END, judged.facts"
                " FROM nocturne.judgements AS judged LEFT JOIN nocturne.marks AS refined ON refined.tenant = judged.tenant"
                " AND refined.station = 'quarantine' AND refined.dataset = judged.table_name AND refined.part = judged.part"
                " AND judged.layer = 'bronze' AND refined.facts ? 'quarantined'"
                " WHERE judged.tenant = %s AND judged.day BETWEEN %s AND %s"
                " ORDER BY judged.day, judged.layer, judged.table_name, judged.part",
                (tenant.slug, since, until),
            ).fetchall()
        return [Judgement.of(*row) for row in rows]

    def judged(self, tenant: Tenant) -> dict[date, str]:
        """Every day that was judged, and when what is known of it was written last: reads no results."""
        with connect(self.settings) as connection:
            rows = connection.execute(
                "SELECT judged.day, max(extract(epoch FROM greatest(judged.judged_at, refined.marked_at)))::text"
                " || '/' || count(*) || '/' || count(refined.marked_at)"
                " FROM nocturne.judgements AS judged LEFT JOIN nocturne.marks AS refined ON refined.tenant = judged.tenant"
                " AND refined.station = 'quarantine' AND refined.dataset = judged.table_name AND refined.part = judged.part"
                " AND judged.layer = 'bronze' WHERE judged.tenant = %s GROUP BY judged.day",
                (tenant.slug,),
            ).fetchall()
        return dict(rows)

    # receipts ------------------------------------------------------------------------------------------------------------
    def record(self, receipt: Receipt, *, run_id: str, error: str | None = None, cpu_seconds: float | None = None) -> None:
        """Keep a receipt; with `error`, the receipt of a station that failed."""
        with connect(self.settings) as connection:
            connection.execute(
                "INSERT INTO nocturne.receipts"
                " (tenant, day, station, run_id, outcome, error, started_at, finished_at, cpu_seconds, receipt)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    receipt.tenant, receipt.day, receipt.station, run_id, "failed" if error else "done", error,
                    receipt.started_at, receipt.finished_at, cpu_seconds, receipt.model_dump_json(),
                ),
            )  # fmt: skip

    def receipts(self, tenant: str, day: date, *, run_id: str | None = None) -> dict[str, Recorded]:
        """The latest receipt of each station for a tenant and day (of one run, if it is named)."""
        with connect(self.settings) as connection:
            rows = connection.execute(
                "SELECT DISTINCT ON (station) station, receipt, run_id, outcome, error, cpu_seconds FROM nocturne.receipts"
                " WHERE tenant = %s AND day = %s AND (%s::text IS NULL OR run_id = %s) ORDER BY station, receipt_id DESC",
                (tenant, day, run_id, run_id),
            ).fetchall()
        return {
            station: Recorded(Receipt.model_validate(receipt), run, outcome, error, cpu)
            for station, receipt, run, outcome, error, cpu in rows
        }

    # alerts --------------------------------------------------------------------------------------------------------------
    def raise_alert(self, tenant: str, day: date, alert: str, *, severity: str, message: str) -> bool:
        """Keep an alert; True if it is new for this tenant and day, False if it was raised before (then only counted)."""
        with connect(self.settings) as connection:
            row = connection.execute(
                "INSERT INTO nocturne.alerts (tenant, day, alert, severity, message) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT (tenant, day, alert) DO UPDATE SET last_raised_at = now(), times = nocturne.alerts.times + 1,"
                " severity = excluded.severity, message = excluded.message RETURNING times",
                (tenant, day, alert, severity, message),
            ).fetchone()
        return row is not None and row[0] == 1

    # leases --------------------------------------------------------------------------------------------------------------
    @contextmanager
    def holding(self, tenant: Tenant, owner: str, *, wait_seconds: float = 600) -> Iterator[None]:
        """Hold the tenant's lease as `owner` while the block runs, with a heartbeat; the lease stays with `owner` afterwards, until
        `release` or until its heartbeat is older than `lease_seconds`. Waits `wait_seconds` for another owner, then raises LeaseHeld;
        raises LeaseLost at the end of the block if another owner took it over meanwhile.
        """
        deadline = time.monotonic() + wait_seconds
        while (holder := self._take(tenant, owner)) != owner:
            if time.monotonic() >= deadline:
                raise LeaseHeld(
                    f"{holder} is changing this tenant, and still was after {wait_seconds:.0f} s.",
                    next_step="Nothing: the task is tried again by itself when that run has finished.",
                    tenant=tenant.slug,
                )
            time.sleep(min(1.0, max(0.05, wait_seconds / 10)))
        ended = threading.Event()
        lost = threading.Event()
        beat = threading.Thread(target=self._beat, args=(tenant, owner, ended, lost), daemon=True, name="lease")
        beat.start()
        try:
            yield
        finally:
            ended.set()
            beat.join()
        if lost.is_set():
            raise LeaseLost(
                "The lease was taken over while we worked.",
                next_step="Run the task again: it does what is left.",
                tenant=tenant.slug,
            )

    def release(self, tenant: Tenant, owner: str) -> None:
        """Give the lease back, if `owner` has it."""
        with connect(self.settings) as connection:
            connection.execute("DELETE FROM nocturne.leases WHERE tenant = %s AND owner = %s", (tenant.slug, owner))

    def _take(self, tenant: Tenant, owner: str) -> str:
        with connect(self.settings) as connection:
            connection.execute(
                "INSERT INTO nocturne.leases (tenant, owner) VALUES (%s, %s) ON CONFLICT (tenant) DO UPDATE"
                " SET owner = excluded.owner, taken_at = now(), heartbeat_at = now()"
                " WHERE nocturne.leases.owner = excluded.owner OR nocturne.leases.heartbeat_at < now() - make_interval(secs => %s)",
                (tenant.slug, owner, self.settings.lease_seconds),
            )
            row = connection.execute("SELECT owner FROM nocturne.leases WHERE tenant = %s", (tenant.slug,)).fetchone()
        return str(row[0]) if row else ""

    def _beat(self, tenant: Tenant, owner: str, ended: threading.Event, lost: threading.Event) -> None:
        while not ended.wait(self.settings.lease_seconds / 6):
            try:
                row = self._heartbeat(tenant, owner)
            except DatabaseUnavailable:
                continue  # the work itself fails on it, or it is back before the lease runs out
            if row is None:
                lost.set()
                return

    def _heartbeat(self, tenant: Tenant, owner: str) -> tuple[Any, ...] | None:
        with connect(self.settings) as connection:
            return connection.execute(
                "UPDATE nocturne.leases SET heartbeat_at = now() WHERE tenant = %s AND owner = %s RETURNING 1", (tenant.slug, owner)
            ).fetchone()


def migrate(settings: Settings) -> None:
    """Bring the ledger's tables to the newest form. Run again, it changes nothing; two at once wait for each other."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, text

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = create_engine(uri(settings, scheme="postgresql+psycopg"))
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('nocturne.migrate'))"))
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS nocturne"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def utc_now() -> datetime:
    """This instant, for receipts."""
    return datetime.now().astimezone()
