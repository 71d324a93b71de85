"""The door to PostgreSQL: the only importer of psycopg and ADBC.

Stations connect as their tenant's own role, so that PostgreSQL itself keeps one tenant from another's schemas; only the ledger
and the provisioning of tenants use the installation's role.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from nocturne.errors import DatabaseUnavailable
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
