"""The health checks of the production shape tell the well from the unwell."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from subprocess import run

import pytest

from nocturne.installation.health import is_well
from tests.conftest import free_ports
from tests.integration.compose.compose_file import PROJECT

REPORT = {
    "metadatabase": {"status": "healthy"},
    "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": "2026-03-01T03:00:00+00:00"},
    "triggerer": {"status": "unhealthy", "latest_triggerer_heartbeat": None},
    "dag_processor": None,
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()
        self.wfile.write(json.dumps(REPORT).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server whose /health is as Airflow's API server reports it, and that is broken everywhere else."""
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_address_that_answers_is_well(address: str) -> None:
    assert is_well([f"{address}/health"])


def test_an_address_that_answers_with_an_error_is_not(address: str) -> None:
    assert not is_well([f"{address}/broken"])


def test_an_address_where_nobody_listens_is_not() -> None:
    (port,) = free_ports(1)
    assert not is_well([f"http://127.0.0.1:{port}/health"])
    assert not is_well([f"http://127.0.0.1:{port}/health", "scheduler"])


@pytest.mark.parametrize(
    ("component", "expected"), [("scheduler", True), ("triggerer", False), ("dag_processor", False), ("nobody", False)]
)
def test_a_component_is_as_well_as_the_api_server_says(address: str, component: str, expected: bool) -> None:
    assert is_well([f"{address}/health", component]) is expected


def test_a_worker_without_a_broker_is_not_well() -> None:
    """As the container runs it: the exit code is what Docker looks at."""
    (port,) = free_ports(1)
    broker = {"AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{port}/0", "PYTHONPATH": str(PROJECT / "plugins")}
    done = run([sys.executable, "-m", "nocturne.installation.health", "worker"], env=broker, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_wrong_call_explains_itself() -> None:
    with pytest.raises(SystemExit, match="health URL COMPONENT"):
        is_well([])
