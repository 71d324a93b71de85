"""The embedded PostgreSQL: made once, started again, refused clearly, and as closed as it should be."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from nocturne.errors import DatabaseUnavailable
from nocturne.installation.commands import down
from nocturne.installation.database import EmbeddedDatabase
from nocturne.installation.display import Display
from nocturne.postgres import connect, provision
from nocturne.settings import Settings
from nocturne.tenants import Tenant


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Iterator[EmbeddedDatabase]:
    """A PostgreSQL of this test's own on a free port."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    database = EmbeddedDatabase(settings.model_copy(update={"postgres_port": port}), {"fsync": "off", "shared_buffers": "16MB"})
    yield database
    database.remove()


def test_nothing_of_it_is_left_when_it_is_removed(own: EmbeddedDatabase) -> None:
    own.start()
    data = own.data_folder
    assert data.exists()
    own.remove()
    assert not own.is_running()
    assert not data.exists()
    own.remove()  # of nothing it removes nothing


def test_what_ends_an_installation_leaves_its_data_unless_they_are_to_go(own: EmbeddedDatabase) -> None:
    own.start()
    down(own.settings, Display())
    assert not own.is_running()
    assert own.data_folder.exists()
    down(own.settings, Display(), remove=True)
    assert not own.data_folder.exists()


def test_it_is_made_started_and_ended(own: EmbeddedDatabase) -> None:
    own.start()
    assert own.is_running()
    with connect(own.settings) as connection:
        connection.execute("CREATE TABLE public.kept AS SELECT 1 AS value")
    own.start()  # it runs already: nothing happens
    own.stop()
    assert not own.is_running()
    own.start()
    with connect(own.settings) as connection:
        assert connection.execute("SELECT value FROM public.kept").fetchone() == (1,)


def test_after_a_kill_it_comes_back_with_what_was_committed(own: EmbeddedDatabase) -> None:
    own.start()
    with connect(own.settings) as connection:
        connection.execute("CREATE TABLE public.kept AS SELECT 1 AS value")
    server = int((own.data_folder / "postmaster.pid").read_text().splitlines()[0])
    os.kill(server, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while own.is_running() and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(DatabaseUnavailable, match="Next: Start it"), connect(own.settings):
        pass
    own.start()
    with connect(own.settings) as connection:
        assert connection.execute("SELECT value FROM public.kept").fetchone() == (1,)


def test_a_port_in_use_is_named_with_the_variable_to_set(own: EmbeddedDatabase) -> None:
    with socket.socket() as taken:
        taken.bind((own.settings.host, own.settings.postgres_port))
        taken.listen()
        with pytest.raises(DatabaseUnavailable, match=rf"{own.settings.postgres_port}.*in use.*NOCTURNE_POSTGRES_PORT"):
            own.start()


def test_nobody_enters_without_a_password(own: EmbeddedDatabase) -> None:
    own.start()
    settings = own.settings
    for password in ("", "nocturne", "postgres"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host=settings.host, port=settings.postgres_port, user="nocturne", password=password, dbname="postgres")


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


def test_no_role_of_a_tenant_reads_or_changes_anything_of_another(database: Settings) -> None:
    one, other = a_tenant("iso_one"), a_tenant("iso_other")
    for tenant in (one, other):
        provision(tenant, database)
        with connect(database, role=tenant.owner_role) as connection:
            for schema in tenant.schemas:
                connection.execute(f"CREATE TABLE {schema}.things AS SELECT 1 AS thing")  # type: ignore[call-overload]
    for role in (one.owner_role, one.reader_role):
        for schema in other.schemas:
            for attempt in (f"SELECT * FROM {schema}.things", f"CREATE TABLE {schema}.mine (a int)", f"DROP SCHEMA {schema} CASCADE"):
                with (
                    pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)),
                    connect(database, role=role) as connection,
                ):
                    connection.execute(attempt)  # type: ignore[call-overload]
        for name in ("nocturne.receipts", "nocturne.marks", "nocturne.leases", "nocturne.alerts"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connect(database, role=role) as connection:
                connection.execute(f"SELECT * FROM {name}")  # type: ignore[call-overload]
        for name in ("airflow", "mlflow"):
            with pytest.raises(DatabaseUnavailable, match="permission denied"), connect(database, role=role, database=name):
                pass


def test_a_reader_reads_published_marts_and_predictions_alone(database: Settings) -> None:
    tenant = a_tenant("reading")
    provision(tenant, database)
    with connect(database, role=tenant.owner_role) as connection:
        for schema in tenant.schemas:
            connection.execute(f"CREATE TABLE {schema}.things AS SELECT 1 AS thing")  # type: ignore[call-overload]
    for schema in (tenant.marts_schema, tenant.ml_schema):
        with connect(database, role=tenant.reader_role) as connection:
            assert connection.execute(f"SELECT thing FROM {schema}.things").fetchone() == (1,)  # type: ignore[call-overload]
        with pytest.raises(psycopg.Error), connect(database, role=tenant.reader_role) as connection:
            connection.execute(f"DELETE FROM {schema}.things")  # type: ignore[call-overload]
    for schema in (tenant.raw_schema, tenant.build_schema):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connect(database, role=tenant.reader_role) as connection:
            connection.execute(f"SELECT thing FROM {schema}.things")  # type: ignore[call-overload]


def test_a_night_logs_in_cheaply_and_readers_tools_find_the_usual_iterations(database: Settings) -> None:
    tenant = a_tenant("iterating")
    for _ in range(2):
        provision(tenant, database)
    with connect(database) as connection:
        found = connection.execute(
            "SELECT rolname, split_part(rolpassword, ':', 1) FROM pg_authid WHERE rolname LIKE 'iterating%'"
        ).fetchall()
    assert dict(found) == {tenant.owner_role: "SCRAM-SHA-256$1", tenant.reader_role: "SCRAM-SHA-256$4096"}
