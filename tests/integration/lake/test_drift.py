"""What a source delivers against what it delivered before: told once, taken where it can be, stopped where keys would change."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nocturne.errors import DeliveryError
from nocturne.settings import Settings
from tests.integration.lake.worlds import PLAYS, Night, Row, day, play, tenant_with

PARQUET = {**PLAYS, "format": "parquet"}


def as_parquet(rows: list[Row], **types: pa.DataType) -> dict[str, bytes]:
    table = pa.Table.from_pylist(rows)
    for column, kind in types.items():
        at = table.schema.get_field_index(column)
        table = table.set_column(at, column, table[column].cast(kind))
    out = io.BytesIO()
    pq.write_table(table, out)
    return {"a.parquet": out.getvalue()}


def as_csv(*rows: Row) -> dict[str, bytes]:
    return {"a.csv": "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]).encode()}


def without(row: Row, column: str) -> Row:
    return {name: value for name, value in row.items() if name != column}


def load(night: Night, number: int) -> tuple[str, ...]:
    """The warnings of the run for a day."""
    return night.load(day(number)).warnings


def test_a_new_column_and_one_that_went_are_told_once(settings: Settings) -> None:
    night = Night(settings, tenant_with({**PLAYS, "format": "csv"}))
    night.deliver("app", day(0), as_csv(play("a", 0, mood="calm")))
    assert load(night, 0) == ()
    night.deliver("app", day(1), as_csv(without(play("b", 1, device="car"), "mood")))
    (told,) = load(night, 1)
    assert told.startswith("plays, source app (the mapping reads ")
    assert told.endswith("batch app/2026-03-02 has other columns than app/2026-03-01 had: new: device; gone: mood.")
    assert load(night, 1) == (told,)  # a run that was killed before it could tell tells it when it runs again
    night.deliver("app", day(2), as_csv(without(play("c", 2, device="car"), "mood")))
    night.deliver("app", day(3), as_csv(play("d", 3, mood="calm")))  # columns that were there before are no news
    assert load(night, 3) == ()
    night.deliver("app", day(4), as_csv(play("e", 4)))
    assert [told.partition("had: ")[2] for told in load(night, 4)] == ["gone: mood."]
    assert len(night.rows("bronze")) == 5


def test_keys_that_only_some_json_objects_have_are_no_news(settings: Settings) -> None:
    night = Night(settings, tenant_with(PLAYS))
    night.deliver("app", day(0), [play("a", 0, rare=1), play("b", 0)])
    night.deliver("app", day(1), [play("c", 1)])
    night.deliver("app", day(2), [play("d", 2, rare=1)])
    night.deliver("app", day(3), [play("e", 3)])
    assert load(night, 3) == ()
    night.deliver("app", day(4), [play("f", 4, always=1)])
    assert [told.partition("had: ")[2] for told in load(night, 4)] == ["new: always."]


def test_the_keys_of_a_json_array_are_compared_too(settings: Settings) -> None:
    night = Night(settings, tenant_with({**PLAYS, "format": "json"}))
    for number, extra in enumerate(({"mood": "calm"}, {"device": "car"})):
        night.deliver("app", day(number), {"a.json": json.dumps([play(str(number), number, **extra)]).encode()})
    assert [told.partition("had: ")[2] for told in load(night, 1)] == ["new: device; gone: mood."]


def test_a_column_that_went_and_is_read_stops_with_what_came_in_its_place(settings: Settings) -> None:
    night = Night(settings, tenant_with({**PLAYS, "format": "csv"}))
    night.deliver("app", day(0), as_csv(play("a", 0)))
    load(night, 0)
    night.deliver("app", day(1), as_csv(without(play("b", 1, user="l1"), "listener_id")))
    with pytest.raises(DeliveryError) as raised:
        load(night, 1)
    said = str(raised.value)
    assert "received_on=2026-03-02/app/a.csv (source app) lacks the column listener_id, which the mapping reads" in said
    assert "Against batch app/2026-03-01: new: user; gone: listener_id." in said
    assert "Next: Correct `map` of source app in the tenant's file" in said
    assert len(night.rows("bronze")) == 1


def test_a_type_that_became_wider_is_taken(settings: Settings) -> None:
    night = Night(settings, tenant_with(PARQUET))
    night.deliver("app", day(0), as_parquet([play("a", 0)], ms_played=pa.int32(), play_id=pa.large_string()))
    night.deliver("app", day(1), as_parquet([play("b", 1)], ms_played=pa.int64()))
    night.deliver("app", day(2), as_parquet([play("c", 2, country=None)]))
    assert [told.partition("had: ")[2] for told in load(night, 2)] == ["new: country."]
    night.deliver("app", day(3), as_parquet([play("d", 3, country="FR")]))
    assert load(night, 3) == ()


def test_another_type_of_a_column_that_decides_nothing_is_told(settings: Settings) -> None:
    night = Night(settings, tenant_with(PARQUET))
    night.deliver("app", day(0), as_parquet([play("a", 0)]))
    night.deliver("app", day(1), as_parquet([play("b", 1)], ms_played=pa.string()))
    assert [told.partition("had: ")[2] for told in load(night, 1)] == ["of another type: ms_played (was int64, is string)."]
    assert {row["ms_played"] for row in night.rows("bronze")} == {1_000}


@pytest.fixture
def retyped(settings: Settings) -> Night:
    """A source whose key was a whole number on the first day and is a float on the second and third."""
    night = Night(settings, tenant_with(PARQUET))
    for number, kind in enumerate((pa.int64(), pa.float64(), pa.float64())):
        night.deliver("app", day(number), as_parquet([play("1", number)], play_id=kind))
    return night


def test_another_type_of_what_makes_the_key_stops_with_the_difference(retyped: Night) -> None:
    for _ in range(2):  # it stops as often as it is tried
        with pytest.raises(DeliveryError) as raised:
            load(retyped, 2)
        said = str(raised.value)
        assert "received_on=2026-03-02/app/a.parquet (source app) has play_id" in said
        assert "as double; batch app/2026-03-01 had it as int64" in said
        assert "of another type: play_id (was int64, is double)" in said
        assert "accept: [{day: 2026-03-03, reason: ...}]" in said
        assert [row["play_id"] for row in retyped.rows("bronze")] == ["1"]


def accepting(*numbers: int) -> dict[str, Any]:
    return {**PARQUET, "accept": [{"day": day(number).isoformat(), "reason": "the shop's new exporter"} for number in numbers]}


def test_what_somebody_accepts_is_taken_and_told_and_is_what_is_usual_from_then_on(retyped: Night) -> None:
    with pytest.raises(DeliveryError):
        load(retyped, 2)
    retyped.tenant = tenant_with(accepting(1))
    assert [told.partition("had: ")[2] for told in load(retyped, 2)] == ["of another type: play_id (was int64, is double)."]
    assert len(retyped.rows("bronze")) == 3
    retyped.tenant = tenant_with({**accepting(1), "where": "true"})  # all batches are loaded anew, and the answer still stands
    load(retyped, 3)


def test_shapes_cost_one_mark_each_and_not_one_a_batch(settings: Settings) -> None:
    night = Night(settings, tenant_with(PLAYS))
    for number in range(30):
        night.deliver("app", day(number), [play(str(number), number)])
    load(night, 30)
    assert len(night.marks_of("shapes")) == 1
    assert {len(mark.facts["shape"]) for mark in night.marks_of("bronze").values()} == {12}
