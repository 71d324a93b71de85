"""The door to PostgreSQL: the only importer of psycopg and ADBC.

It leads to our own database, and (`read_foreign`) to those that tenants' rows are read from.

Stations connect as their tenant's own role, so that PostgreSQL itself keeps one tenant from another's schemas; only the ledger
and the provisioning of tenants use the installation's role.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from nocturne.errors import DatabaseUnavailable, QueryRefused
from nocturne.settings import Settings
from nocturne.tenants import Tenant

if TYPE_CHECKING:
    import pyarrow as pa

DATABASE = "nocturne"
Connection = psycopg.Connection[tuple[Any, ...]]
Composable = sql.SQL | sql.Composed
SQL = sql.SQL
Identifier = sql.Identifier
Literal = sql.Literal
Placeholder = sql.Placeholder

# Types that ADBC gives Parquet as they are: boolean, bytea, the integers and floats, text, character, name, date, timestamp(tz), numeric.
_AS_THEY_ARE = frozenset({16, 17, 20, 21, 23, 700, 701, 25, 1042, 1043, 19, 1082, 1114, 1184, 1700})
_NUMERIC, _RECORD = 1700, 2249
_READ_ONLY = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_FOREIGN_BATCH_BYTES = 4 << 20

at_write: Callable[[str], None] = lambda _what: None  # noqa: E731
"""Called with what was done at every boundary of a write. A test that kills the process at each of them puts itself here."""


def statement(text: str) -> sql.SQL:
    """Trusted SQL text (ours, never a user's) as psycopg wants it."""
    return sql.SQL(text)


def uri(settings: Settings, *, role: str | None = None, database: str = DATABASE, scheme: str = "postgresql") -> str:
    """The connection URI of `role` (default: the installation's own). Holds the password: never log it."""
    role = role or settings.postgres_user
    password = quote(settings.password(role), safe="")
    return f"{scheme}://{quote(role, safe='')}:{password}@{settings.postgres_address}:{settings.postgres_port}/{database}"


@contextmanager
def connect(settings: Settings, *, role: str | None = None, database: str = DATABASE, autocommit: bool = False) -> Iterator[Connection]:
    """A connection as `role`; commits at the end of the block, rolls back on an error.

    Raises DatabaseUnavailable if PostgreSQL is not
    there or goes away in the middle.
    """
    with (
        _speaking(settings),
        psycopg.connect(
            host=settings.postgres_address,
            port=settings.postgres_port,
            user=role or settings.postgres_user,
            password=settings.password(role or settings.postgres_user),
            dbname=database,
            autocommit=autocommit,
            connect_timeout=10,
            application_name="nocturne",
        ) as connection,
    ):
        yield connection


@contextmanager
def load_arrow(settings: Settings, *, role: str) -> Iterator[Loader]:
    """A connection over ADBC, for statements and COPY of Arrow streams; commits at the end, or rolls back what no `commit` kept."""
    from adbc_driver_postgresql import dbapi

    with _speaking(settings), dbapi.connect(uri(settings, role=role)) as connection:
        loader = Loader(connection)
        yield loader
        loader.commit()


class Loader:
    """A connection that takes Arrow streams by COPY, always in a transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def commit(self) -> None:
        """End the transaction; what follows belongs to the next one."""
        self._connection.commit()
        at_write("committed")

    def rollback(self) -> None:
        """Undo the transaction; what follows belongs to the next one."""
        self._connection.rollback()

    def execute(self, text: str) -> None:
        """Run one trusted statement."""
        with self._connection.cursor() as cursor:
            cursor.execute(text)
        at_write(text)

    def append(self, schema: str | None, table: str, rows: pa.RecordBatchReader | pa.Table) -> int:
        """COPY `rows` behind the rows of an existing table (of no schema: a temporary one) whose columns have the same names; how many."""
        with self._connection.cursor() as cursor:
            count = int(cursor.adbc_ingest(table, rows, mode="append", db_schema_name=schema, temporary=schema is None))
        at_write(f"copied into {schema}.{table}" if schema else f"copied into {table}")
        return count

    def fetch(self, text: str) -> list[tuple[Any, ...]]:
        """All rows of one trusted query."""
        with self._connection.cursor() as cursor:
            cursor.execute(text)
            return [tuple(row) for row in cursor.fetchall()]


@contextmanager
def _speaking(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise _unavailable(settings, error) from error
    except Exception as error:
        # ADBC's errors are told by name: importing its module only to catch them would cost every task its import. It calls every
        # error operational, also that of a wrong statement; what it got from a server that is there has another class of SQLSTATE.
        state = getattr(error, "sqlstate", None) or ""
        is_operational = type(error).__module__.startswith("adbc_driver_manager") and type(error).__name__ == "OperationalError"
        if is_operational and (not state.strip("0") or state[:2] in {"08", "53", "55", "57"}):
            raise _unavailable(settings, error) from error
        raise


def _unavailable(settings: Settings, error: Exception) -> DatabaseUnavailable:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DatabaseUnavailable(
        f"PostgreSQL at {settings.postgres_address}:{settings.postgres_port} is not to be had: {reason}.",
        next_step="Start it (`make up`), or correct NOCTURNE_POSTGRES_HOST and _PORT; the task is tried again by itself.",
    )


def provision(tenant: Tenant, settings: Settings) -> None:
    """Make the tenant's roles, schemas and grants, or bring them up to date. Run again, it changes nothing.

    The owner role owns the tenant's schemas and reads nothing else. The reader role reads published marts and predictions alone.
    """
    owner, reader = Identifier(tenant.owner_role), Identifier(tenant.reader_role)
    with connect(settings) as connection:
        # Two nights may provision at once, and CREATE SCHEMA IF NOT EXISTS is not safe against itself.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('nocturne.provision'))")
        for role in (tenant.owner_role, tenant.reader_role):
            there = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
            verb = SQL("ALTER" if there else "CREATE")
            # Many iterations make guessing dear, and nobody guesses 256 random bits; a night logs in some hundred times. Readers' own
            # tools may refuse less than the usual number.
            connection.execute(
                "SELECT set_config('scram_iterations', %s, true) WHERE current_setting('server_version_num')::integer >= 160000",
                ("1" if role == tenant.owner_role else "4096",),
            )
            connection.execute(
                SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD {}").format(
                    verb, Identifier(role), Literal(settings.password(role))
                )
            )
            connection.execute(SQL("GRANT CONNECT ON DATABASE {} TO {}").format(Identifier(DATABASE), Identifier(role)))
        # Loads, dbt and publishing compare rows in temporary tables.
        connection.execute(SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(Identifier(DATABASE), owner))
        connection.execute(SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(reader))
        for schema in tenant.schemas:
            name = Identifier(schema)
            connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(name, owner))
        for schema in (tenant.marts_schema, tenant.ml_schema):
            name = Identifier(schema)
            connection.execute(SQL("GRANT USAGE ON SCHEMA {} TO {}").format(name, reader))
            connection.execute(SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(name, reader))
            connection.execute(
                SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} GRANT SELECT ON TABLES TO {}").format(owner, name, reader)
            )


def exclusion(tenant: Tenant) -> str:
    """The statement that waits until no other transaction loads, builds or publishes for this tenant, then keeps others out till its end.

    The lease keeps whole runs apart; this keeps apart what is left of a killed run, whose server process may still be at work.
    """
    return f"SELECT pg_advisory_xact_lock(hashtext('{tenant.slug}.warehouse'))"


def fetch(settings: Settings, query: Composable | str, parameters: Sequence[Any] = (), *, role: str) -> list[dict[str, Any]]:
    """All rows of a small query as dictionaries."""
    with connect(settings, role=role) as connection:
        cursor = connection.execute(statement(query) if isinstance(query, str) else query, parameters or None)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@contextmanager
def asking(settings: Settings, *, role: str) -> Iterator[Connection]:
    """A connection for a person's questions: one snapshot, in a transaction that cannot write and that ends at the time limit.

    Raises QueryRefused for what takes too long, and for a value that is none of its column's type.
    """
    with connect(settings, role=role) as connection:
        connection.execute(_READ_ONLY)
        limits = SQL("SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}")
        connection.execute(limits.format(Literal(f"{settings.query_seconds}s"), Literal(f"{settings.query_seconds}s")))
        try:
            yield connection
        except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
            raise QueryRefused(
                f"The answer would take more than {settings.query_seconds} s.",
                next_step="Ask a shorter time or fewer dimensions, or raise NOCTURNE_QUERY_SECONDS.",
            ) from error
        except psycopg.errors.DataError as error:
            said = (error.diag.message_primary or "a value is none of its column's type").strip()
            raise QueryRefused(f"A value of the question does not fit: {said}.", next_step="Correct the value.") from error


# other people's databases --------------------------------------------------------------------------------------------------------
class ForeignError(Exception):
    """What another PostgreSQL said; `may_pass` if another try is worth it. Holds no password and no row."""

    def __init__(self, what: str, *, may_pass: bool) -> None:
        self.may_pass = may_pass
        super().__init__(what)


@dataclass(frozen=True)
class Selection:
    """Rows of a query: all, or those whose `column` is from `since` on up to `until`, and those that have no value in it."""

    query: str
    column: str | None = None
    since: str | None = None
    until: str | None = None

    def over(self, columns: Composable) -> Composable:
        """The statement that reads `columns` of it."""
        text: Composable = SQL("SELECT {} FROM ({}) AS taken").format(columns, SQL(self.query))
        tests = [
            SQL("{} {} {}").format(Identifier(self.column), SQL(sign), Literal(value))
            for sign, value in ((">=", self.since), ("<=", self.until))
            if self.column is not None and value is not None
        ]
        if self.column is None or not tests:
            return text
        return text + SQL(" WHERE ({}) OR {} IS NULL").format(SQL(" AND ").join(tests), Identifier(self.column))


@contextmanager
def read_foreign(foreign_uri: str, selection: Selection) -> Iterator[pa.RecordBatchReader]:
    """The rows of a selection as a stream, from one snapshot, in a transaction that cannot write.

    Types that Parquet has come as such; `numeric(p, s)` as a decimal; arrays and rows as JSON; all others as PostgreSQL writes them. The
    stream holds a few megabytes at a time. Raises ForeignError.
    """
    from adbc_driver_postgresql import StatementOptions, dbapi

    try:
        columns, decimals = _foreign_columns(foreign_uri, selection)
        text = selection.over(columns).as_string()
        hint = {StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(_FOREIGN_BATCH_BYTES)}
        with dbapi.connect(foreign_uri) as connection:
            with connection.cursor() as cursor:
                cursor.execute(_READ_ONLY)
            with connection.cursor(adbc_stmt_kwargs=hint) as cursor:
                cursor.execute(text)
                yield _with_decimals(cursor.fetch_record_batch(), decimals)
    except psycopg.Error as error:
        raise _foreign_error(error, error.sqlstate) from None
    except Exception as error:
        # ADBC's errors are told by name, as above. Of what it says in the middle of a stream, Arrow makes errors of its own.
        module = type(error).__module__
        if module.startswith("adbc_driver_manager") or "[libpq]" in str(error):
            raise _foreign_error(error, getattr(error, "sqlstate", None)) from None
        raise


def _foreign_columns(foreign_uri: str, selection: Selection) -> tuple[Composable, dict[str, tuple[int, int]]]:
    """What is read of each column, and the precision and scale of those that are decimals."""
    with psycopg.connect(foreign_uri) as connection:
        connection.execute(_READ_ONLY)
        found = connection.execute(selection.over(SQL("*")) + SQL(" LIMIT 0")).description or []
        if len({column.name for column in found}) < len(found):
            raise ForeignError("the query has two columns of one name", may_pass=False)
        arrays = {info.array_oid for info in connection.adapters.types} | {_RECORD}
        columns = []
        for column in found:
            name = Identifier(column.name)
            form = (
                SQL("{}")
                if column.type_code in _AS_THEY_ARE
                else SQL("to_json({})::text")
                if column.type_code in arrays
                else SQL("{}::text")
            )
            columns.append(form.format(name) + SQL(" AS ") + name)
        decimals = {c.name: (c.precision, c.scale or 0) for c in found if c.type_code == _NUMERIC and c.precision and c.precision <= 38}
        return SQL(", ").join(columns), decimals


def _with_decimals(reader: pa.RecordBatchReader, decimals: Mapping[str, tuple[int, int]]) -> pa.RecordBatchReader:
    import pyarrow as pa

    kinds = {name: pa.decimal128(precision, max(scale, 0)) for name, (precision, scale) in decimals.items()}
    schema = pa.schema([pa.field(field.name, kinds.get(field.name, field.type)) for field in reader.schema])
    return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in reader))


def _foreign_error(error: Exception, state: str | None) -> ForeignError:
    """The error without what a row holds: messages of class 22 (data exceptions), and those that come amid rows, may quote it."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    state = (state or "").strip("\x00")
    if state.startswith("22"):
        return ForeignError(f"a value of the rows is none of its type (SQLSTATE {state})", may_pass=False)
    if state:
        return ForeignError(said, may_pass=state[:2] in {"08", "40", "53", "55", "57"})
    if isinstance(error, psycopg.Error):
        refused = any(
            words in str(error) for words in ("authentication failed", "does not exist", "no pg_hba.conf entry", "permission denied")
        )
        return ForeignError(said, may_pass=not refused)
    said = re.sub(r'"[^"]*"|\'[^\']*\'', "...", said.partition("]: ")[2] or said)
    passing = any(words in said for words in ("terminating", "canceling", "deadlock", "conflict with recovery", "server closed"))
    return ForeignError(said, may_pass=passing or "ERROR:" not in said)
