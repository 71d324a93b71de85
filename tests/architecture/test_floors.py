"""Imports only go down, stations never import each other, and each heavy library has one door: as `pyproject.toml` declares it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nocturne.settings import PROJECT

CONTRACTS = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
DOORS = {
    "airflow": "nocturne.orchestration",
    "adbc_driver_postgresql": "nocturne.postgres",
    "confluent_kafka": "nocturne.landing.kafka",
    "dbt": "nocturne.marts",
    "deltalake": "nocturne.lake",
    "duckdb": "nocturne.lake",
    "great_expectations": "nocturne.gates",
    "kaleido": "nocturne.reports",
    "lightgbm": "ml.trees",
    "mlflow": "ml.registry",
    "optuna": "ml.training",
    "plotly": "nocturne.reports",
    "psycopg": "nocturne.postgres",
    "redis": "nocturne.landing.redis_streams",
    "weasyprint": "nocturne.reports",
    "xgboost": "ml.trees",
}


def lint(root: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of the project at `root`."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--cache-dir",
            str(cache),
            "--no-logo",
        ],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root / 'plugins'}:{root}", "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_the_contracts_are_kept(cache: Path) -> None:
    done = lint(PROJECT, cache)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in done.stdout


def test_what_goes_up_sideways_or_around_a_door_is_found(cache: Path, tmp_path: Path) -> None:
    """The same contracts over a copy with one wrong import of each kind."""
    for folder in ("plugins", "ml"):
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    wrong = {
        "plugins/nocturne/errors.py": ("import nocturne.tenants", "The floors of the house"),
        "plugins/nocturne/insights/__init__.py": ("import nocturne.alerts", "The floors of the house"),
        "plugins/nocturne/unheard_of.py": ("import json", "The floors of the house"),
        "plugins/nocturne/alerts/__init__.py": ("import ml.problem", "ml stands beside the stations"),
        "ml/drift.py": ("import ml.training", "The floors of ml"),
        "plugins/nocturne/simulator/__init__.py": ("import nocturne.lake", "The simulator knows declarations"),
        "plugins/nocturne/receipts.py": ("import duckdb", "The door to Delta and DuckDB"),
        "plugins/nocturne/ledger.py": ("import psycopg", "The door to PostgreSQL"),
    }
    for path, (line, _) in wrong.items():
        with (tmp_path / path).open("a") as file:
            file.write(f"\n{line}\n")
    done = lint(tmp_path, cache)
    assert done.returncode == 1
    for path, (line, contract) in wrong.items():
        assert f"{contract}" in done.stdout.partition("Broken contracts")[2], path
        words = line.split()[-1]
        assert words in done.stdout or Path(path).stem in done.stdout


def test_every_room_that_opens_a_heavy_library_is_its_only_door() -> None:
    declared = {
        library: tuple(contract["allowed_importers"])
        for contract in CONTRACTS
        if contract["type"] == "protected"
        for library in contract["protected_modules"]
    }
    # A contract on a library that nobody imports is an error of import-linter's, so a door is declared when its room is there.
    expected = {library: (room,) for library, room in DOORS.items() if room_exists(room)}
    assert {library: rooms for library, rooms in declared.items() if library in DOORS} == expected


def room_exists(room: str) -> bool:
    path = PROJECT / ("plugins" if room.startswith("nocturne") else ".") / Path(*room.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


@pytest.mark.parametrize(
    ("module", "is_light_without"),
    [
        ("nocturne.cli", {"pydantic", "yaml", "rich"}),
        ("nocturne.tenants", {"sqlglot", "pyarrow", "duckdb", "psycopg", "rich"}),
        ("nocturne.orchestration.catalogue", {"airflow", "psycopg", "sqlglot"}),
        ("nocturne.landing", {"httpx", "pyarrow", "duckdb", "pandas", "confluent_kafka", "redis"}),
        ("nocturne.ledger", {"alembic", "sqlalchemy", "pyarrow"}),
    ],
)
def test_what_every_process_imports_is_light(module: str, is_light_without: set[str]) -> None:
    heavy = is_light_without | {
        "great_expectations",
        "mlflow",
        "sklearn",
        "xgboost",
        "lightgbm",
        "plotly",
        "weasyprint",
        "optuna",
        "dbt",
        "deltalake",
    }
    code = f"import sys, {module}; print(*(name for name in sys.modules if '.' not in name))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": f"{PROJECT}/plugins:{PROJECT}"}
    )
    assert not heavy & set(done.stdout.split())
