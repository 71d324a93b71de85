"""Prediction: each champion's answers to what stands in the marts tonight.

Reads the published marts and the exported champions with numpy alone: no MLflow, no scikit-learn, not even the library that grew the trees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any, Final

from ml.drift import Drift, measure
from ml.problem import Problem, Rows, Table, TooLittle, digest, open_marts, problems_of
from ml.registry import Champion, read_champion
from nocturne.ledger import Mark, Marks, utc_now
from nocturne.postgres import SQL, Connection, Identifier, connect, statement
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

STATION: Final = "prediction"

at_write: Callable[[str], None] = lambda _what: None  # noqa: E731
"""Called with what was done at every boundary of a write. A test that kills the process at each of them puts itself here."""


def predict(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Write each champion's answers of `day` to the tenant's tables of predictions.

    Reads `<slug>_marts` and `var/models`; replaces the rows of `day` in `<slug>_ml` in one transaction a problem, then marks the day with
    the drift that it saw. A problem without a champion, or without enough to answer with, is passed over with the reason. A re-run over
    the same features with the same champion is skipped.
    """
    started = utc_now()
    entries = tuple(_answer(problem, tenant, day, settings, ledger) for problem in problems_of(tenant))
    return Receipt(tenant=tenant.slug, day=day, station="predict", started_at=started, finished_at=utc_now(), entries=entries)


def _answer(problem: Problem, tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Entry:
    champion = read_champion(tenant, problem.name, settings)
    if champion is None:
        return Entry(name=problem.name, skipped=True, facts={"reason": _why_none(problem, tenant, ledger)})
    judged = _judgement(champion)
    try:
        with open_marts(tenant, settings) as marts:
            rows = problem.today(marts, day)
        x = rows.select(champion.features)
    except TooLittle as reason:
        return Entry(name=problem.name, skipped=True, facts={"reason": str(reason), **judged})
    fingerprint = digest(champion.version, problem.code, x, *(rows.keys[name] for name in sorted(rows.keys)))
    before = ledger.marks(tenant, STATION, problem.name).get(day.isoformat())
    if before is not None and before.fingerprint == fingerprint:
        return Entry(
            name=problem.name, fingerprint=fingerprint, skipped=True, facts={"reason": "nothing has changed", **before.facts, **judged}
        )
    answers = problem.results(rows, champion.trees.predict(x), champion.settled, day, champion.version)
    count = _write(problem.table, answers, tenant, day, settings)
    at_write("committed the rows")
    facts = {"version": champion.version, "drift": _drift(rows, champion)}
    ledger.mark(tenant, STATION, problem.name, {day.isoformat(): Mark(fingerprint, facts)})
    return Entry(name=problem.name, fingerprint=fingerprint, counts={"answered": len(x), "written": count}, facts={**facts, **judged})


def _judgement(champion: Champion) -> dict[str, Any]:
    """What the champion was judged by, for people."""
    metric, baseline = champion.metadata["metric"], champion.metadata["baseline"]
    return {"version": champion.version, "metric": metric["name"], "value": metric["value"], "baseline": baseline["value"]}


def _why_none(problem: Problem, tenant: Tenant, ledger: Marks) -> str:
    last = ledger.marks(tenant, "training", problem.name).get("last")
    return f"no champion: {last.facts['reason']}" if last else "there is no champion yet"


def _drift(rows: Rows, champion: Champion) -> dict[str, Any] | None:
    x = rows.x if rows.recent is None else rows.recent
    drift: Drift | None = measure(champion.reference, rows.features, x)
    return None if drift is None else {"feature": drift.feature, "index": drift.index, "rows": drift.rows}


def _write(table: Table, rows: Iterable[tuple[Any, ...]], tenant: Tenant, day: date, settings: Settings) -> int:
    """Replace the table's rows of `day`, as the tenant's own role; the number of rows that stand for it then."""
    name = Identifier(tenant.ml_schema, table.name)
    columns = SQL(", ").join(Identifier(column) for column, _ in table.columns)
    with connect(settings, role=tenant.owner_role) as connection:
        _make(connection, table, tenant)
        connection.execute(SQL("DELETE FROM {} WHERE {} = %s").format(name, Identifier(table.day)), (day,))
        with connection.cursor().copy(SQL("COPY {} ({}) FROM STDIN").format(name, columns)) as copy:
            for row in rows:
                copy.write_row(row)
        at_write("copied the rows")
        if table.only_changes:
            connection.execute(_forget_repeats(table, tenant), {"day": day})
        counted = connection.execute(SQL("SELECT count(*) FROM {} WHERE {} = %s").format(name, Identifier(table.day)), (day,)).fetchone()
    return int(counted[0]) if counted else 0


def _make(connection: Connection, table: Table, tenant: Tenant) -> None:
    # CREATE TABLE IF NOT EXISTS is not safe against itself, and a backfill may predict beside the night.
    connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"{tenant.ml_schema}.{table.name}",))
    connection.execute(
        SQL("CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY ({}))").format(
            Identifier(tenant.ml_schema, table.name),
            SQL(", ").join(SQL("{} {} NOT NULL").format(Identifier(name), statement(kind)) for name, kind in table.columns),
            SQL(", ").join(Identifier(column) for column in (table.day, *table.key)),
        )
    )


def _forget_repeats(table: Table, tenant: Tenant) -> Any:
    """Remove the day's rows that say what the newest earlier row of their key says."""
    said = [column for column, _ in table.columns if column != table.day]
    return SQL(
        "DELETE FROM {table} AS now USING ("
        "SELECT DISTINCT ON ({key}) {said} FROM {table} WHERE {day} < %(day)s ORDER BY {key}, {day} DESC"
        ") AS before WHERE now.{day} = %(day)s AND {same}"
    ).format(
        table=Identifier(tenant.ml_schema, table.name),
        key=SQL(", ").join(Identifier(column) for column in table.key),
        said=SQL(", ").join(Identifier(column) for column in said),
        day=Identifier(table.day),
        same=SQL(" AND ").join(SQL("now.{0} = before.{0}").format(Identifier(column)) for column in said),
    )
