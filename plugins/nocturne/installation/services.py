"""Airflow's processes, MLflow's server and the demo's API on this machine: their environment, their start, their health, their end.

A service is one process group. Its pid and start time stand in `var/run/<name>.json`, so that any later command can end what an
earlier one started, and nothing else. Its output goes to `var/log/<name>.log`.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from nocturne.errors import PermanentError
from nocturne.installation.database import port_is_free
from nocturne.postgres import uri
from nocturne.settings import Settings
from nocturne.tenants import Tenant, load_tenants

USER = "admin"


@dataclass(frozen=True)
class Service:
    """One process: what is run, and (where it has them) the address that answers when it is ready and the setting of its port."""

    name: str
    command: tuple[str, ...]
    health: str | None = None
    port: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def airflow_environment(settings: Settings) -> dict[str, str]:
    """The environment of every Airflow process: configuration derives from the settings, secrets from the master key."""
    home = settings.var / "airflow"
    secret = {name: settings.derive("airflow", name) for name in ("jwt", "session", "fernet")}
    path = os.pathsep.join([str(settings.project / "plugins"), str(settings.project), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {
        **os.environ,
        **shared_environment(settings),
        **settings_environment(settings),
        **connections(settings),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": path,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(settings.project / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(settings.project / "plugins"),
        "AIRFLOW__CORE__EXECUTOR": "nocturne.orchestration.executor.WarmLocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(settings.parallelism),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secret["fernet"]).decode(),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{settings.host}:{settings.airflow_port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(settings.var / "secrets" / "airflow_passwords.json"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": uri(settings, database="airflow", scheme="postgresql+psycopg2"),
        "AIRFLOW__API__HOST": settings.host,
        "AIRFLOW__API__PORT": str(settings.airflow_port),
        "AIRFLOW__API__BASE_URL": f"http://{settings.host}:{settings.airflow_port}",
        "AIRFLOW__API__SECRET_KEY": secret["session"].hex(),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": base64.b64encode(secret["jwt"]).decode(),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(settings.var / "log" / "tasks"),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(settings.log_port),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(settings.trigger_log_port),
        "OMP_NUM_THREADS": str(settings.threads),
    }


def shared_environment(settings: Settings) -> dict[str, str]:
    """What processes are told wherever they run: `nocturne.env`, which the compose file reads too."""
    lines = (settings.project / "nocturne.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def settings_environment(settings: Settings) -> dict[str, str]:
    """The settings as `NOCTURNE_*` variables, for processes that must have the very same. The master key passes too: never log it."""
    values = settings.model_dump(mode="json", exclude_none=True, exclude={"master_key", "postgres_password"})
    environment = {f"NOCTURNE_{name.upper()}": str(value) for name, value in values.items()}
    for name in ("master_key", "postgres_password"):
        secret = getattr(settings, name)
        if secret is not None:
            environment[f"NOCTURNE_{name.upper()}"] = secret.get_secret_value()
    return environment


def connections(settings: Settings) -> dict[str, str]:
    """The demo's connections as Airflow reads them from the environment; one that is set already is left alone."""
    found = {}
    for tenant in load_tenants(settings.tenants).tenants.values():
        for source in tenant.sources:
            if source.connection == "demo":
                name = f"AIRFLOW_CONN_{tenant.connection_id(source.connection).upper()}"
                found[name] = os.environ.get(name) or demo_connection(tenant, settings)
    return found


def demo_connection(tenant: Tenant, settings: Settings) -> str:
    """The demo API's connection of a tenant, with its token: never log it."""
    token = settings.derive("demo api", tenant.slug).hex()
    return json.dumps({"conn_type": "http", "host": settings.host, "port": settings.demo_port, "schema": tenant.slug, "password": token})


def services(settings: Settings) -> dict[str, Service]:
    """Every service by name."""
    airflow = (sys.executable, "-m", "airflow")
    api = f"http://{settings.host}:{settings.airflow_port}"
    environment = airflow_environment(settings)
    mlflow = f"http://{settings.host}:{settings.mlflow_port}"
    demo = f"http://{settings.host}:{settings.demo_port}"
    listed = (
        Service("demo", (sys.executable, "-m", "nocturne.simulator.server"), f"{demo}/health", "demo_port", environment),
        Service("api-server", (*airflow, "api-server"), f"{api}/api/v2/version", "airflow_port", environment),
        Service("scheduler", (*airflow, "scheduler"), None, None, environment),
        Service("dag-processor", (*airflow, "dag-processor"), None, None, environment),
        Service("triggerer", (*airflow, "triggerer", "--capacity", "50"), None, None, environment),
        Service(
            "mlflow",
            (
                sys.executable, "-m", "mlflow", "server", "--host", settings.host, "--port", str(settings.mlflow_port), "--workers", "1",
                "--artifacts-destination", str(settings.var / "mlflow"),
            ),
            f"{mlflow}/health",
            "mlflow_port",
            # The address of the store holds a password: it goes by the environment, not by the command line that `ps` shows.
            environment | {"MLFLOW_BACKEND_STORE_URI": settings.mlflow_tracking_uri or uri(settings, database="mlflow")},
        ),
    )  # fmt: skip
    return {service.name: service for service in listed}


class Processes:
    """The services of one installation that run on this machine."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.run = settings.var / "run"
        self.log = settings.var / "log"

    def start(self, service: Service) -> bool:
        """Start a service unless it runs; True if it was started now. Raises PermanentError if its port is taken."""
        if self.is_running(service.name):
            return False
        self._check_port(service)
        self.run.mkdir(parents=True, exist_ok=True)
        self.log.mkdir(parents=True, exist_ok=True)
        with self.log_of(service.name).open("ab") as output:
            process = subprocess.Popen(
                service.command,
                env=dict(service.environment),
                cwd=self.settings.project,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        record = {"pid": process.pid, "started": _start_time(process.pid)}
        fresh = self.run / f"{service.name}.json.new"
        fresh.write_text(json.dumps(record))
        fresh.replace(self._record(service.name))
        return True

    def _check_port(self, service: Service) -> None:
        port = getattr(self.settings, service.port) if service.port else None
        if service.port and port is not None and not port_is_free(self.settings.host, port):
            raise PermanentError(
                f"Port {port} of {self.settings.host} is in use, so {service.name} cannot start.",
                next_step=f"Stop what uses it (`ss -ltnp` names it), or set NOCTURNE_{service.port.upper()} to a free one.",
            )

    def wait(self, service: Service, *, seconds: float = 180) -> None:
        """Wait until a service answers. Raises PermanentError with the log's last lines if it ends or does not answer in time."""
        deadline = time.monotonic() + seconds
        while service.health and not _answers(service.health):
            if not self.is_running(service.name) or time.monotonic() > deadline:
                raise self._failure(service.name)
            time.sleep(0.25)

    def stop(self, names: Iterable[str], *, seconds: float = 20) -> list[str]:
        """End these services, politely first; the names of those that ran."""
        ended = []
        for name in names:
            pid = self.pid(name)
            if pid is not None:
                ended.append(name)
                _signal_group(pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        for name in ended:
            pid = self.pid(name)
            while pid is not None and time.monotonic() < deadline:
                time.sleep(0.1)
                pid = self.pid(name)
            if pid is not None:
                _signal_group(pid, signal.SIGKILL)
            self._record(name).unlink(missing_ok=True)
        return ended

    def running(self) -> list[str]:
        """The names of the services that run."""
        return sorted(path.stem for path in self.run.glob("*.json") if self.is_running(path.stem))

    def is_running(self, name: str) -> bool:
        """Whether the process that was recorded under `name` still runs."""
        return self.pid(name) is not None

    def log_of(self, name: str) -> Path:
        """Where a service writes its output."""
        return self.log / f"{name}.log"

    def _record(self, name: str) -> Path:
        return self.run / f"{name}.json"

    def pid(self, name: str) -> int | None:
        """The process id of a service that runs, or None."""
        try:
            record = json.loads(self._record(name).read_text())
        except (OSError, ValueError):
            return None
        pid = int(record["pid"])
        # A pid is given again to others: only with the same start time is it ours.
        return pid if _start_time(pid) == record["started"] else None

    def _failure(self, name: str) -> PermanentError:
        log = self.log_of(name)
        lines = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
        return PermanentError(
            f"{name} did not come up. Its last lines:\n" + "\n".join(lines),
            next_step=f"Read {log}, mend the cause and run the command again.",
        )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


def _start_time(pid: int) -> str | None:
    """When a process started, in clock ticks since boot; None if there is none (or only its corpse)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] == "Z" else fields[19]


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)
