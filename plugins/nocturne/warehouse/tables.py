"""The warehouse's tables: made from the declarations of the datasets, and brought forward when these change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nocturne.datasets import Dataset
from nocturne.postgres import SQL, Composable, Connection, Identifier, Literal, connect, exclusion, statement
from nocturne.settings import Settings
from nocturne.tenants import Tenant

_TYPE_NAMES = {"timestamptz": "timestamp with time zone"}
"""What PostgreSQL calls the types that it knows by two names."""


@dataclass(frozen=True)
class Warehoused:
    """One table as it must stand: columns are (name, PostgreSQL type, description)."""

    name: str
    description: str
    columns: tuple[tuple[str, str, str], ...]
    unique: tuple[str, ...] = ()
    index: tuple[str, ...] = ()


FACTS = (
    Warehoused(
        "tenant",
        "The tenant itself, as its file declares it: one row.",
        (
            ("slug", "text", "Its slug."),
            ("name", "text", "Its name as people write it."),
            ("currency", "text", "ISO 4217 code of the currency that its money is shown in."),
            ("week_start", "text", "monday or sunday: the first day of its weeks."),
            ("fiscal_year_start", "integer", "Month in which its fiscal year starts."),
            ("begins_on", "date", "First day of deliveries."),
            ("sees_whole_market", "boolean", "It sees everybody's streams, so that a market share can be said."),
            ("business_day", "date", "The newest business day that was loaded."),
        ),
        unique=("slug",),
    ),
    Warehoused(
        "time_zones",
        "The tenant's time zone, by the UTC instant from which it holds.",
        (
            ("valid_from_at", "timestamptz", "First instant (inclusive)."),
            ("valid_to_at", "timestamptz", "First instant at which it no longer holds (exclusive); NULL: still valid."),
            ("time_zone", "text", "IANA name."),
        ),
        unique=("valid_from_at",),
    ),
    Warehoused(
        "rules",
        "The parameters of the metric definitions, each with the days on which its value holds.",
        (
            ("rule", "text", "The parameter."),
            ("valid_from_on", "date", "First day (inclusive)."),
            ("valid_to_on", "date", "First day on which it no longer holds (exclusive); NULL: still valid."),
            ("value", "text", "Its value."),
        ),
        unique=("rule", "valid_from_on"),
    ),
    Warehoused(
        "bills",
        "What a month costs the tenant, by the months in which it holds.",
        (
            ("valid_from_on", "date", "First month's first day (inclusive)."),
            ("valid_to_on", "date", "First day on which it no longer holds (exclusive); NULL: still valid."),
            ("month_amount", "numeric(18,2)", "The month itself, in the tenant's currency."),
            ("included_rows", "bigint", "Rows received that the month pays for."),
            ("million_rows_amount", "numeric(18,2)", "Each million rows beyond."),
        ),
        unique=("valid_from_on",),
    ),
    Warehoused(
        "reconciliation",
        "What became of the rows of every batch.",
        (
            ("dataset", "text", "The dataset."),
            ("batch", "text", "The batch, `<source>/<received on>`."),
            ("received_on", "date", "Business day on which we got it."),
            ("delivered", "bigint", "Rows in the delivered files."),
            ("left_out", "bigint", "Rows that the source's `where` leaves out."),
            ("valid", "bigint", "Rows that silver took; NULL: the batch has not passed its gate."),
            ("quarantined", "bigint", "Rows in quarantine; NULL: the batch has not passed its gate."),
        ),
        unique=("dataset", "batch"),
    ),
    Warehoused(
        "judged_days",
        "What gates found of every table and day, as the ledger told it at the last load: the judgements of a day put together.",
        (
            ("layer", "text", "bronze: deliveries; sums: a dataset's sums; access: who may reach the rows; marts: what a night built."),
            ("table_name", "text", "The dataset or mart; of access, schemas."),
            ("judged_on", "date", "The day that is judged: of deliveries that of receipt, else the business day."),
            ("passed", "bigint", "Checks that passed."),
            ("warned", "bigint", "Checks that failed and warn."),
            ("stopped", "bigint", "Checks that failed and stop the night."),
            ("muted", "bigint", "Checks that failed, and count for nothing until a day."),
            ("unknown", "bigint", "Checks that could not be asked."),
            ("score", "double precision", "Share of the checks passed, weighted by severity; NULL: none passed or failed."),
            ("rows", "bigint", "Rows that were delivered or asked; NULL: none are told."),
            ("quarantined", "bigint", "Of deliveries, rows in quarantine; NULL: silver has not taken all of them."),
            ("quarantined_ratio", "double precision", "quarantined / rows."),
            ("state", "text", "What the ledger said of the day as a whole when it was loaded: another text is a reason to read it again."),
        ),
        unique=("layer", "table_name", "judged_on"),
        index=("judged_on",),
    ),
    Warehoused(
        "watched_models",
        "What the watch over the tenant's models said of each problem and day.",
        (
            ("problem", "text", "The problem."),
            ("watched_on", "date", "The business day."),
            ("version", "text", "The champion's version; NULL: there was none, and so nothing else but the reason."),
            ("trained_on", "date", "Business day on which it was trained."),
            ("age_days", "bigint", "Days since then."),
            ("oldest_days", "bigint", "Age from which on it is too old."),
            ("drift_feature", "text", "The feature that has moved most; NULL: it has not answered yet, or too few to tell."),
            ("drift_index", "double precision", "Its population stability index against the champion's training window."),
            ("drift_limit", "double precision", "The greatest index that asks for no training."),
            ("metric", "text", "The metric that it was promoted by."),
            ("promised", "double precision", "The metric that it was promoted with."),
            ("error", "double precision", "The metric of the last final days; NULL: its answers meet no outcome, or too few yet."),
            ("error_limit", "double precision", "The greatest error that asks for no training; NULL: none is known."),
            ("is_due", "boolean", "A training was asked for."),
            ("reason", "text", "Why, or why not."),
        ),
        unique=("problem", "watched_on"),
    ),
    Warehoused(
        "silver_rows",
        "What silver counted of every event date that is loaded.",
        (
            ("dataset", "text", "The dataset."),
            ("event_on", "date", "The event date; NULL for a reference dataset."),
            ("rows", "bigint", "Rows that silver holds."),
            ("duplicates", "bigint", "Valid rows that gave way to another row of the same key."),
        ),
        unique=("dataset", "event_on"),
    ),
    Warehoused(
        "_loaded",
        "Which state of which part (event date, or `all`) stands in the warehouse.",
        (
            ("dataset", "text", "The dataset."),
            ("part", "text", "Event date (ISO), or `all` for a reference dataset."),
            ("fingerprint", "text", "Fingerprint of silver's mark and of the table's columns."),
            ("files", "text", "JSON: silver's data files that it was loaded from; the next load compares them with those of then."),
        ),
        unique=("dataset", "part"),
    ),
    Warehoused(
        "_touched",
        "Event dates whose rows differ from those that the published marts were made of.",
        (
            ("dataset", "text", "The dataset, or the table of declarations, that changed."),
            ("event_on", "date", "The event date; NULL: not bound to a date."),
            ("touched_at", "timestamptz", "When the change was loaded."),
        ),
        unique=("dataset", "event_on"),
    ),
    Warehoused(
        "_touched_listeners",
        "Listeners of touched event dates whose own rows differ.",
        (
            ("dataset", "text", "The dataset."),
            ("event_on", "date", "The event date."),
            ("listener_key", "text", "The listener."),
            ("touched_at", "timestamptz", "When the change was loaded."),
        ),
        unique=("dataset", "event_on", "listener_key"),
    ),
    Warehoused(
        "_touched_rows",
        "Rows of reference datasets that came, went or changed: as they were, and as they are.",
        (
            ("dataset", "text", "The dataset."),
            ("row", "jsonb", "The row."),
            ("touched_at", "timestamptz", "When the change was loaded."),
        ),
        index=("dataset",),
    ),
)
"""The tables that every tenant has, whatever its datasets."""


def table_of(dataset: Dataset) -> Warehoused:
    """The table of a dataset; events are found by their date, and by listener within it."""
    by_listener = ("listener_key",) if any(name == "listener_key" for name, _, _ in dataset.postgres_columns) else ()
    return Warehoused(
        dataset.name,
        dataset.description,
        dataset.postgres_columns,
        index=(dataset.event_date, *by_listener) if dataset.event_date else (),
    )


def prepare_tables(tenant: Tenant, settings: Settings) -> None:
    """Make the tenant's tables, add the columns that a newer declaration has, also those of another type, and comment on each.

    Reads the catalogue once; a table that is as declared is left alone. A column that is no longer declared stays, empty from then on.
    """
    with connect(settings, role=tenant.owner_role) as connection:
        connection.execute(statement(exclusion(tenant)))
        there = _columns(connection, tenant.raw_schema)
        for table in (*FACTS, *(table_of(dataset) for dataset in tenant.datasets)):
            for change in _changes(table, there.get(table.name), tenant.raw_schema):
                connection.execute(change)


def _columns(connection: Connection, schema: str) -> dict[str, dict[str, tuple[str, str | None]]]:
    """Table -> column -> (type, comment), of a schema; under the column "" the table's own comment."""
    rows = connection.execute(
        "SELECT c.relname, coalesce(a.attname, ''), coalesce(a.kind, ''),"
        " CASE WHEN a.attnum IS NULL THEN obj_description(c.oid, 'pg_class')"
        " ELSE col_description(c.oid, a.attnum) END FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN LATERAL (SELECT attname, attnum, format_type(atttypid, atttypmod) AS kind FROM pg_attribute"
        " WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped"
        " UNION ALL SELECT NULL, NULL, NULL) a ON true WHERE n.nspname = %s AND c.relkind = 'r'",
        (schema,),
    ).fetchall()
    found: dict[str, dict[str, tuple[str, str | None]]] = {}
    for table, column, kind, comment in rows:
        found.setdefault(table, {})[column] = kind, comment
    return found


def _changes(table: Warehoused, there: Mapping[str, tuple[str, str | None]] | None, schema: str) -> Iterator[Composable]:
    """The statements that make `table` what it must be."""
    name = Identifier(schema, table.name)
    if there is None:
        columns = SQL(", ").join(SQL("{} {}").format(Identifier(column), statement(kind)) for column, kind, _ in table.columns)
        yield SQL("CREATE TABLE {} ({})").format(name, columns)
        for kind, wanted in (("UNIQUE INDEX", table.unique), ("INDEX", table.index)):
            if wanted:
                # One event date, or one part without a date, stands once: so NULL is a value like others here.
                end = SQL(" NULLS NOT DISTINCT") if wanted is table.unique else SQL("")
                listed = SQL(", ").join(map(Identifier, wanted))
                yield SQL("CREATE {} ON {} ({}){}").format(statement(kind), name, listed, end)
        there = {}
    else:
        other = [column for column, kind, _ in table.columns if column in there and there[column][0] != _TYPE_NAMES.get(kind, kind)]
        for column in other:
            # Its rows are all loaded again (their fingerprint holds the types), and views of it are made anew by the next build.
            yield SQL("ALTER TABLE {} DROP COLUMN {} CASCADE").format(name, Identifier(column))
        there = {column: told for column, told in there.items() if column not in other}
        for column, kind, _ in table.columns:
            if column not in there:
                yield SQL("ALTER TABLE {} ADD COLUMN {} {}").format(name, Identifier(column), statement(kind))
    if there.get("", ("", None))[1] != table.description:
        yield SQL("COMMENT ON TABLE {} IS {}").format(name, Literal(table.description))
    for column, _, text in table.columns:
        if there.get(column, ("", None))[1] != text:
            yield SQL("COMMENT ON COLUMN {} IS {}").format(Identifier(schema, table.name, column), Literal(text))
