"""What is watched stands in the marts as dbt describes them."""

from __future__ import annotations

import pytest
import yaml

from nocturne.insights.metrics import METRICS, PLAYS, Metric
from nocturne.settings import PROJECT


def described() -> set[tuple[str, str]]:
    """(mart, column) of every mart that dbt's YAML describes."""
    files = (PROJECT / "dbt" / "models" / "marts").rglob("*.yml")
    models = [model for path in files for model in yaml.safe_load(path.read_text())["models"]]
    return {(model["name"], column["name"]) for model in models for column in model["columns"]}


@pytest.mark.parametrize("metric", [*METRICS, PLAYS], ids=lambda metric: metric.name)
def test_every_column_that_is_read_is_described(metric: Metric) -> None:
    assert metric.columns <= described()


def test_only_what_adds_up_is_split() -> None:
    assert all(metric.adds_up for metric in METRICS if metric.dimensions)
