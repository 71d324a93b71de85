"""The documentation: one file, made without a database, that holds every mart with its types, every metric, and what reads the marts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nocturne.errors import BuildFailed
from nocturne.marts.contracts import load_contracts
from nocturne.marts.documentation import columns_of, write_docs, write_manifest
from nocturne.metrics import load_catalogue, telling
from nocturne.settings import PROJECT, load_settings


def test_the_site_is_one_file_and_needs_no_database(tmp_path: Path) -> None:
    settings = load_settings(var=tmp_path, project=PROJECT, postgres_port=1)
    catalogue = load_catalogue(settings.metrics, settings.dbt_project)
    overview = telling.overview(catalogue)
    site = write_docs(settings, [("__overview__", overview)])
    assert site == tmp_path / "docs" / "index.html"
    text = site.read_text()
    for name in catalogue.metrics:
        assert f"`{name}` v" in text, name
    for name in load_contracts(settings.contracts / "marts.yml"):
        assert f"model.nocturne.{name}" in text, name
    assert "exposure.nocturne.report_listening" in text
    assert '"data_type": "numeric(24,6)"' in text.replace('\\"', '"')
    assert "{{ column.type || column.data_type }}" in text
    assert "white-space: nowrap; max-width: 1px;" not in text
    assert not list((PROJECT / "dbt").rglob("overview.md")), "the project itself is left as it is: nights would build everything anew"


def test_every_column_of_staging_is_described_and_typed(tmp_path: Path) -> None:
    manifest = json.loads(write_manifest(load_settings(var=tmp_path, project=PROJECT), tmp_path).read_text())
    models = {node["name"]: node["columns"] for node in manifest["nodes"].values() if node["name"].startswith("stg_")}
    assert len(models) > 25
    for name, columns in models.items():
        selected = columns_of((PROJECT / "dbt" / "models" / "staging" / f"{name}.sql").read_text())
        assert list(columns) == list(selected)
        assert [column for column, said in columns.items() if not (said["description"] and said["data_type"])] == [], name
    assert models["stg_reconciliation"]["delivered_count"]["description"] == "Rows in the delivered files."
    assert columns_of("renamed as (\n    select\n        a,\n        coalesce(b, 0) as b,\n        c + f(d, e) as g\n    from source") == {
        "a": "a", "b": "coalesce", "g": "c + f",
    }  # fmt: skip


def test_every_metric_has_a_row_with_links_to_its_marts() -> None:
    catalogue = load_catalogue(PROJECT / "dbt" / "metrics", PROJECT / "dbt")
    rows = [line for line in telling.overview(catalogue).splitlines() if line.startswith("| `") and "` v" in line]
    assert len(rows) == len(catalogue.metrics)
    assert {row.count(" | ") for row in rows} == {4}
    (row,) = [row for row in rows if row.startswith("| `market_share`")]
    assert "[holder_days](#!/model/model.nocturne.holder_days)" in row
    assert "share: of held_streams" in row


def test_a_project_that_is_wrong_is_told_of(tmp_path: Path) -> None:
    settings = load_settings(var=tmp_path, project=PROJECT)
    with pytest.raises(BuildFailed, match="could not parse the project"):
        write_docs(settings, [("__overview__", "{{ doc('nowhere') }}{% enddocs %}{% docs x %}{% docs y %}")])
