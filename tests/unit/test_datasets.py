"""The catalogue of datasets: every declaration is whole, and the forms that are made of it agree."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from nocturne.datasets import DATASETS, Column, Dataset, Personal, Type, row_model

EVERY = pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)


def a_value(column: Column) -> Any:
    """A value that the column takes."""
    if column.accepted:
        return column.accepted[0]
    if column.code:
        return next(text for text in ("FR", "EUR", "FRABC2600001", "T0345246801", "036000291452") if column.code.is_right(text))
    at_least = column.minimum or 0
    return {
        Type.TEXT: "x",
        Type.INTEGER: int(at_least),
        Type.NUMBER: float(at_least),
        Type.MONEY: Decimal("1.25"),
        Type.BOOLEAN: True,
        Type.INSTANT: datetime(2026, 1, 2, tzinfo=UTC),
        Type.DATE: date(2026, 1, 2),
    }[column.type]


@EVERY
def test_names_follow_the_grammar(dataset: Dataset) -> None:
    forms = {Type.INSTANT: r".*_at", Type.DATE: r".*_on", Type.BOOLEAN: r"(is|has)_.*", Type.MONEY: r"(.*_)?amount"}
    for column in dataset.columns:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
        assert re.fullmatch(forms.get(column.type, ".*"), column.name)
        assert column.description.endswith("."), column.name


@EVERY
def test_an_event_has_an_instant_that_its_date_comes_from(dataset: Dataset) -> None:
    if dataset.kind == "reference":
        assert dataset.event_date is None
        return
    instant = dataset.by_name[dataset.instant or ""]
    assert instant.required
    assert instant.type in (Type.INSTANT, Type.DATE)
    assert (dataset.event_date, Type.DATE) in [(name, kind) for name, kind, _ in dataset.silver_columns]


@EVERY
def test_the_key_identifies_and_is_always_there(dataset: Dataset) -> None:
    silver = [name for name, _, _ in dataset.silver_columns]
    assert len(silver) == len(set(silver))
    assert set(dataset.silver_key) <= set(silver)
    assert all(dataset.by_name[name].required for name in dataset.key)
    assert silver[-1] == "received_on"


@EVERY
def test_what_names_a_person_does_not_pass_silver(dataset: Dataset) -> None:
    silver = {name for name, _, _ in dataset.silver_columns}
    for column in dataset.columns:
        if column.personal in (Personal.DIRECT, Personal.IDENTIFIER):
            assert column.name not in silver
    told = {"email", "name", "address", "phone", "listener_id", "user_id"}
    assert not told & silver


@EVERY
def test_the_warehouse_has_the_columns_of_silver(dataset: Dataset) -> None:
    assert [name for name, _, _ in dataset.postgres_columns] == [name for name, _, _ in dataset.silver_columns]
    assert {kind for _, kind, _ in dataset.postgres_columns} <= {
        "text", "bigint", "double precision", "numeric(18,6)", "boolean", "timestamptz", "date"
    }  # fmt: skip


@EVERY
def test_a_row_is_judged_alike_by_the_model_and_by_the_json_schema(dataset: Dataset) -> None:
    model, schema = row_model(dataset.name), jsonschema.Draft202012Validator(dataset.json_schema())

    def both(row: dict[str, Any]) -> bool:
        try:
            dumped = model.model_validate(row).model_dump_json()
        except ValidationError:
            return False
        assert schema.is_valid(json.loads(dumped))
        return True

    row = {column.name: a_value(column) for column in dataset.columns}
    assert both(row)
    assert both({column.name: row[column.name] for column in dataset.columns if column.required})
    assert not both(row | {"unheard_of": 1})
    assert not schema.is_valid({"unheard_of": 1})
    for column in dataset.columns:
        without = {name: value for name, value in row.items() if name != column.name}
        assert both(without) is not column.required
        wrong = [*(["no such word"] if column.accepted or column.code else [])]
        wrong += [column.minimum - 1] if column.minimum is not None else []
        wrong += [column.maximum + 1] if column.maximum is not None else []
        for value in wrong:
            assert not both(row | {column.name: value}), f"{column.name} takes {value}"
            assert not schema.is_valid(without | {column.name: value})


@pytest.mark.parametrize(
    ("kind", "key", "instant", "columns"),
    [
        ("event", ("a_id",), None, "no instant"),
        ("reference", ("a_id",), "made_at", "an instant"),
        ("event", ("b_id",), "made_at", "no such key"),
        ("event", ("maybe",), "made_at", "a key that may be missing"),
        ("event", ("a_id",), "no_at", "no such instant"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(kind: Any, key: tuple[str, ...], instant: str | None, columns: str) -> None:
    made = (
        Column("a_id", Type.TEXT, "An id.", required=True),
        Column("made_at", Type.INSTANT, "An instant.", required=True),
        Column("maybe", Type.TEXT, "A word."),
    )
    with pytest.raises(ValueError, match="dataset things"):
        Dataset("things", kind, "Things.", key, made, instant=instant)


def test_a_column_stands_once() -> None:
    with pytest.raises(ValueError, match="dataset things"):
        Dataset("things", "reference", "Things.", ("a_id",), (Column("a_id", Type.TEXT, "An id.", required=True),) * 2)
