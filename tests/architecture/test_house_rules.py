"""What holds for every file: names, where tenants' names may stand, and what Airflow must not run."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nocturne.settings import PROJECT

CODE = ("plugins", "ml", "dags", "dbt", "benchmarks")
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "manager", "managers", "misc", "lib", "core", "shared"}
NOT_OURS = {".git", "var", "__pycache__", "node_modules", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}


def files(*folders: str, endings: tuple[str, ...]) -> Iterator[Path]:
    """Every file of the project below these folders (none: everywhere) with one of these endings."""
    for start in [PROJECT / folder for folder in folders] or [PROJECT]:
        for folder, below, names in os.walk(start):
            below[:] = sorted(set(below) - NOT_OURS)
            yield from (Path(folder, name) for name in sorted(names) if name.endswith(endings))


def name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def test_no_module_has_a_name_that_says_nothing() -> None:
    found = [name(path) for path in files(*CODE, "tests", endings=(".py", ".sql")) if {path.stem, *path.parent.parts[-3:]} & VAGUE]
    assert found == []


def test_no_tenants_name_stands_in_code_or_sql() -> None:
    slugs = sorted(path.stem for path in (PROJECT / "dags" / "tenants").glob("*.yml"))
    assert slugs, "the demo has tenants"
    pattern = re.compile(rf"(?<![a-z0-9])({'|'.join(slugs)})(?![a-z0-9])", re.IGNORECASE)
    found = [
        f"{name(path)}:{number}: {line.strip()}"
        for path in files(*CODE, endings=(".py", ".sql", ".html", ".css", ".j2"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []


def test_airflow_runs_no_file_of_the_workshop() -> None:
    """Airflow runs every .py below plugins/ under its bare file name: statistics.py would replace the standard library's."""
    ignored = (PROJECT / "plugins" / ".airflowignore").read_text().split()
    assert ignored == ["nocturne/"]
    outside = {name(path) for path in files("plugins", endings=(".py",)) if path.relative_to(PROJECT).parts[1] != "nocturne"}
    assert outside <= {"plugins/nocturne_plugin.py"}


def test_airflow_looks_for_dags_in_dag_files_alone() -> None:
    assert (PROJECT / "dags" / ".airflowignore").read_text().split() == ["tenants/"]
    for path in files("dags", endings=(".py",)):
        text = path.read_text().lower()
        assert "dag" in text, f"{name(path)}: without this word Airflow skips the file without an error"
        assert "airflow" in text, f"{name(path)}: without this word Airflow skips the file without an error"


def test_the_folder_dbt_is_no_package() -> None:
    assert not list((PROJECT / "dbt").rglob("__init__.py")), "it would stand in the way of `import dbt`"


def test_no_error_is_swallowed() -> None:
    found = []
    for path in files("plugins", "ml", "dags", endings=(".py",)):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and all(isinstance(part, (ast.Pass, ast.Continue)) for part in node.body):
                caught = ast.unparse(node.type) if node.type else "everything"
                if caught in {"everything", "Exception", "BaseException"}:
                    found.append(f"{name(path)}:{node.lineno}")
    assert found == []


def test_every_module_says_what_it_is() -> None:
    missing = [
        name(path) for path in files("plugins", "ml", "dags", endings=(".py",)) if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert missing == []


@pytest.mark.parametrize("words", [("TO" + "DO", "FIX" + "ME", "X" + "XX"), ("/ro" + "ot/", "/ho" + "me/", "/wo" + "rk/")])
def test_nothing_is_left_for_later_and_no_machine_is_named(words: tuple[str, ...]) -> None:
    endings = (".py", ".sql", ".yml", ".yaml", ".toml", ".md", ".html", ".css", ".j2", ".env", ".cfg", ".ini")
    found = [
        f"{name(path)}:{number}: {line.strip()[:80]}"
        for path in files(endings=endings)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if any(re.search(rf"(?<![\w]){re.escape(word)}", line) for word in words)
    ]
    assert found == []


def test_every_room_is_entered_by_some_test() -> None:
    rooms = {path.stem for path in (PROJECT / "plugins" / "nocturne").iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms -= {"__init__", "__pycache__", "migrations"}
    told = "\n".join(path.read_text(encoding="utf-8") for path in files("tests", endings=(".py",)))
    assert [room for room in sorted(rooms) if not re.search(rf"(from|import) nocturne(\.| import (\w+, )*){room}\b", told)] == []
