"""Rows as text: every line reads back as the row that it came from."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.simulator import small_world
from nocturne.simulator.foreign import foreign
from nocturne.simulator.text import header, lines
from nocturne.simulator.writing import content, page, records, typed
from nocturne.tenants import Source, Tenant

COLUMNS = {
    "t": pa.array(['a "quoted" name', None, "line\nbreak, comma", "日本 é \\"]),
    "n": pa.array([1, None, -3, 0]),
    "ratio": pa.array([0.1, 1e-7, None, 2.0]),
    "amount": pa.array([Decimal("9.990000"), Decimal("0.000000"), None, Decimal("120.000000")], pa.decimal128(18, 6)),
    "flag": pa.array([True, False, None, True]),
    "at": pa.array([datetime(2026, 3, 1, 12, 0, 0, 5_000, UTC), None, datetime(1999, 1, 1, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
    "on": pa.array([date(2026, 3, 1), None, date(1970, 1, 1), None]),
}
ROWS = [
    {"t": 'a "quoted" name', "n": 1, "ratio": 0.1, "amount": 9.99, "flag": True, "at": "2026-03-01T12:00:00.005Z", "on": "2026-03-01"},
    {"t": None, "n": None, "ratio": 1e-7, "amount": 0, "flag": False, "at": None, "on": None},
    {"t": "line\nbreak, comma", "n": -3, "ratio": None, "amount": None, "flag": None, "at": "1999-01-01T00:00:00.000Z", "on": "1970-01-01"},
    {"t": "日本 é \\", "n": 0, "ratio": 2.0, "amount": 120, "flag": True, "at": None, "on": None},
]  # fmt: skip


def written(columns: dict[str, pa.Array], form: str = "ndjson") -> str:
    return "".join(line for text in lines(list(columns.items()), form) for line in text.to_pylist())  # type: ignore[arg-type]


def test_every_type_reads_back_from_json() -> None:
    assert [json.loads(line) for line in written(COLUMNS).splitlines()] == ROWS


def test_every_type_reads_back_from_csv() -> None:
    text = header(list(COLUMNS)).decode() + written(COLUMNS, "csv")
    told = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["t"] for row in told] == [row["t"] or "" for row in ROWS]
    assert [row["n"] for row in told] == ["1", "", "-3", "0"]
    assert [row["flag"] for row in told] == ["true", "false", "", "true"]
    assert [row["amount"] for row in told] == ["9.99", "0", "", "120"]
    assert [row["on"] for row in told] == ["2026-03-01", "", "1970-01-01", ""]


def test_columns_that_share_their_indices_are_the_same_as_plain_ones() -> None:
    index = pa.array([1, 0, 1, 1, 0, 1], pa.int32())
    own = pa.array([0, None, 1, 1, None, 0], pa.int32())
    looked_up = {
        "session": pa.DictionaryArray.from_arrays(index, pa.array(["s0", "s1"])),
        "number": pa.array(range(6)),
        "country": pa.DictionaryArray.from_arrays(index, pa.array([None, "FR"])),
        "offline": pa.DictionaryArray.from_arrays(index, pa.array([False, True])),
        "reason": pa.DictionaryArray.from_arrays(own, pa.array(["done", 'a "b"'])),
    }
    plain = {name: values.dictionary_decode() if isinstance(values, pa.DictionaryArray) else values for name, values in looked_up.items()}
    for form in ("ndjson", "csv"):
        one, other = written(looked_up, form), written(plain, form)
        if form == "csv":
            assert one == other
        else:
            assert [json.loads(line) for line in one.splitlines()] == [json.loads(line) for line in other.splitlines()]


@given(st.lists(st.one_of(st.none(), st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)), min_size=1, max_size=8))
def test_any_text_reads_back(values: list[str | None]) -> None:
    columns = {"value": pa.array(values, pa.string()), "other": pa.array(range(len(values)))}
    assert [json.loads(line)["value"] for line in written(columns).split("\n")[:-1]] == values
    told = list(csv.reader(io.StringIO(written(columns, "csv"), newline="")))
    assert [row[0] for row in told] == [value or "" for value in values]


def source(form: str, **more: object) -> tuple[Tenant, Source]:
    document = {"name": "plays", "dataset": "plays", "kind": "files", "format": form, "location": "plays/{day}"} | more
    tenant = Tenant.model_validate(
        {"slug": "tenant", "name": "T", "time_zone": "UTC", "currency": "EUR", "begins_on": "2026-01-01", "sources": [document]}
    )
    return tenant, tenant.sources[0]


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_broken_rows_stand_at_the_end_as_they_are_told(form: str) -> None:
    world = small_world(damage={"broken": 0.2}, days=2, has_subscriptions=False)
    delivery = world.delivered("plays", world.days[1])
    made = foreign(*source(form))
    text = b"".join(bytes(part) for part in content(made, delivery, form)).decode().splitlines()[form == "csv" :]  # type: ignore[arg-type]
    assert len(text) == len(delivery)
    broken = text[len(delivery.rows) :]
    unreadable = [line for line in broken if "2026-02-30T25:61:00" in line]
    assert len(unreadable) == delivery.counts["unreadable_instant"] > 0
    cut = [line for line in broken if (line.count(",") < 5 if form == "csv" else not line.endswith("}"))]
    assert len(cut) == delivery.counts["unparsable_line"] > 0
    assert sum('"ms_played":-' in line for line in broken) == delivery.counts["negative_duration"] or form == "csv"


def test_a_typed_format_carries_what_it_cannot_break_with_a_missing_instant() -> None:
    world = small_world(damage={"broken": 0.2}, days=2, has_subscriptions=False)
    delivery = world.delivered("plays", world.days[1])
    rows = typed(foreign(*source("parquet")), delivery)
    assert len(rows) == len(delivery)
    assert rows["played_at"].null_count == delivery.counts["unreadable_instant"] + delivery.counts["unparsable_line"]


def test_a_page_is_what_its_source_declares() -> None:
    rows = records(pa.table({"a": ["x", "y"], "n": [1, None]}))
    _, bare = source("json")
    _, wrapped = source("json", records="items")
    assert json.loads(page(rows, bare)) == [{"a": "x", "n": 1}, {"a": "y", "n": None}]
    assert json.loads(page(rows, wrapped)) == {"items": [{"a": "x", "n": 1}, {"a": "y", "n": None}]}
    assert json.loads(page([], bare)) == []
