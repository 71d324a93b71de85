"""The mapping: what becomes of delivered values, and what is said of those that cannot be read."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from nocturne.bronze.calendar import offsets
from nocturne.bronze.formats import FORMATS
from nocturne.bronze.mapping import Plan, bronze_query, columns_read, kinds_query
from nocturne.bronze.reading import Batch, Reading
from nocturne.lake import duck
from nocturne.manifests import Delivered, Manifest
from nocturne.settings import Settings
from nocturne.tenants import Tenant

Row = dict[str, Any]
DAY = date(2026, 3, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAY = {"play_id": "p1", "played_at": "2026-03-01T12:00:00Z", "listener_id": "l1", "track_id": "t1", "ms_played": 1000}


class Loader:
    """Maps rows that one source delivers as NDJSON, as `load_bronze` does, without a lake."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder

    def load(self, rows: Sequence[Row | str], dataset: str = "plays", time_zone: str = "UTC", **source: Any) -> list[Row]:
        """The rows of bronze, in the order of lines."""
        declared = {"name": "app", "dataset": dataset, "kind": "files", "location": "{day}", **source}
        tenant = Tenant.model_validate(
            {"slug": "acme", "name": "A", "time_zone": time_zone, "currency": "EUR", "begins_on": "2026-01-01", "sources": [declared]}
        )
        content = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()
        (self.folder / "a").write_bytes(content)
        file = Delivered(name="a", sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), origin="test")
        manifest = Manifest(tenant="acme", dataset=dataset, source="app", received_on=DAY, files=(file,), taken_at=NOON)
        batch = Batch(tenant, tenant.sources[0], manifest, self.folder)
        (given,) = tenant.datasets
        with duck(self.settings, only=[self.folder]) as connection:
            must, may = columns_read(batch.source, given)
            opened = FORMATS["ndjson"].open(connection, Reading([batch]), must | may)
            kinds = connection.execute(f"DESCRIBE {kinds_query(batch.source, given, opened.found)}").fetchall()
            plan = Plan(batch.source, given, opened.found, {column: kind for column, kind, *_ in kinds})
            query = bronze_query(plan, opened.rows(plan), {batch.id: DAY.isoformat()}, offsets(tenant.time_zone, DAY))
            result = connection.execute(f"SELECT * FROM ({query}) ORDER BY _line")
            names = [column[0] for column in result.description]
            return [dict(zip(names, values, strict=True)) for values in result.fetchall()]


@pytest.fixture
def loader(settings: Settings, tmp_path: Path) -> Loader:
    return Loader(settings, tmp_path)


# values ------------------------------------------------------------------------------------------------------------------------
def test_a_row_that_fits_is_taken_as_it_is(loader: Loader) -> None:
    (row,) = loader.load([PLAY])
    assert row["_problems"] == []
    assert {name: row[name] for name in PLAY} == {**PLAY, "played_at": NOON}
    assert (row["_batch"], row["_received_on"], row["_file"], row["_line"]) == ("app/2026-03-01", DAY, "a", 1)
    assert row["_event_on"] == DAY
    assert (row["_is_bad"], row["_delivered"], row["is_estimated"]) == (False, None, False)


def whole(text: str) -> int | None:
    value = Decimal(text)
    return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else None


def test_a_whole_number_is_never_rounded_into_being(loader: Loader) -> None:
    """10,000 random numbers as text, against exact decimal arithmetic."""
    chance = random.Random(1)
    numbers = []
    for _ in range(10_000):
        digits = str(chance.randrange(10 ** chance.randrange(1, 12)))
        fraction = "." + "".join(chance.choices("0005", k=chance.randrange(1, 4))) if chance.random() < 0.5 else ""
        exponent = f"e{chance.randrange(4)}" if chance.random() < 0.3 else ""
        numbers.append(chance.choice(("", "-")) + digits + fraction + exponent)
    found = loader.load([{**PLAY, "play_id": str(n), "ms_played": number} for n, number in enumerate(numbers)])
    assert [row["ms_played"] for row in found] == [whole(number) for number in numbers]
    told = [f"ms_played: '{number}' is no whole number" for number in numbers if whole(number) is None]
    assert [problem for row in found for problem in row["_problems"]] == told


@pytest.mark.parametrize(
    ("dataset", "column", "value", "becomes"),
    [
        ("plays", "ms_played", 30000.0, 30_000),
        ("plays", "ms_played", "9223372036854775808", None),
        ("plays", "ms_played", True, None),
        ("plays", "is_offline", "true", True),
        ("plays", "is_offline", 0, False),
        ("plays", "is_offline", "perhaps", None),
        ("plays", "played_at", "2026-03-01T12:00:00+02:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("plays", "played_at", "2026-03-01 12:00:00", NOON),
        ("plays", "played_at", "01/03/2026", None),
        ("plays", "played_at", "infinity", None),
        ("plays", "played_at", "1899-12-31T23:59:59Z", None),
        ("plays", "played_at", "12026-01-01T00:00:00Z", None),
        ("plays", "track_id", 12, "12"),
        ("plays", "track_id", {"a": [1, 2]}, '{"a":[1,2]}'),
        ("payments", "amount", "9.99", Decimal("9.990000")),
        ("payments", "amount", "1e20", None),
        ("payments", "amount", "nine", None),
        ("tracks", "tempo", "120.5", 120.5),
        ("tracks", "tempo", "nan", None),
        ("tracks", "tempo", "infinity", None),
        ("tracks", "released_on", "2026-02-28", date(2026, 2, 28)),
        ("tracks", "released_on", "2026-02-30", None),
        ("tracks", "released_on", "0001-01-01", None),
    ],
)
def test_a_value_becomes_its_columns_type_or_a_problem(loader: Loader, dataset: str, column: str, value: Any, becomes: Any) -> None:
    rest = {
        "plays": PLAY,
        "payments": {"payment_id": "1", "paid_at": "2026-03-01", "listener_id": "l", "status": "failed", "amount": 1, "currency": "EUR"},
        "tracks": {"track_id": "t", "title": "T"},
    }[dataset]
    (row,) = loader.load([{**rest, column: value}], dataset)
    assert row[column] == becomes
    assert len(row["_problems"]) == (becomes is None)
    assert all(problem.startswith(f"{column}: '") for problem in row["_problems"])


def test_a_problem_tells_the_value_but_not_all_of_a_long_one(loader: Loader) -> None:
    (row,) = loader.load([{**PLAY, "ms_played": "x" * 1_000}])
    assert row["_problems"] == [f"ms_played: '{'x' * 60}' is no whole number"]


@pytest.mark.parametrize("line", ["{", "[1]", '"x"', "12", "null", "{} {}", "{'a': 1}", "\\", '{"play_id": "\\ud800"}'])
def test_a_line_that_is_no_object_stays_with_its_text(loader: Loader, line: str) -> None:
    bad, good = loader.load([line, PLAY])
    assert (bad["_problems"], bad["_delivered"], bad["play_id"], bad["_key"]) == (["row: is no JSON object"], line, None, None)
    assert good["_problems"] == []


def test_a_nul_character_is_a_problem_wherever_it_stands(loader: Loader) -> None:
    found = loader.load([{**PLAY, "platform": "a\0b"}, {**PLAY, "platform": "a\\u0000b"}])
    assert [row["_problems"] for row in found] == [["row: holds a NUL character"], []]


# mappings ------------------------------------------------------------------------------------------------------------------------
MAP = {"play_id": "id", "played_at": "make_timestamp_ms(ts)", "listener_id": "who", "track_id": "what", "ms_played": "seconds * 1000"}
TYPES = {"ts": "bigint", "seconds": "double"}
EVENT = {"id": "p1", "ts": 1772366400000, "who": "l1", "what": "t1", "seconds": 1.5}


def test_columns_are_renamed_typed_and_computed(loader: Loader) -> None:
    (row,) = loader.load([EVENT], map=MAP, columns=TYPES)
    assert {name: row[name] for name in PLAY} == {**PLAY, "played_at": NOON, "ms_played": 1500}
    assert (row["_problems"], row["country"]) == ([], None)


def test_each_expression_fails_for_itself(loader: Loader) -> None:
    mapping = {**MAP, "country": "CAST(code AS DATE)::VARCHAR"}
    good, bad = loader.load([{**EVENT, "code": "2026-01-01"}, {**EVENT, "code": "x"}], map=mapping, columns=TYPES)
    assert (good["country"], good["_problems"]) == ("2026-01-01", [])
    assert (bad["country"], bad["_problems"], bad["ms_played"]) == (None, ["country: its mapping failed"], 1500)


def test_a_null_that_an_expression_gives_is_no_failure(loader: Loader) -> None:
    (row,) = loader.load([{**EVENT, "who": ""}], map={**MAP, "listener_id": "nullif(who, '')"}, columns=TYPES)
    assert (row["listener_id"], row["_problems"]) == (None, [])


def test_a_delivered_value_without_its_declared_type_is_told_of_each_column_that_reads_it(loader: Loader) -> None:
    mapping = {**MAP, "platform": "coalesce(seconds, 0)::VARCHAR"}
    (row,) = loader.load([{**EVENT, "seconds": "long"}], map=mapping, columns=TYPES)
    assert row["_problems"] == ["ms_played: seconds 'long' is no number", "platform: seconds 'long' is no number"]


def test_names_may_hold_anything(loader: Loader) -> None:
    odd = 'it\'s; "odd" -- é'.replace('"', "'")
    (row,) = loader.load([{**EVENT, odd: "FR", "select": "web"}], map={**MAP, "country": f'"{odd}"', "platform": '"select"'}, columns=TYPES)
    assert (row["country"], row["platform"], row["_problems"]) == ("FR", "web", [])


def test_a_json_value_is_read_through_its_path(loader: Loader) -> None:
    mapping = {**MAP, "country": "place ->> '$.country'", "platform": "device -> '$.name'"}
    given = {**EVENT, "place": {"country": "FR"}, "device": {"name": "web"}}
    (row,) = loader.load([given], map=mapping, columns={**TYPES, "place": "json", "device": "json"})
    assert (row["country"], row["platform"], row["_problems"]) == ("FR", "web", [])


# the condition -------------------------------------------------------------------------------------------------------------------
def test_a_condition_leaves_rows_out(loader: Loader) -> None:
    given = [{**EVENT, "id": str(n), "page": page} for n, page in enumerate(["NextSong", "Home", None, "NextSong"])]
    found = loader.load(given, map=MAP, columns=TYPES, where="page = 'NextSong'")
    assert [row["play_id"] for row in found] == ["0", "3"]


def test_a_condition_never_hides_what_it_could_not_judge(loader: Loader) -> None:
    given: list[Row | str] = [{**EVENT, "n": 1}, {**EVENT, "n": "many"}, {**EVENT, "n": 9}, "{"]
    found = loader.load(given, map=MAP, columns={**TYPES, "n": "bigint"}, where="n > 5")
    assert [row["_line"] for row in found] == [2, 3, 4]
    failing = loader.load([{**EVENT, "n": "x"}, {**EVENT, "n": "2026-01-01"}], map=MAP, columns=TYPES, where="CAST(n AS DATE) IS NULL")
    assert [(row["_line"], row["_problems"]) for row in failing] == [(1, ["row: the condition `where` failed"])]


# estimates -----------------------------------------------------------------------------------------------------------------------
ESTIMATE = {"ms_played": {"until_next": ["who", "visit"], "at": "make_timestamp_ms(ts)", "at_most": "length * 1000"}}


def estimated(rows: Sequence[Row]) -> list[int | None]:
    """The rule in Python: to the next row of the same listener and visit, at most the track's length."""
    following: dict[int, int] = {}
    by_visit: dict[Any, list[int]] = {}
    for place in sorted(range(len(rows)), key=lambda place: (rows[place]["ts"], place)):
        earlier = by_visit.setdefault((rows[place]["who"], rows[place]["visit"]), [])
        if earlier:
            following[earlier[-1]] = rows[place]["ts"] - rows[earlier[-1]]["ts"]
        earlier.append(place)
    most = [None if row["length"] is None else row["length"] * 1000 for row in rows]
    return [None if most is None else min(most, following.get(place, most)) for place, most in enumerate(most)]


def test_a_play_without_duration_lasts_until_the_next_row(loader: Loader) -> None:
    """10,000 rows in 10 deliveries, against the rule in Python; rows that the condition leaves out count as a next one."""
    chance = random.Random(5)
    mapping = {name: text for name, text in MAP.items() if name != "ms_played"}
    for _ in range(10):
        rows = [
            {
                "id": str(n),
                "ts": 1772366400000 + chance.randrange(200) * 1000,
                "who": chance.choice(["a", "b", None]),
                "visit": chance.randrange(9),
                "what": "t",
                "length": chance.choice([10, 30, 200, None]),
                "page": chance.choice(["NextSong", "Home"]),
            }
            for n in range(1_000)
        ]
        types = {"ts": "bigint", "length": "double"}
        found = loader.load(rows, map=mapping, columns=types, estimate=ESTIMATE, where="page = 'NextSong'")
        expected = [(row["id"], ms) for row, ms in zip(rows, estimated(rows), strict=True) if row["page"] == "NextSong"]
        assert [(row["play_id"], row["ms_played"]) for row in found] == expected
        assert all(row["is_estimated"] for row in found)


# hashes and dates ----------------------------------------------------------------------------------------------------------------
def test_hashes_are_those_that_lakes_hold(loader: Loader) -> None:
    """If this fails after an upgrade of DuckDB, raise bronze's VERSION: keys and contents of old batches must be made again."""
    (row,) = loader.load([PLAY])
    assert (row["_key"], row["_content"]) == (7973208987436082594, 3042799198190107324)


def test_a_key_that_is_not_whole_is_none(loader: Loader) -> None:
    found = loader.load([{**PLAY, "play_id": value} for value in ("x", "x", "y", "", None)])
    keys = [row["_key"] for row in found]
    assert keys[0] == keys[1] != keys[2]
    assert keys[3:] == [None, None]


def test_content_tells_each_column_apart(loader: Loader) -> None:
    changes: list[Row] = [{}, {"ms_played": 1001}, {"track_id": "t2"}, {"country": "FR"}, {"played_at": "2026-03-01T12:00:01Z"}]
    swapped: list[Row] = [{"platform": "web"}, {"tier": "web"}]
    contents = [row["_content"] for row in loader.load([{**PLAY, **change} for change in [*changes, *swapped]])]
    assert len(set(contents)) == len(contents)


def test_the_event_date_is_local(loader: Loader) -> None:
    given = [{**PLAY, "played_at": NOON + timedelta(hours=hours)} for hours in (-13, -12, 10, 11)]
    found = loader.load([{**row, "played_at": row["played_at"].isoformat()} for row in given], time_zone="Europe/Paris")
    assert [row["_event_on"].day for row in found] == [1, 1, 1, 2]
    (sale,) = loader.load(
        [{"sale_id": "1", "sold_on": "2026-02-01", "unit_count": 1, "net_amount": 1, "currency": "EUR"}], "sales", "Asia/Tokyo"
    )
    assert sale["_event_on"] == date(2026, 2, 1)
    (artist,) = loader.load([{"artist_id": "a", "artist_name": "A"}], "artists")
    assert artist["_event_on"] is None
