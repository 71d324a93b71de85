"""What dbt's project promises: every mart says its grain, every column its meaning, and everything hangs on the tenant's constants alone."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from nocturne.datasets import DATASETS
from nocturne.marts.builds import fingerprint_of
from nocturne.settings import PROJECT
from nocturne.tenants import Tenant

DBT = PROJECT / "dbt"
MARTS = sorted((DBT / "models" / "marts").rglob("*.sql"))
INCREMENTAL = [path for path in MARTS if "unique_key=" in path.read_text()]
DOMAINS = {"engagement", "content", "artists", "subscriptions", "revenue", "rights", "audience", "acquisition", "operations"}


@cache
def described() -> dict[str, dict[str, Any]]:
    found = {}
    for path in (DBT / "models" / "marts").rglob("*.yml"):
        for model in yaml.safe_load(path.read_text())["models"]:
            found[model["name"]] = model
    return found


def tenant(**more: Any) -> Tenant:
    declared = {
        "slug": "some",
        "name": "Some",
        "time_zone": "Europe/Paris",
        "currency": "EUR",
        "begins_on": "2026-01-01",
        "sources": [{"name": "plays", "dataset": "plays", "kind": "files", "location": "plays/{day}.ndjson"}],
    }
    return Tenant.model_validate(declared | more)


def test_every_mart_is_described_and_nothing_else_is() -> None:
    assert described().keys() == {path.stem for path in MARTS}


def test_marts_stand_in_folders_of_domains() -> None:
    assert {path.parent.name for path in MARTS} <= DOMAINS


@pytest.mark.parametrize("name", sorted(described()))
def test_a_mart_says_its_grain_last_and_what_each_column_means(name: str) -> None:
    model = described()[name]
    assert re.search(r"One row an? [^.]+\.$", model["description"].strip())
    assert all(column["description"].strip() for column in model["columns"])
    (test,) = model["data_tests"]
    assert set(test["grain"]["arguments"]["key"]) <= {column["name"] for column in model["columns"]}


@pytest.mark.parametrize("path", INCREMENTAL, ids=lambda path: path.stem)
def test_the_key_of_an_incremental_mart_is_the_grain_that_is_tested(path: Path) -> None:
    found = re.search(r"unique_key=(\[[^\]]*\]|'[^']*')", path.read_text())
    key = re.findall(r"'([a-z_]+)'", found.group(1)) if found else None
    assert key == described()[path.stem]["data_tests"][0]["grain"]["arguments"]["key"]


@pytest.mark.parametrize("path", MARTS, ids=lambda path: path.stem)
def test_a_unique_index_stands_on_the_grain_of_every_mart(path: Path) -> None:
    """It is what refuses a second row of a key by night, and what publishing knows a row by."""
    (columns,) = re.findall(r"\{'columns': (\[[^\]]*\]), 'unique': true", path.read_text())
    assert re.findall(r"'([a-z0-9_]+)'", columns) == described()[path.stem]["data_tests"][0]["grain"]["arguments"]["key"]


@pytest.mark.parametrize("path", sorted((DBT / "models" / "staging").glob("*.sql")), ids=lambda path: path.stem)
def test_a_staging_model_is_source_renamed_select(path: Path) -> None:
    text = path.read_text()
    assert re.match(r"with source as \(.*?\),\n\nrenamed as \(.*\)\n\nselect \* from renamed\n$", text, re.DOTALL)


def test_only_staging_reads_sources() -> None:
    others = [path for path in (DBT / "models").rglob("*.sql") if path.parent.name != "staging"]
    assert [path.stem for path in others if re.search(r"source\(|read_raw\(", path.read_text())] == []


def test_money_is_numeric() -> None:
    for path in MARTS:
        for amount in re.findall(r"^    .*_amount.*,?$", path.read_text().rsplit("\nselect\n", 1)[-1], re.MULTILINE):
            assert "double precision" not in amount, f"{path.stem}: {amount}"


def test_the_projects_own_list_of_datasets_names_real_ones() -> None:
    listed = yaml.safe_load((DBT / "dbt_project.yml").read_text())["vars"]["datasets"]
    assert set(listed) <= DATASETS.keys()


def test_no_package_and_no_python_stand_in_the_project() -> None:
    assert not [path for name in ("packages.yml", "dependencies.yml", "__init__.py") for path in DBT.rglob(name)]


def test_the_profile_holds_names_of_variables_alone() -> None:
    profile = yaml.safe_load((DBT / "profiles.yml").read_text())["nocturne"]["outputs"]["tenant"]
    for name in ("host", "port", "user", "password", "dbname", "schema"):
        assert profile[name].startswith("{{ env_var('")
    assert "DBT_ENV_SECRET_" in profile["password"]


def test_the_fingerprint_follows_code_and_constants_and_not_what_changes_by_night() -> None:
    same = fingerprint_of(tenant(), DBT)
    assert fingerprint_of(tenant(name="Another", owner="someone"), DBT) == same
    assert fingerprint_of(tenant(rules={"stream_min_ms": 20_000}), DBT) == same
    for changed in ({"currency": "USD"}, {"week_start": "sunday"}, {"begins_on": "2026-01-02"}, {"sees_whole_market": True}):
        assert fingerprint_of(tenant(**changed), DBT) != same


def test_the_fingerprint_follows_every_file_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "one.sql").write_text("select 1")
    before = fingerprint_of(tenant(), tmp_path)
    (tmp_path / "models" / "one.sql").write_text("select 2")
    changed = fingerprint_of(tenant(), tmp_path)
    (tmp_path / "models" / "one.sql").rename(tmp_path / "models" / "two.sql")
    assert len({before, changed, fingerprint_of(tenant(), tmp_path)}) == 3


def test_what_is_only_said_of_marts_makes_no_build_whole(tmp_path: Path) -> None:
    before = fingerprint_of(tenant(), tmp_path)
    for folder in ("metrics", "contracts"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "new.yml").write_text("metrics: []")
    assert fingerprint_of(tenant(), tmp_path) == before
