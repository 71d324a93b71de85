"""The models' book is made once, however many begin at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from nocturne.installation.database import EmbeddedDatabase
from nocturne.postgres import connect
from nocturne.settings import PROJECT, Settings
from tests.conftest import free_ports

PREPARE = "from ml.registry import prepare; from nocturne.settings import load_settings; prepare(load_settings()); print('ready')"


def test_two_that_prepare_at_once_make_one_book(session_settings: Settings) -> None:
    var = session_settings.var.parent / "second"
    var.mkdir(mode=0o755)
    (port,) = free_ports(1)
    settings = session_settings.model_copy(update={"var": var, "postgres_port": port})
    server = EmbeddedDatabase(settings, {"fsync": "off"})
    server.start()
    try:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{PROJECT / 'plugins'}{os.pathsep}{PROJECT}",
            "NOCTURNE_VAR": str(var),
            "NOCTURNE_MASTER_KEY": "5a" * 32,
            "NOCTURNE_POSTGRES_PORT": str(port),
        }
        both = [
            subprocess.Popen(
                [sys.executable, "-c", PREPARE], env=environment, cwd=var, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        said = [process.communicate(timeout=120) for process in both]
        assert [process.returncode for process in both] == [0, 0], said
        assert [out.strip() for out, _ in said] == ["ready", "ready"]
        with connect(settings, database="mlflow") as connection:
            versions = connection.execute("SELECT count(*) FROM alembic_version").fetchone()
            default = connection.execute("SELECT count(*) FROM experiments").fetchone()
        assert (versions, default) == ((1,), (1,))
        assert not list(Path(var).glob("mlruns*")), "MLflow must not leave files where it is called"
    finally:
        server.remove()
