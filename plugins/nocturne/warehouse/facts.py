"""The small tables beside the datasets: the tenant's own declarations, what bronze and silver counted of batches, how nights went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from nocturne.ledger import Judgements, Marks
from nocturne.postgres import SQL, Connection, Identifier, at_write, connect, exclusion, statement
from nocturne.quality import TableDay, table_days
from nocturne.receipts import Entry
from nocturne.settings import Settings
from nocturne.tenants import Tenant
from nocturne.warehouse.tables import FACTS


def load_facts(tenant: Tenant, day: date, settings: Settings, ledger: Judgements) -> Entry:
    """Bring the tables beside the datasets to what the tenant's file and the ledger say, in one transaction.

    These are `tenant`, `time_zones`, `bills` and `rules`; `reconciliation`; `judged_days` and `watched_models`. What differs is touched: of
    the rules the event dates on which a value differs, of the batches the date they were received on, of judgements their day. How nights
    went is no reason for a build (see `quality.FINDINGS`), so the entry is skipped all the same. The business day never goes back: a
    backfill of an old day changes no number of today's.
    """
    counted = list(_counted(tenant, ledger))
    with connect(settings, role=tenant.owner_role) as connection:
        connection.execute(statement(exclusion(tenant)))
        touched = _load_tenant(connection, tenant, day)
        touched += _load_rules(connection, tenant)
        touched += _load_counted(connection, tenant, counted)
        judged = _load_judged(connection, tenant, ledger)
        _exchange(connection, tenant, "watched_models", list(_watched(tenant, ledger)))
    at_write("committed the declarations")
    return Entry(name="declarations", skipped=not touched, counts={"batches": len(counted), "touched": touched, "judged": judged})


def _load_tenant(connection: Connection, tenant: Tenant, day: date) -> int:
    row = connection.execute(statement(f"SELECT business_day FROM {tenant.raw_schema}.tenant")).fetchone()
    newest = max(day, row[0]) if row else day
    facts = (
        tenant.slug, tenant.name, tenant.currency, tenant.week_start, tenant.fiscal_year_start, tenant.begins_on, tenant.sees_whole_market,
        newest,
    )  # fmt: skip
    ends = [zone.since for zone in tenant.time_zone[1:]] + [None]
    zones = [(zone.since, end, zone.value) for zone, end in zip(tenant.time_zone, ends, strict=True)]
    until = [*(bill.since for bill in tenant.bill[1:]), None]
    bills = [(one.since, end, one.month, one.included_rows, one.million_rows) for one, end in zip(tenant.bill, until, strict=False)]
    changed = [
        row
        for name, rows in (("tenant", [facts]), ("time_zones", zones), ("bills", bills))
        for row in _exchange(connection, tenant, name, rows)
    ]
    return _touch(connection, tenant, "tenant", [newest] if changed else [])


def _load_rules(connection: Connection, tenant: Tenant) -> int:
    before = "CREATE TEMPORARY TABLE rules_before ON COMMIT DROP AS SELECT * FROM"
    connection.execute(statement(f"{before} {tenant.raw_schema}.rules"))
    if not _exchange(connection, tenant, "rules", list(tenant.rules.intervals())):
        return 0
    dates = connection.execute(
        statement(
            f"""
            SELECT DISTINCT loaded.event_on
            FROM (SELECT part::date AS event_on FROM {tenant.raw_schema}._loaded WHERE part <> 'all') AS loaded
            CROSS JOIN (SELECT rule FROM rules_before UNION SELECT rule FROM {tenant.raw_schema}.rules) AS named
            LEFT JOIN rules_before AS old
                ON named.rule = old.rule AND loaded.event_on >= old.valid_from_on
                AND (old.valid_to_on IS NULL OR loaded.event_on < old.valid_to_on)
            LEFT JOIN {tenant.raw_schema}.rules AS new
                ON named.rule = new.rule AND loaded.event_on >= new.valid_from_on
                AND (new.valid_to_on IS NULL OR loaded.event_on < new.valid_to_on)
            WHERE old.value IS DISTINCT FROM new.value
            """
        )
    ).fetchall()
    return _touch(connection, tenant, "rules", [None, *(one for (one,) in dates)])


def _counted(tenant: Tenant, ledger: Marks) -> Iterator[tuple[Any, ...]]:
    """(dataset, batch, received on, delivered, left out, valid, quarantined) of every batch that stands in bronze."""
    for dataset in tenant.datasets:
        refined = ledger.marks(tenant, "quarantine", dataset.name)
        for batch, mark in ledger.marks(tenant, "bronze", dataset.name).items():
            kept = refined[batch].facts if batch in refined else {}
            facts = mark.facts
            yield (
                dataset.name, batch, date.fromisoformat(facts["received_on"]), facts["rows"], facts["left_out"],
                kept.get("valid"), kept.get("quarantined"),
            )  # fmt: skip


def _load_counted(connection: Connection, tenant: Tenant, counted: Sequence[tuple[Any, ...]]) -> int:
    dates = _exchange(connection, tenant, "reconciliation", counted, returning="received_on")
    return _touch(connection, tenant, "reconciliation", sorted({one for (one,) in dates}))


_JUDGED = (
    "layer", "table_name", "passed", "warned", "stopped", "muted", "unknown", "score", "rows", "quarantined", "quarantined_ratio",
)  # fmt: skip


def _load_judged(connection: Connection, tenant: Tenant, ledger: Judgements) -> int:
    """Replace the days of which the ledger tells something else than at the last load; how many differ. Memory holds one day."""
    table = Identifier(tenant.raw_schema, "judged_days")
    loaded: dict[date, str] = dict(connection.execute(SQL("SELECT DISTINCT judged_on, state FROM {}").format(table)).fetchall())
    judged = ledger.judged(tenant)
    columns = SQL(", ").join(map(Identifier, _JUDGED))
    differing: list[date | None] = []
    for day in sorted(day for day in loaded.keys() | judged.keys() if loaded.get(day) != judged.get(day)):
        stood = connection.execute(SQL("SELECT {} FROM {} WHERE judged_on = %s").format(columns, table), (day,)).fetchall()
        rows = [_of_judged(one) for one in table_days(ledger.judgements(tenant, day, day))]
        connection.execute(SQL("DELETE FROM {} WHERE judged_on = %s").format(table), (day,))
        with connection.cursor().copy(SQL("COPY {} ({}, judged_on, state) FROM STDIN").format(table, columns)) as copy:
            for row in rows:
                copy.write_row((*row, day, judged[day]))
        if set(stood) != set(rows):
            differing.append(day)
    return _touch(connection, tenant, "judged_days", differing)


def _of_judged(one: TableDay) -> tuple[Any, ...]:
    """The row of a table and day, as the quality pages put its judgements together."""
    quarantined = one.counts.get("quarantined") if one.layer == "bronze" else None
    return (one.layer, one.table, *one.outcomes.values(), one.score, one.counts.get("rows"), quarantined, one.quarantined_ratio)


_WATCHED = (
    "version", "trained_on", "age_days", "oldest_days", "feature", "index", "index_limit", "metric", "promised", "error", "error_limit",
    "is_due", "reason",
)  # fmt: skip


def _watched(tenant: Tenant, ledger: Marks) -> Iterator[tuple[Any, ...]]:
    """(problem, day, what was said) of all that the tenant's tier gives; without a champion there is but the reason."""
    for problem in sorted(tenant.limits.problems):
        for day, mark in ledger.marks(tenant, "watch", problem).items():
            yield (problem, date.fromisoformat(day), *(mark.facts.get(name) for name in _WATCHED))


def _exchange(
    connection: Connection, tenant: Tenant, name: str, rows: Sequence[tuple[Any, ...]], *, returning: str = "true"
) -> list[tuple[Any, ...]]:
    """Make `rows` all that the table holds; `returning` of each row that came or went."""
    table = next(one for one in FACTS if one.name == name)
    target, fresh = Identifier(tenant.raw_schema, name), Identifier(f"{name}_fresh")
    columns = SQL(", ").join(Identifier(column) for column, _, _ in table.columns)
    connection.execute(SQL("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP").format(fresh, target))
    with connection.cursor().copy(SQL("COPY {} ({}) FROM STDIN").format(fresh, columns)) as copy:
        for row in rows:
            copy.write_row(row)
    told = SQL("SELECT {} FROM ").format(statement(returning))
    went = connection.execute(
        told
        + SQL("(SELECT {0} FROM {1} EXCEPT SELECT {0} FROM {2} UNION ALL (SELECT {0} FROM {2} EXCEPT SELECT {0} FROM {1})) AS d").format(
            columns, target, fresh
        )
    ).fetchall()
    if went:
        connection.execute(SQL("DELETE FROM {}").format(target))
        connection.execute(SQL("INSERT INTO {0} ({1}) SELECT {1} FROM {2}").format(target, columns, fresh))
        at_write(f"replaced {name}")
    return went


def _touch(connection: Connection, tenant: Tenant, dataset: str, dates: Sequence[date | None]) -> int:
    if dates:
        connection.execute(
            SQL(
                "INSERT INTO {} SELECT %s, event_on, clock_timestamp() FROM unnest(%s::date[]) AS event_on"
                " ON CONFLICT (dataset, event_on) DO UPDATE SET touched_at = excluded.touched_at"
            ).format(Identifier(tenant.raw_schema, "_touched")),
            (dataset, list(dates)),
        )
        at_write(f"touched {dataset}")
    return len(dates)
