"""Queries read what dbt declares: a renamed column fails here, and does not silently cost a report its page."""

from __future__ import annotations

import yaml

from benchmarks.report_marts import TABLES
from nocturne.reports.queries import QUERIES
from nocturne.settings import PROJECT


def declared() -> dict[str, set[str]]:
    """The columns of each mart, as its YAML describes them."""
    files = (PROJECT / "dbt" / "models" / "marts").rglob("*.yml")
    models = [model for path in files for model in (yaml.safe_load(path.read_text()) or {}).get("models", [])]
    return {model["name"]: {column["name"] for column in model.get("columns", [])} for model in models}


def test_every_column_that_a_query_needs_is_declared_by_its_mart() -> None:
    marts = declared()
    missing = [
        f"{query.subject}: {table}.{column}"
        for query in QUERIES
        for table, columns in query.needs.items()
        if not table.startswith("ml.")
        for column in columns.split()
        if column not in marts.get(table, set())
    ]
    assert missing == []


def test_the_made_up_marts_have_no_column_that_the_real_ones_lack() -> None:
    marts = declared()
    for table, columns in TABLES.items():
        if not table.startswith("ml."):
            assert {column.split()[0] for column in columns.split(", ")} <= marts[table], table


def test_each_subject_is_read_once() -> None:
    assert len({query.subject for query in QUERIES}) == len(QUERIES)
