"""The documentation of the marts: dbt's own site, as one file that needs no server and no database."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from nocturne.datasets import DATASETS
from nocturne.errors import BuildFailed
from nocturne.marts.building import environment, quiet
from nocturne.marts.contracts import load_contracts
from nocturne.settings import Settings

_ON_THE_PAGE: Mapping[str, str] = {
    "text-overflow: ellipsis; overflow-x: hidden; white-space: nowrap; max-width: 1px;": "",
    "{{ column.type }}": "{{ column.type || column.data_type }}",
}
"""dbt's page cuts what a column means after some words, and takes types from a database that need not be there."""


def write_docs(settings: Settings, pages: Iterable[tuple[str, str]]) -> Path:
    """Write dbt's site of the project that all tenants share, with every dataset there is; its one file.

    Reads the project, `contracts/` in it (the columns' types, what reads the marts) and `pages`: (name of a docs block, Markdown), of which
    `__overview__` is the first that a reader sees. Works on a copy below `var/docs`: what is only told of marts must not make nights build
    them anew. A re-run writes it again. Raises BuildFailed with what dbt says.
    """
    folder = settings.var / "docs"
    shutil.rmtree(folder / "project", ignore_errors=True)
    project = _copy(settings, folder)
    for name, text in pages:
        (project / "models" / f"{name.strip('_')}.md").write_text(f"{{% docs {name} %}}\n{text}\n{{% enddocs %}}\n", encoding="utf-8")
    _run("parse", project, folder)
    _run("docs", project, folder, "generate", "--static", "--no-compile", "--empty-catalog")
    site = folder / "index.html"
    made = (folder / "target" / "static_index.html").read_text(encoding="utf-8")
    for theirs, ours in _ON_THE_PAGE.items():
        made = made.replace(theirs, ours)
    site.write_text(made, encoding="utf-8")
    return site


def write_manifest(settings: Settings, folder: Path) -> Path:
    """Write dbt's manifest of the shared project into `folder`, without a database: what depends on what, and what is said of it."""
    _run("parse", _copy(settings, folder), folder)
    return folder / "target" / "manifest.json"


def _copy(settings: Settings, folder: Path) -> Path:
    """The project with what only readers need: what reads the marts, and each mart's types and version."""
    project = folder / "project"
    shutil.copytree(settings.dbt_project, project, ignore=shutil.ignore_patterns("target", "logs", "metrics", "contracts"))
    shutil.copy(settings.contracts / "exposures.yml", project / "models")
    contracts = load_contracts(settings.contracts / "marts.yml")
    for path in (project / "models" / "marts").rglob("*.yml"):
        document = _read(path)
        for model in document["models"]:
            contract = contracts.get(model["name"])
            if contract:
                model.setdefault("config", {}).setdefault("meta", {})["version"] = contract.version
                for column in model["columns"]:
                    column["data_type"] = contract.columns.get(column["name"], "")
        _write(path, document)
    _describe_staging(project / "models" / "staging")
    return project


def _describe_staging(folder: Path) -> None:
    """Say of each staging model's columns what the source says of them; what staging makes of them it says itself."""
    sources = _read(folder / "sources.yml")["sources"]
    tables = {table["name"]: table for source in sources for table in source["tables"]}
    document = _read(folder / "staging.yml")
    for model in document["models"]:
        text = (folder / f"{model['name']}.sql").read_text(encoding="utf-8")
        own = {column["name"]: column for column in model.get("columns", ())}
        told = {column["name"]: column for column in tables[_source_of(text)]["columns"]} | own
        model["columns"] = [told.get(name) or {**told.get(made_of, {}), "name": name} for name, made_of in columns_of(text).items()]
    _write(folder / "staging.yml", document)


def _source_of(text: str) -> str:
    """The table of `raw` that a staging model reads."""
    (arguments,) = re.findall(r"(?:read_raw|source)\(([^)]*)\)", text)
    return str(arguments.split(",")[-1].strip(" '"))


def columns_of(text: str) -> dict[str, str]:
    """The columns of a staging model, in its order, with what each is made of: what its `renamed` selects."""
    (selected,) = re.findall(r"renamed as \(\n    select(?: distinct)?\n(.*?)\n    from ", text, re.DOTALL)
    plain = re.sub(r"--[^\n]*|\{[%#].*?[%#]\}", "", selected, flags=re.DOTALL)
    while plain != (outside := re.sub(r"\([^()]*\)", "", plain)):  # commas between parentheses part no columns
        plain = outside
    pairs = (one.strip().rpartition(" as ") for one in plain.split(","))
    return {name: made_of or name for made_of, _, name in pairs}


def _read(path: Path) -> Any:
    return yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _run(command: str, project: Path, folder: Path, *more: str) -> None:
    # The profile names variables that only a connection needs, and nothing here connects.
    names = ("HOST", "PORT", "USER", "DATABASE", "SCHEMA", "THREADS")
    variables = {f"NOCTURNE_DBT_{name}": "1" for name in names} | {"DBT_ENV_SECRET_NOCTURNE_PASSWORD": "none", "DO_NOT_TRACK": "1"}
    with quiet(), environment(variables):
        from dbt.cli.main import dbtRunner

        outcome = dbtRunner().invoke(
            [
                *(command, *more, "--project-dir", str(project), "--profiles-dir", str(project)),
                *("--target-path", str(folder / "target"), "--log-path", str(folder / "logs")),
                *("--vars", f"{{raw_schema: raw, week_start: monday, datasets: [{', '.join(DATASETS)}]}}"),
                *("--quiet", "--log-level", "none", "--no-use-colors", "--no-version-check", "--write-json"),
            ]
        )
    if not outcome.success:
        raise BuildFailed(
            f"dbt could not {command} the project: {outcome.exception or outcome.result}.", next_step="Correct the project and try again."
        )
