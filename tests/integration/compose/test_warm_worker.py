"""Celery's workers load what tasks import before they fork; the scheduler, which reads the same configuration, stays light."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nocturne.errors import SettingsError
from nocturne.orchestration.preload import MODULES
from tests.integration.compose.compose_file import PROJECT, services
from tests.integration.compose.test_compose_file import SECRETS

PROGRAM = """
import gc, json, sys
from airflow.providers.celery.executors.celery_executor_utils import app
from nocturne.orchestration.preload import MODULES

def loaded():
    return sorted(set(MODULES) & set(sys.modules))

before = loaded()
concurrency = app.conf.worker_concurrency
from celery.signals import worker_init
worker_init.send(sender=None)
print(json.dumps({"before": before, "after": loaded(), "frozen": gc.get_freeze_count(), "concurrency": concurrency}))
"""


def test_the_worker_loads_before_it_forks_and_the_scheduler_never(tmp_path: Path) -> None:
    told = services({**SECRETS, "NOCTURNE_WORKER_CONCURRENCY": "7"})["worker"].environment
    environment = {**os.environ, **told, "AIRFLOW_HOME": str(tmp_path)}
    environment |= {"PYTHONPATH": f"{PROJECT / 'plugins'}:{PROJECT}", "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(tmp_path)}
    environment |= {"NOCTURNE_VAR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], env=environment, capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    heavy = {name for name in MODULES if name.split(".")[0] in {"pandas", "dbt", "great_expectations", "lightgbm", "xgboost", "deltalake"}}
    assert not heavy & set(found["before"])
    assert set(found["after"]) == set(MODULES)
    assert found["frozen"] > 100_000
    assert found["concurrency"] == 7


def test_the_operators_account_needs_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    from nocturne.orchestration.accounts import main

    monkeypatch.setenv("AIRFLOW_ADMIN_PASSWORD", "")
    with pytest.raises(SettingsError, match="AIRFLOW_ADMIN_PASSWORD is not set"):
        main()
