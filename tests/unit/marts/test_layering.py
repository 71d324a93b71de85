"""What dbt's manifest must say: layers read downwards only, every mart tells its columns and its grain, and what reads marts is told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from nocturne.marts.contracts import described, load_contracts
from nocturne.marts.documentation import write_manifest
from nocturne.metrics import load_catalogue
from nocturne.reports.queries import QUERIES
from nocturne.settings import PROJECT, load_settings

DBT = PROJECT / "dbt"
EXPOSURES = yaml.safe_load((PROJECT / "dbt" / "contracts" / "exposures.yml").read_text())["exposures"]
MAY_READ = {"staging": {"source"}, "intermediate": {"staging", "intermediate", "marts"}, "marts": {"staging", "intermediate", "marts"}}
Nodes = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Nodes]:
    """Of the project that all tenants share, parsed anew: no database is there."""
    path = write_manifest(load_settings(project=PROJECT), tmp_path_factory.mktemp("manifest"))
    document: dict[str, Nodes] = json.loads(path.read_text())
    return document


@pytest.fixture(scope="module")
def models(manifest: dict[str, Nodes]) -> Nodes:
    return {name: node for name, node in manifest["nodes"].items() if node["resource_type"] == "model"}


def layer(name: str, models: Mapping[str, Any]) -> str:
    return "source" if name.startswith("source.") else str(models[name]["fqn"][1])


def upward(models: Nodes) -> list[str]:
    """Every model that reads what its layer may not."""
    return [
        f"{node['name']} ({layer(name, models)}) reads {read}"
        for name, node in models.items()
        for read in node["depends_on"]["nodes"]
        if layer(read, models) not in MAY_READ[layer(name, models)]
    ]


def test_layers_read_downwards_only(models: Nodes) -> None:
    assert len(models) > 60
    assert upward(models) == []


def test_a_mart_that_reads_a_source_would_be_found(models: Nodes) -> None:
    name = "model.nocturne.activity_days"
    wrong = models | {name: models[name] | {"depends_on": {"nodes": ["source.nocturne.raw.plays"]}}}
    assert upward(wrong) == ["activity_days (marts) reads source.nocturne.raw.plays"]


def test_every_mart_is_public_and_of_a_group_with_an_owner(manifest: dict[str, Nodes], models: Nodes) -> None:
    groups = {node["name"]: node["owner"]["name"] for node in manifest["groups"].values()}
    for name, node in models.items():
        if layer(name, models) == "marts":
            assert (node["access"], node["group"]) == ("public", node["fqn"][2]), name
            assert groups[node["group"]]
        else:
            assert (node["access"], node["group"]) == ("protected", None), name


def test_every_model_says_what_it_is_and_the_grain_comes_last(models: Nodes) -> None:
    """Those of staging are told in `staging.yml`: a line each."""
    assert [node["name"] for node in models.values() if not re.search(r"One row an? [^.]+\.$", node["description"].strip())] == []


def test_every_column_of_a_mart_and_of_a_step_says_what_it_means(models: Nodes) -> None:
    """Those of staging are told at the source."""
    for name, node in models.items():
        if layer(name, models) != "staging":
            assert node["columns"], name
            assert [column for column, told in node["columns"].items() if not told["description"].strip()] == [], name


def test_every_column_of_a_source_says_what_it_means(manifest: dict[str, Nodes]) -> None:
    for name, node in manifest["sources"].items():
        assert node["columns"], name
        assert [column for column, told in node["columns"].items() if not told["description"].strip()] == [], name


def test_what_is_promised_is_what_is_described(models: Nodes) -> None:
    """Of each mart the columns, its grain and its version; the types are held where the marts are built."""
    promised, told = load_contracts(PROJECT / "dbt" / "contracts" / "marts.yml"), described(DBT)
    marts = {node["name"]: set(node["columns"]) for name, node in models.items() if layer(name, models) == "marts"}
    assert {mart: set(one.columns) for mart, one in promised.items()} == marts, "`make contracts` writes what is new"
    assert {mart: (one.version, one.grain) for mart, one in promised.items()} == told


def test_every_model_is_made_where_its_metrics_look(models: Nodes) -> None:
    names = {node["name"] for name, node in models.items() if layer(name, models) == "marts"}
    catalogue = load_catalogue(PROJECT / "dbt" / "metrics", DBT)
    assert {source.mart.name for metric in catalogue.metrics.values() for source in metric.sources} <= names


# what reads the marts ------------------------------------------------------------------------------------------------------------------
def marts_read(code: Path) -> set[str]:
    """The marts that some code reads: a chapter by its subjects, other code by its SQL and its tables of names."""
    text = "\n".join(path.read_text() for path in ([code] if code.is_file() else sorted(code.glob("*.py"))))
    if "reports/chapters" in code.as_posix():
        needs = {query.subject: [name for name in query.needs if not name.startswith("ml.")] for query in QUERIES}
        return {mart for subject in re.findall(r'(?:rows|has)\("([a-z_]+)"', text) for mart in needs.get(subject, ())}
    named = r'FROM {0}\b|JOIN {0}\b|FROM \{{\w+\}}\.{0}\b|^\s*"{0}",?$|\("[\w ]+", "[\w ]+", "{0}"|Dimension\("\w+", "{0}"|columns\("{0}"\)|\.{0} '
    return {mart for mart in described(DBT) if re.search(named.format(mart), text, re.MULTILINE)}


@pytest.mark.parametrize("exposure", EXPOSURES, ids=lambda exposure: exposure["name"])
def test_an_exposure_names_the_marts_that_its_code_reads(exposure: dict[str, Any]) -> None:
    declared = set(re.findall(r"ref\('(\w+)'\)", " ".join(exposure["depends_on"])))
    assert declared == marts_read(PROJECT / exposure["meta"]["code"])


def test_every_page_model_and_insight_is_an_exposure() -> None:
    told = {exposure["meta"]["code"] for exposure in EXPOSURES}
    chapters = [path for path in (PROJECT / "plugins" / "nocturne" / "reports" / "chapters").glob("*.py") if marts_read(path)]
    problems = [path.parent for path in (PROJECT / "ml").glob("*/features.py")]
    assert {path.relative_to(PROJECT).as_posix() for path in [*chapters, *problems]} | {"plugins/nocturne/insights"} == told
