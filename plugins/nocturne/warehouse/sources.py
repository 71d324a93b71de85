"""dbt's description of the warehouse, written from the declarations: `dbt/models/staging/sources.yml`."""

from __future__ import annotations

from nocturne.datasets import DATASETS
from nocturne.warehouse.tables import FACTS, Warehoused, table_of

_HEAD = """\
# Written from the declarations of the datasets by `python -m nocturne.warehouse.sources > dbt/models/staging/sources.yml`; a test holds
# the two equal. Change the declarations, not this file.
version: 2

sources:
  - name: raw
    description: A tenant's silver in PostgreSQL, and its own declarations.
    schema: "{{ var('raw_schema') }}"
    tables:
"""


def source_yaml() -> str:
    """The text of dbt's source file: every table that a warehouse may hold, with types and descriptions."""
    tables = [*FACTS, *(table_of(dataset) for dataset in DATASETS.values())]
    return _HEAD + "".join(map(_table, tables))


def _table(table: Warehoused) -> str:
    columns = "".join(
        f"          - name: {name}\n            data_type: {kind}\n            description: {_quoted(text)}\n"
        for name, kind, text in table.columns
    )
    return f"      - name: {table.name}\n        description: {_quoted(table.description)}\n        columns:\n{columns}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


if __name__ == "__main__":
    print(source_yaml(), end="")  # noqa: T201
