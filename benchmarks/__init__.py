"""Benchmarks: each prints, as its last line, one JSON object; `make bench NAME=<name>` runs one on a machine that does nothing else.

A benchmark runs the path that the night runs, makes its own input with the simulator, and runs its baseline beside it. Every key of a
number ends in its unit.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from nocturne.settings import PROJECT, Settings, load_settings
from nocturne.tenants import Tenant

CACHE = PROJECT / "var" / "benchmarks"
"""Worlds that take long to make are kept here."""


def publish(
    name: str,
    *,
    params: Mapping[str, Any],
    results: Mapping[str, Any],
    baselines: Mapping[str, Any] | None = None,
    ratios: Mapping[str, Any] | None = None,
) -> None:
    """Print the benchmark's one line of JSON."""
    machine = {"cpus": os.cpu_count(), "processor": _processor(), "python": platform.python_version()}
    document = {
        "name": name,
        "params": {**params, "machine": machine},
        "results": dict(results),
        "baselines": dict(baselines or {}),
        "ratios": dict(ratios or {}),
    }
    print(json.dumps(document, default=str), flush=True)


@contextmanager
def throwaway_installation(**values: Any) -> Iterator[Settings]:
    """The settings of an empty installation on free ports, whose PostgreSQL is stopped and whose state is removed afterwards."""
    from nocturne.installation.database import EmbeddedDatabase

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nocturne-bench-", ignore_cleanup_errors=True)))
        folder.chmod(0o755)  # PostgreSQL's own user must reach its data
        names = ("airflow_port", "mlflow_port", "demo_port", "log_port", "trigger_log_port", "postgres_port")
        settings = load_settings(
            **{"var": folder, "master_key": "6b" * 32, **dict(zip(names, _free_ports(len(names)), strict=True)), **values}
        )
        database = EmbeddedDatabase(settings)
        stack.callback(database.remove)
        yield settings


def start_database(settings: Settings, tenant: Tenant) -> None:
    """Start the installation's PostgreSQL, with the ledger and the tenant's own schemas and roles."""
    from nocturne.installation.database import EmbeddedDatabase
    from nocturne.ledger import migrate
    from nocturne.postgres import provision

    EmbeddedDatabase(settings).start()
    migrate(settings)
    provision(tenant, settings)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
