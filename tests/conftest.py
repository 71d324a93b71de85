"""Fixtures that every room's tests share: settings of a throw-away installation, its PostgreSQL, a tenant."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import configuration
from xdist.scheduler.loadscope import LoadScopeScheduling

from nocturne.installation.database import EmbeddedDatabase
from nocturne.ledger import Ledger, migrate
from nocturne.postgres import provision
from nocturne.settings import PROJECT, Settings, load_settings
from nocturne.tenants import Tenant

configuration.set_hypothesis_home_dir(PROJECT / "var" / "cache" / "hypothesis")


class WholeFiles(LoadScopeScheduling):
    """Where processes share the tests out, each takes whole files, and one of them all that need the running installation."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "tests/e2e" if file.startswith("tests/e2e/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> WholeFiles:
    """How tests are shared out."""
    return WholeFiles(config, log)


_PORTS = range(10_240, 32_768)
"""Below those from which a system takes the near ends of connections: nobody is there by chance when a server comes."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment, and that no other process of this test run asks for."""
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = _PORTS[int(worker.removeprefix("gw")) :: workers]
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().choice(mine)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found += [port] if port not in found else []
    return found


@pytest.fixture(scope="session")
def session_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One installation for the session; tests keep apart by tenant."""
    names = ("airflow_port", "mlflow_port", "demo_port", "log_port", "trigger_log_port", "postgres_port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    var = tmp_path_factory.mktemp("installation")
    for folder in (var, *var.parents[:2]):
        folder.chmod(0o755)  # PostgreSQL's own user must reach its data
    return load_settings(var=var, master_key="5a" * 32, **ports)


@pytest.fixture(scope="session")
def database(session_settings: Settings) -> Iterator[Settings]:
    """The settings of an installation whose PostgreSQL runs and whose ledger is there."""
    server = EmbeddedDatabase(session_settings, {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})
    server.remove()  # what an earlier session at the same place left, if it was killed
    server.start()
    try:
        migrate(session_settings)
        yield session_settings
    finally:
        server.remove()


@pytest.fixture
def ledger(database: Settings) -> Ledger:
    """The ledger of that installation."""
    return Ledger(database)


@pytest.fixture
def settings(session_settings: Settings, tmp_path: Path) -> Settings:
    """An installation of this test's own, without PostgreSQL: its lake, sources and reports are empty."""
    return session_settings.model_copy(update={"var": tmp_path})


@pytest.fixture
def provisioned(database: Settings) -> Callable[[Tenant], Tenant]:
    """Makes a tenant's roles and schemas."""

    def make(tenant: Tenant) -> Tenant:
        provision(tenant, database)
        return tenant

    return make
