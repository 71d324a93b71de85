"""What docker-compose.yml starts, as processes of this machine; commands, environments, conditions and health checks are the file's.

Containers' names become 127.0.0.1, their ports free ones, their folders folders of the test. PostgreSQL is the embedded one of the same
version, with the file's options. Nothing else differs: a process gets the file's environment and of this machine's own PATH and HOME.
"""

from __future__ import annotations

import graphlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from nocturne.installation.database import EmbeddedDatabase
from nocturne.postgres import connect, statement
from nocturne.settings import Settings, load_settings
from tests.conftest import free_ports
from tests.integration.compose.compose_file import PROJECT, Service, services

_PORTS = {"postgres": 5432, "redis": 6379, "api-server": 8080, "mlflow": 5000}
_BARE_PORTS = {
    "NOCTURNE_POSTGRES_PORT": "postgres",
    "AIRFLOW__API__PORT": "api-server",
    "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "worker logs",
    "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": "triggerer logs",
}
_LEFT_OVER = re.compile(
    r"\b(postgres|redis|api-server|mlflow):\d|/opt/nocturne|/srv/nocturne|/var/l(ib|og)/(nocturne|airflow|mlflow)|0\.0\.0\.0"
)


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


class NativeCompose:
    """One start of the compose file below `folder`."""

    def __init__(self, folder: Path, secrets: Mapping[str, str], *, replaced: Mapping[str, str] | None = None) -> None:
        names = (*_PORTS, "worker logs", "triggerer logs", "demo")
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.folder = folder
        self.replaced = dict(replaced or {})
        self.settings = self._settings(secrets)
        self.services = {name: self._here(service) for name, service in services(secrets).items()}
        options = dict(part.removeprefix("-c").split("=", 1) for part in self.services["postgres"].command[1:])
        self.database = EmbeddedDatabase(self.settings, options)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start every service when those that it needs are as it needs them, then wait until all are well."""
        needs = {name: service.document.get("depends_on", {}) for name, service in self.services.items()}
        needed_well = {other for need in needs.values() for other, how in need.items() if how["condition"] == "service_healthy"}
        for name in graphlib.TopologicalSorter({name: list(need) for name, need in needs.items()}).static_order():
            service = self.services[name]
            if name == "postgres":
                self._start_postgres()
            elif service.is_one_shot:
                self.run(name)
            else:
                self._start(service)
                if name in needed_well:
                    self.wait(name)
        for name in self.services.keys() - {"postgres", "prepare"}:
            self.wait(name)

    def stop(self) -> None:
        """End everything, those first who need others. Tasks stand in process groups of their own, so whole families are looked at."""
        for process in reversed(self.running.values()):
            family = _family(process.pid)
            process.terminate()
            _, left = psutil.wait_procs(family, timeout=20)
            for member in left:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
            process.wait(10)
        self.database.remove()

    def run(self, name: str) -> None:
        """Run a service that ends by itself, and see that it succeeded."""
        service = self.services[name]
        done = subprocess.run(service.command, env=dict(service.environment), cwd=PROJECT, capture_output=True, text=True)
        assert done.returncode == 0, f"{name} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"

    def wait(self, name: str, seconds: float = 180) -> None:
        """Wait until a service's own health check is content."""
        service = self.services[name]
        deadline = time.monotonic() + seconds
        while subprocess.run(service.health_check, env=dict(service.environment), cwd=PROJECT, capture_output=True).returncode:
            log = self.log_of(name)
            assert self.running[name].poll() is None, f"{name} ended:\n{log[-3000:]}"
            assert time.monotonic() < deadline, f"{name} is not well after {seconds:.0f} s:\n{log[-3000:]}"
            time.sleep(0.5)

    def log_of(self, name: str) -> str:
        """What a service has written."""
        return (self.folder / "log" / f"{name}.log").read_text(errors="replace")

    def _start(self, service: Service) -> None:
        path = self.folder / "log" / f"{service.name}.log"
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as log:
            self.running[service.name] = subprocess.Popen(
                service.command,
                env=dict(service.environment),
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _settings(self, secrets: Mapping[str, str]) -> Settings:
        """The same installation as this test's own process sees it."""
        return load_settings(
            var=self.folder,
            tenants=self.folder / "tenants",
            sources=self.folder / "sources",
            master_key=secrets["NOCTURNE_MASTER_KEY"],
            postgres_password=secrets["POSTGRES_PASSWORD"],
            postgres_port=self.ports["postgres"],
            airflow_port=self.ports["api-server"],
            mlflow_port=self.ports["mlflow"],
            log_port=self.ports["worker logs"],
            trigger_log_port=self.ports["triggerer logs"],
            demo_port=self.ports["demo"],
        )

    def _start_postgres(self) -> None:
        self.database.remove()  # what an earlier session at the same place left: its ledger would say that all is loaded
        self.database.start()
        # The image makes the database `nocturne` alone: the others are for `prepare` to make.
        with connect(self.settings, database="postgres", autocommit=True) as connection:
            for name in ("airflow", "mlflow"):
                connection.execute(statement(f"DROP DATABASE {name}"))

    def _here(self, service: Service) -> Service:
        environment = {key: self._place(value) for key, value in service.environment.items()}
        environment |= {key: str(self.ports[name]) for key, name in _BARE_PORTS.items() if key in environment}
        if "NOCTURNE_POSTGRES_HOST" in environment:
            environment |= {"NOCTURNE_POSTGRES_HOST": "127.0.0.1", "NOCTURNE_TENANTS": str(self.settings.tenants)}
        environment |= {key: value for key, value in self.replaced.items() if key in environment}
        environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/")}
        document = dict(service.document)
        if service.name != "postgres":
            document["command"] = [self._place(part) for part in service.command]
            if not service.is_one_shot:
                check = document["healthcheck"]
                document["healthcheck"] = {**check, "test": [self._place(part) for part in check["test"]]}
            for text in (*environment.values(), *document["command"]):
                assert not _LEFT_OVER.search(text), f"{service.name}: {text} is a place in a container"
        return Service(service.name, document, environment)

    def _place(self, text: str) -> str:
        """What a text of the file means on this machine."""
        places = {
            "/opt/nocturne": str(PROJECT),
            "/srv/nocturne/sources": str(self.settings.sources_root),
            "/var/lib/nocturne": str(self.folder),
            "/var/lib/airflow": str(self.folder / "airflow"),
            "/var/lib/mlflow": str(self.folder / "artifacts"),
            "/var/log/nocturne": str(self.folder / "log" / "tasks"),
            "0.0.0.0": "127.0.0.1",  # noqa: S104
            "localhost:8480": f"127.0.0.1:{self.ports['api-server']}",
            "--port=5000": f"--port={self.ports['mlflow']}",
            "port 6379": f"port {self.ports['redis']}",
            "redis-cli": f"redis-cli -p {self.ports['redis']}",
            "dir /data": f"dir {self.folder}",
        }
        for name, port in _PORTS.items():
            for host in (name, "localhost"):
                places[f"{host}:{port}"] = f"127.0.0.1:{self.ports[name]}"
        for there, here in places.items():
            text = text.replace(there, here)
        return text
