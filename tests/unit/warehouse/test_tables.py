"""The warehouse's tables follow the declarations of the datasets, and dbt's source file follows the tables."""

from __future__ import annotations

import pytest
import yaml

from nocturne.datasets import DATASETS
from nocturne.settings import PROJECT
from nocturne.warehouse.sources import source_yaml
from nocturne.warehouse.tables import FACTS, Warehoused, _changes, table_of

Standing = dict[str, tuple[str, str | None]]
"""Column -> (PostgreSQL's name of its type, comment), as the catalogue tells it."""


def text(table: Warehoused, there: Standing | None) -> list[str]:
    return [change.as_string(None) for change in _changes(table, there, "some_raw")]


def stands(table: Warehoused) -> Standing:
    columns = {name: (kind.replace("timestamptz", "timestamp with time zone"), told) for name, kind, told in table.columns}
    return {"": ("", table.description), **columns}


def test_the_source_file_in_the_project_is_what_the_declarations_say() -> None:
    assert (PROJECT / "dbt/models/staging/sources.yml").read_text() == source_yaml()


def test_every_dataset_is_a_source_with_its_columns_types_and_descriptions() -> None:
    (source,) = yaml.safe_load(source_yaml())["sources"]
    tables = {table["name"]: table for table in source["tables"]}
    assert tables.keys() == DATASETS.keys() | {table.name for table in FACTS}
    for dataset in DATASETS.values():
        told = [(column["name"], column["data_type"], column["description"]) for column in tables[dataset.name]["columns"]]
        assert told == list(dataset.postgres_columns)


def test_an_events_table_is_found_by_date_and_listener() -> None:
    assert table_of(DATASETS["plays"]).index == ("played_on", "listener_key")
    assert table_of(DATASETS["statements"]).index == ("period_ends_on",)
    assert table_of(DATASETS["tracks"]).index == ()


def test_identifiers_and_names_of_people_are_no_columns() -> None:
    names = {name for name, _, _ in table_of(DATASETS["listeners"]).columns}
    assert "listener_key" in names
    assert not names & {"listener_id", "name", "email"}


@pytest.mark.parametrize("table", [*FACTS, *map(table_of, DATASETS.values())], ids=lambda table: table.name)
def test_a_table_that_stands_as_declared_is_left_alone(table: Warehoused) -> None:
    assert text(table, stands(table)) == []


def test_a_missing_table_is_made_with_indexes_and_comments() -> None:
    made = text(table_of(DATASETS["plays"]), None)
    assert made[0].startswith('CREATE TABLE "some_raw"."plays" ("play_id" text, "played_at" timestamptz')
    assert made[1] == 'CREATE INDEX ON "some_raw"."plays" ("played_on", "listener_key")'
    assert 'COMMENT ON COLUMN "some_raw"."plays"."play_id" IS \'The source\'\'s identifier of the attempt.\'' in made


def test_a_date_stands_once_in_the_list_of_touched_dates_also_where_there_is_none() -> None:
    (touched,) = (table for table in FACTS if table.name == "_touched")
    assert 'CREATE UNIQUE INDEX ON "some_raw"."_touched" ("dataset", "event_on") NULLS NOT DISTINCT' in text(touched, None)


def test_a_new_column_is_added_and_a_changed_meaning_is_told() -> None:
    plays = table_of(DATASETS["plays"])
    there = stands(plays)
    del there["tier"]
    there["country"] = "text", "Something else."
    changes = text(plays, there)
    assert changes[0] == 'ALTER TABLE "some_raw"."plays" ADD COLUMN "tier" text'
    assert [change.split(" IS ")[0] for change in changes[1:]] == [
        'COMMENT ON COLUMN "some_raw"."plays"."country"',
        'COMMENT ON COLUMN "some_raw"."plays"."tier"',
    ]


def test_a_column_of_another_type_is_made_anew_with_its_comment() -> None:
    plays = table_of(DATASETS["plays"])
    there = stands(plays) | {"ms_played": ("text", {name: told for name, _, told in plays.columns}["ms_played"])}
    changes = text(plays, there)
    assert changes[:2] == [
        'ALTER TABLE "some_raw"."plays" DROP COLUMN "ms_played" CASCADE',
        'ALTER TABLE "some_raw"."plays" ADD COLUMN "ms_played" bigint',
    ]
    assert [change.split(" IS ")[0] for change in changes[2:]] == ['COMMENT ON COLUMN "some_raw"."plays"."ms_played"']
