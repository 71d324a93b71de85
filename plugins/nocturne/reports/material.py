"""What a report is made of, read once: published marts, predictions, insights and the night's receipts.

All queries of a report run as the tenant's own role in one read-only transaction on one snapshot: every page speaks of the same publish.
Nothing of a single listener is read: counts alone, and groups of fewer than 5 listeners are not told apart.
A mart that is not there is a subject that the report does not have; a mart that lacks a column is left out with a warning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from nocturne.ledger import Marks, Recorded
from nocturne.postgres import Connection, connect, statement
from nocturne.quality import Judgement, TableDay, table_days
from nocturne.reports.queries import BEFORE, QUERIES, Query
from nocturne.settings import Settings
from nocturne.tenants import Tenant

Row = Mapping[str, Any]
Rows = tuple[Row, ...]

QUALITY_DAYS: Final = 28
SMALLEST_GROUP: Final = 5
_LATER: Final = frozenset({"render_reports", "raise_alerts", "watch_models"})


class Book(Marks, Protocol):
    """What a report needs of the ledger."""

    def receipts(self, tenant: str, day: date, *, run_id: str | None = None) -> dict[str, Recorded]:
        """The latest receipt of each station."""

    def judgements(self, tenant: Tenant, since: date, until: date) -> list[Judgement]:
        """What gates found on the days from `since` to `until`."""


@dataclass(frozen=True)
class Outcome:
    """What the ledger says of a station's last run for the day."""

    station: str
    outcome: str
    error: str | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Material:
    """Everything that a report of `day` says. `subjects` holds those that the tenant has; `marts_day` is the newest day that the published
    marts speak of.
    """

    day: date
    time_zone: str
    subjects: Mapping[str, Rows]
    outcomes: tuple[Outcome, ...] = ()
    reasons: Rows = ()
    quality: tuple[TableDay, ...] = ()
    warnings: tuple[str, ...] = ()
    marts_day: date | None = None

    def rows(self, subject: str) -> Rows:
        """The rows of a subject; none if the tenant has none."""
        return self.subjects.get(subject, ())

    def has(self, *subjects: str) -> bool:
        """Whether all of `subjects` have rows."""
        return all(self.rows(subject) for subject in subjects)

    @property
    def is_current(self) -> bool:
        """Whether the published marts hold the day."""
        return self.marts_day is not None and self.marts_day >= self.day


def read(tenant: Tenant, day: date, settings: Settings, ledger: Book) -> Material:
    """Everything a report of `day` is made of. Reads published marts, predictions and the ledger; writes nothing.

    Raises DatabaseUnavailable.
    """
    parameters: dict[str, Any] = {"day": day, "zone": str(zone(tenant, day))} | {f"d{days}": day - timedelta(days=days) for days in BEFORE}
    subjects: dict[str, Rows] = {}
    warnings: list[str] = []
    with connect(settings, role=tenant.owner_role) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        there = _columns(connection, tenant)
        for query in QUERIES:
            if not set(query.needs) <= set(there):
                continue  # the tenant does not have it
            if lacking := _lacking(query, there):
                warnings.append(f"{query.subject} is left out of the report: {', '.join(lacking)}")
            else:
                subjects[query.subject] = _rows(connection, tenant, query, parameters)
        newest = _newest(connection, tenant, there, subjects)
    subjects["champions"] = _champions(tenant, day, ledger)
    outcomes = _outcomes(ledger.receipts(tenant.slug, day))
    reasons = _reasons(tenant, day, ledger, subjects.get("reconciliation"))
    quality = table_days(ledger.judgements(tenant, day - timedelta(days=QUALITY_DAYS - 1), day))
    return Material(day, parameters["zone"], subjects, outcomes, reasons, tuple(quality), tuple(warnings), newest)


def zone(tenant: Tenant, day: date) -> ZoneInfo:
    """The tenant's time zone at the end of `day`."""
    return tenant.zone_at(datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC))


def _columns(connection: Connection, tenant: Tenant) -> dict[str, frozenset[str]]:
    """The columns of every published mart (by its name) and table of predictions (`ml.` before its name)."""
    rows = connection.execute(
        "SELECT tables.nspname, relations.relname, array_agg(columns.attname::text)"
        " FROM pg_class AS relations JOIN pg_namespace AS tables ON tables.oid = relations.relnamespace"
        " JOIN pg_attribute AS columns ON columns.attrelid = relations.oid AND columns.attnum > 0 AND NOT columns.attisdropped"
        " WHERE tables.nspname = ANY(%s) AND relations.relkind IN ('r', 'p', 'v', 'm') GROUP BY 1, 2",
        ([tenant.marts_schema, tenant.ml_schema],),
    ).fetchall()
    return {f"ml.{name}" if schema == tenant.ml_schema else name: frozenset(columns) for schema, name, columns in rows}


def _newest(connection: Connection, tenant: Tenant, there: Mapping[str, frozenset[str]], subjects: Mapping[str, Rows]) -> date | None:
    """The newest day that the published marts speak of: every day up to the business day of their build has its activity.

    A rollback goes back to the day of the publish that it restores; what was published before it and undone says nothing any more.
    """
    days: list[date | None] = [row["played_on"] for row in subjects.get("activity", ())[-1:]]
    if "_publishes" in there:
        told = f'"{tenant.marts_schema}"._publishes'
        since = f"WHERE publish_id >= (SELECT coalesce(max(publish_id) FILTER (WHERE kind = 'rollback'), 0) FROM {told})"
        query = statement(f"SELECT max(day) FROM {told} {since if 'kind' in there['_publishes'] else ''}")
        days += [row[0] for row in connection.execute(query).fetchall()]
    return max((day for day in days if day is not None), default=None)


def _lacking(query: Query, there: Mapping[str, frozenset[str]]) -> list[str]:
    """The columns that the query takes and its tables do not have."""
    return [
        f"{table} has no {column}" for table, columns in query.needs.items() for column in columns.split() if column not in there[table]
    ]


def _rows(connection: Connection, tenant: Tenant, query: Query, parameters: Mapping[str, Any]) -> Rows:
    cursor = connection.execute(statement(query.text.format(marts=f'"{tenant.marts_schema}"', ml=f'"{tenant.ml_schema}"')), parameters)
    names = [column.name for column in cursor.description or ()]
    return tuple(dict(zip(names, row, strict=True)) for row in cursor.fetchall())


def _outcomes(receipts: Mapping[str, Recorded]) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(station, found.outcome, found.error, found.receipt.warnings)
        for station, found in sorted(receipts.items(), key=lambda item: (item[1].receipt.started_at, item[0]))
        if station not in _LATER
    )


def _champions(tenant: Tenant, day: date, ledger: Marks) -> Rows:
    """The model of each problem that answered last, up to `day`, with the drift that it saw then."""
    rows = []
    for problem in sorted(tenant.limits.problems):
        answers = {part: mark for part, mark in ledger.marks(tenant, "prediction", problem).items() if part <= day.isoformat()}
        if answers:
            facts = answers[last := max(answers)].facts
            drift = facts.get("drift") or {}
            rows.append(
                {
                    "problem": problem,
                    "version": facts.get("version"),
                    "answered_on": date.fromisoformat(last),
                    "feature": drift.get("feature"),
                    "drift_index": drift.get("index"),
                }
            )
    return tuple(rows)


def _reasons(tenant: Tenant, day: date, ledger: Marks, reconciliation: Rows | None) -> Rows:
    """Why rows of the last seven days' deliveries were quarantined: dataset, reason, rows; the ledger is asked only where some were."""
    week = day - timedelta(days=7)
    if reconciliation is None:
        suspects = [dataset.name for dataset in tenant.datasets]
    else:
        suspects = sorted({str(row["dataset"]) for row in reconciliation if row["quarantined_count"] and row["received_on"] > week})
    counts: Counter[tuple[str, str]] = Counter()
    for dataset in suspects:
        for batch, mark in ledger.marks(tenant, "quarantine", dataset).items():
            if week < _received(batch) <= day:
                counts.update({(dataset, str(reason)): int(rows) for reason, rows in dict(mark.facts.get("reasons", {})).items()})
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple({"dataset": dataset, "reason": reason, "rows": rows} for (dataset, reason), rows in ordered)


def _received(batch: str) -> date:
    """The day in a batch's id, which ends with it."""
    try:
        return date.fromisoformat(batch[-10:])
    except ValueError:
        return date.min
