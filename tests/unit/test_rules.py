"""The rules of silver are those of the dataset's declaration, as the pydantic model of a row tells them too."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from nocturne.datasets import DATASETS, Column, Dataset, Type, row_model
from nocturne.lake import Connection, duck
from nocturne.rules import is_bad, kind_of, reasons
from nocturne.settings import Settings

Row = dict[str, Any]
DAY = date(2026, 3, 1)
_ARROW = {
    Type.TEXT: pa.string(), Type.INTEGER: pa.int64(), Type.NUMBER: pa.float64(), Type.MONEY: pa.decimal128(18, 6),
    Type.BOOLEAN: pa.bool_(), Type.INSTANT: pa.timestamp("us", "UTC"), Type.DATE: pa.date32(),
}  # fmt: skip


@pytest.fixture(scope="module")
def connection(session_settings: Settings) -> Iterator[Connection]:
    """One DuckDB for all questions."""
    with duck(session_settings) as opened:
        yield opened


def ask(connection: Connection, dataset: Dataset, rows: list[Row]) -> list[tuple[bool, list[str]]]:
    """(is bad, reasons) of each row; a row is our columns (codes as bronze conforms them), `_problems`, `_event_on`, `_received_on`."""
    ours = {"_problems": pa.list_(pa.string()), "_event_on": pa.date32(), "_received_on": pa.date32()}
    kinds = ours | {column.name: _ARROW[column.type] for column in dataset.columns}
    columns = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()}
    connection.register("given", pa.table(columns | {"place": range(len(rows))}))
    codes = ", ".join(f"{column.code.conform_sql(column.name)} AS {column.name}" for column in dataset.columns if column.code)
    conformed = f"SELECT * REPLACE ({codes}) FROM given" if codes else "FROM given"
    return connection.execute(f"SELECT {is_bad(dataset)}, {reasons(dataset)} FROM ({conformed}) ORDER BY place").fetchall()


def placed(dataset: Dataset, row: Row) -> Row:
    """A row as bronze holds one without problems."""
    instant = row.get(dataset.instant) if dataset.instant else None
    day = instant.date() if isinstance(instant, datetime) else instant
    return {"_problems": [], "_event_on": day, "_received_on": date(9000, 1, 1), **row}


def some_value(chance: random.Random, column: Column) -> Any:
    if chance.random() < 0.1:
        return None
    if column.type is Type.TEXT:
        codes = ["FR", "EUR", "USRC17607839", "T0345246801", "012345678905"]
        fitting = [*column.accepted, *(value for value in codes if column.code is None or column.code.is_right(value))]
        wrong = ["UK", "FRA", "FR\n", "XTS", "", "T0345246802", "012345678906"]
        return chance.choice([*fitting * 6, *codes, *wrong, "fr", "us-rc1-76-07839", "t-034.524.680-1"])
    bounds = [bound for bound in (column.minimum, column.maximum) if bound is not None] or [0]
    number = chance.choice(bounds) + chance.choice((0, 0, 0, 1, -1))
    return {
        Type.INTEGER: lambda: int(number),
        Type.NUMBER: lambda: float(number) + chance.choice((0, 0.25, -0.25)),
        Type.MONEY: lambda: Decimal(int(number)) + chance.choice((Decimal(0), Decimal("0.01"))),
        Type.BOOLEAN: lambda: chance.random() < 0.5,
        Type.INSTANT: lambda: datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=chance.randrange(99)),
        Type.DATE: lambda: DAY + timedelta(days=chance.randrange(99)),
    }[column.type]()


@pytest.mark.parametrize("name", DATASETS)
def test_silver_refuses_what_the_model_of_a_row_refuses(connection: Connection, name: str) -> None:
    """600 random rows of each of the datasets, together more than 10,000: the same rows, for the same columns."""
    dataset, model, chance = DATASETS[name], row_model(name), random.Random(name)
    rows = [{column.name: some_value(chance, column) for column in dataset.columns} for _ in range(600)]
    found = ask(connection, dataset, [placed(dataset, row) for row in rows])
    for row, (bad, why) in zip(rows, found, strict=True):
        try:
            model.model_validate(row)
            wrong = set()
        except ValidationError as error:
            wrong = {str(problem["loc"][0]) for problem in error.errors()}
        assert bad == bool(wrong), (row, why)
        assert {reason.partition(":")[0] for reason in why} == wrong


PLAY = {
    "play_id": "p", "played_at": datetime(2026, 3, 1, 12, tzinfo=UTC), "listener_id": "l", "track_id": "t", "ms_played": 1,
    "_problems": [], "_event_on": DAY, "_received_on": DAY,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, []),
        ({"play_id": None}, ["play_id: is missing"]),
        ({"play_id": ""}, ["play_id: is missing"]),
        ({"ms_played": -1}, ["ms_played: '-1' is below 0"]),
        ({"ms_played": 86_400_001}, ["ms_played: '86400001' is above 86400000"]),
        ({"reason_end": "boredom"}, ["reason_end: 'boredom' is not accepted"]),
        ({"country": "France"}, ["country: 'FRANCE' is no ISO 3166-1 country"]),
        ({"_event_on": DAY + timedelta(days=1)}, []),
        ({"_event_on": date(2026, 3, 3)}, ["played_at: its date '2026-03-03' lies after the day on which it was received"]),
        ({"_event_on": date(1899, 12, 31)}, ["played_at: its date '1899-12-31' lies before the year 1900"]),
        ({"track_id": None, "ms_played": -5}, ["track_id: is missing", "ms_played: '-5' is below 0"]),
        ({"ms_played": None, "_problems": ["ms_played: 'x' is no whole number"]}, ["ms_played: 'x' is no whole number"]),
        (
            {"track_id": None, "_problems": ["ms_played: 'x' is no whole number"]},
            ["ms_played: 'x' is no whole number", "track_id: is missing"],
        ),
        (dict.fromkeys(("play_id", "played_at", "_event_on")) | {"_problems": ["row: is no UTF-8"]}, ["row: is no UTF-8"]),
    ],
)
def test_every_reason_is_told_once(connection: Connection, change: Row, says: list[str]) -> None:
    assert ask(connection, DATASETS["plays"], [{**PLAY, **change}]) == [(bool(says), says)]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("ms_played: 'abc' is no whole number", "ms_played: is no whole number"),
        ("played_at: ts 'it's 'odd'' is no whole number", "played_at: ts is no whole number"),
        ("played_at: its date '2026-03-03' lies before the year 1900", "played_at: its date lies before the year 1900"),
        ("play_id: is missing", "play_id: is missing"),
        ("row: has 2 values, the header has 3", "row: has 2 values, the header has 3"),
    ],
)
def test_reasons_are_counted_without_the_value(connection: Connection, reason: str, kind: str) -> None:
    assert connection.execute(f"SELECT {kind_of('r')} FROM (SELECT ? AS r)", [reason]).fetchone() == (kind,)
