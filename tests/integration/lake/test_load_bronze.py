"""`load_bronze`: every format, what is loaded again and what is left, and that one damaged delivery costs nobody else anything."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openpyxl import Workbook

from nocturne.errors import DeliveryError, NocturneError, PermanentError, TenantError
from nocturne.lake import table
from nocturne.manifests import read_manifests, write_manifest
from nocturne.settings import Settings
from tests.integration.lake.worlds import ARTISTS, FIRST, PLAYS, WEB, Night, Row, day, ndjson, play, tenant_with
from tests.packing import COMPRESSIONS, tarred, zipped

ROWS = [play("a", 0), play("b", 0, country="FR"), play("c", 1)]


def as_csv(rows: Sequence[Row]) -> bytes:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return "\n".join([",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)]).encode()


def as_parquet(rows: Sequence[Row]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{"country": None, **row} for row in rows]), out)
    return out.getvalue()


def as_arrow(rows: Sequence[Row]) -> bytes:
    out = io.BytesIO()
    table = pa.Table.from_pylist([{"country": None, **row} for row in rows] if len(rows[0]) > 1 else list(rows))
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def as_workbook(rows: Sequence[Row]) -> bytes:
    names = list(dict.fromkeys(name for row in rows for name in row))
    book = Workbook()
    for row in (names, *([row.get(name) for name in names] for row in rows)):
        book.worksheets[0].append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


XML = {"format": "xml", "xml": {"root": "plays", "records": "play", "paths": {name: name for name in ("country", *ROWS[0])}}}


def as_xml(rows: Sequence[Row]) -> bytes:
    plays = ("".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in row.items()) for row in rows)
    return f"<plays>{''.join(f'<play>{play}</play>' for play in plays)}</plays>".encode()


def night_of(settings: Settings, **source: Any) -> Night:
    return Night(settings, tenant_with({**PLAYS, **source}))


# repeats -------------------------------------------------------------------------------------------------------------------------
def test_of_equal_good_rows_one_is_enough_where_the_source_says_so(settings: Settings) -> None:
    night = night_of(settings, once=True)
    bad = {**ROWS[0], "ms_played": "long"}
    batch = night.deliver(
        "app", FIRST, {"a": ndjson([ROWS[0], ROWS[0], {**ROWS[0], "country": "FR"}, "?"]), "b": ndjson([bad, bad, "?", ROWS[0]])}
    )
    other = night.deliver("app", day(1), [ROWS[0]])
    night.load()
    facts = {name: mark.facts for name, mark in night.marks_of("bronze").items()}
    assert [(facts[name]["rows"], facts[name]["left_out"], facts[name]["problem_rows"]) for name in (batch, other)] == [
        (8, 2, 4),
        (1, 0, 0),
    ]
    kept = night.rows("bronze", columns="_file, _line", order="_batch, _file, _line")
    assert [tuple(row.values()) for row in kept] == [("a", 1), ("a", 3), ("a", 4), ("b", 1), ("b", 2), ("b", 3), ("a.ndjson", 1)]


# formats -------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("source", "files"),
    [
        ({"format": "ndjson"}, {"a": ndjson(ROWS)}),
        ({"format": "ndjson"}, {"a.gz": gzip.compress(ndjson(ROWS[:2])), "b": ndjson(ROWS[2:])}),
        ({"format": "csv"}, {"a": as_csv(ROWS)}),
        ({"format": "csv"}, {"a.gz": gzip.compress(as_csv(ROWS[:2])), "b": as_csv(ROWS[2:]).replace(b",", b";")}),
        ({"format": "parquet"}, {"a": as_parquet(ROWS[:1]), "b": as_parquet(ROWS[1:])}),
        ({"format": "json"}, {"a": json.dumps(ROWS).encode()}),
        ({"format": "xlsx"}, {"a.xlsx": as_workbook(ROWS[:2]), "b.zip": zipped({"c.xlsx": as_workbook(ROWS[2:])})}),
        (XML, {"a": as_xml(ROWS[:1]), "b.zip": zipped({"c.xml": as_xml(ROWS[1:])})}),
        ({"format": "arrow"}, {"a.arrow": as_arrow(ROWS[:1]), "b.arrow.gz": gzip.compress(as_arrow(ROWS[1:]))}),
        ({"format": "ndjson"}, {"a.zip": zipped({"b": ndjson(ROWS[:2]), "c": COMPRESSIONS["xz"](ndjson(ROWS[2:]))})}),
        ({"format": "csv"}, {"a.tar.zst": COMPRESSIONS["zstd"](tarred({"b": as_csv(ROWS[:2]), "c": as_csv(ROWS[2:])}))}),
        ({"format": "parquet"}, {"a.zip": zipped({"b": as_parquet(ROWS[:1])}), "b.bz2": COMPRESSIONS["bzip2"](as_parquet(ROWS[1:]))}),
        ({"format": "json"}, {"a": json.dumps(ROWS).encode("utf-16")}),
        ({"format": "ndjson"}, {"a": ndjson(ROWS).decode().encode("utf-16-le")}),
        (
            {"format": "json", "records": "data"},
            {"1": json.dumps({"data": ROWS[:2]}).encode(), "2": json.dumps({"data": ROWS[2:]}).encode()},
        ),
        (
            {"format": "json", "records": "a.b", "lone_record": True},
            {"1": json.dumps({"a": {"b": ROWS[:2]}}).encode(), "2": json.dumps({"a.b": ROWS[2]}).encode()},
        ),
    ],
)
def test_every_format_becomes_the_same_rows(settings: Settings, source: Row, files: Mapping[str, bytes]) -> None:
    night = night_of(settings, **source)
    batch = night.deliver("app", FIRST, files)
    receipt = night.load()
    rows = night.rows(
        "bronze", columns="play_id, played_at::VARCHAR AS played_at, ms_played, country, _event_on, _problems", order="play_id"
    )
    assert [(row["play_id"], row["ms_played"], row["country"], row["_problems"]) for row in rows] == [
        ("a", 1000, None, []),
        ("b", 1000, "FR", []),
        ("c", 1000, None, []),
    ]
    assert [row["played_at"] for row in rows] == ["2026-03-01 12:00:00+00"] * 2 + ["2026-03-02 12:00:00+00"]
    facts = dict(night.marks_of("bronze")[batch].facts)
    assert f"app/{facts.pop('shape')}" in night.marks_of("shapes")
    assert facts == {
        "received_on": "2026-03-01",
        "rows": 3,
        "left_out": 0,
        "problem_rows": 0,
        "dates": {"2026-03-01": 2, "2026-03-02": 1},
    }
    assert receipt.entries[0].counts == {"batches": 1, "removed": 0, "rows": 3, "left_out": 0, "problem_rows": 0}
    assert receipt.entries[0].event_dates == (day(0), day(1))


@pytest.mark.parametrize("kind", ["csv", "parquet", "json", "ndjson"])
def test_each_row_tells_where_it_stood_and_a_bad_one_what_was_delivered(settings: Settings, kind: str) -> None:
    encode = {"csv": as_csv, "parquet": as_parquet, "json": lambda rows: json.dumps(rows).encode(), "ndjson": ndjson}[kind]
    given = [ROWS[0], ROWS[1] | {"country": "Atlantis"}, ROWS[2] | {"listener_id": ""}]
    night = night_of(settings, format=kind)
    night.deliver("app", FIRST, {"x": encode(given[:1]), "y": encode(given[1:])})
    night.load()
    good, *bad = night.rows("bronze", order="_file, _line")
    first = 2 if kind == "csv" else 1  # the header is line 1
    assert [(row["_file"], row["_line"], row["play_id"]) for row in (good, *bad)] == [
        ("x", first, "a"), ("y", first, "b"), ("y", first + 1, "c"),
    ]  # fmt: skip
    assert [row["_is_bad"] for row in (good, *bad)] == [False, True, True]
    assert good["_delivered"] is None  # landing holds it
    for row, delivered in zip(bad, given[1:], strict=True):
        told = json.loads(row["_delivered"])
        assert {name: str(told[name] or "") for name in delivered if name != "played_at"} == {
            name: str(value) for name, value in delivered.items() if name != "played_at"
        }


def test_rows_without_values_are_no_rows_and_an_empty_delivery_is_a_batch(settings: Settings) -> None:
    for kind, content in (
        ("ndjson", b""),
        ("ndjson", b"\n\n"),
        ("csv", as_csv(ROWS[:1]).split(b"\n")[0]),
        ("json", b"[]"),
        ("parquet", None),
    ):
        night = night_of(settings, format=kind)
        batch = night.deliver("app", FIRST, {"a": as_parquet(ROWS)[:0] if content is None else content} if content is not None else {})
        night.load()
        assert night.marks_of("bronze")[batch].facts["rows"] == 0
        assert night.rows("bronze") == []


def test_parquet_keeps_its_own_types(settings: Settings) -> None:
    instant = pa.array([1772366400000], pa.timestamp("ms", "UTC"))
    values = {"id": ["a"], "at": instant, "who": pa.array([7], pa.int32()), "what": ["t"], "seconds": pa.array([1.5], pa.float32())}
    out = io.BytesIO()
    pq.write_table(pa.table(values), out)
    mapping = {"play_id": "id", "played_at": "at", "listener_id": "who", "track_id": "what", "ms_played": "seconds * 1000"}
    night = night_of(settings, format="parquet", map=mapping)
    night.deliver("app", FIRST, {"a": out.getvalue()})
    night.load()
    (row,) = night.rows("bronze")
    assert (row["_problems"], row["listener_id"], row["ms_played"], row["_event_on"]) == ([], "7", 1500, FIRST)


# what is done, and what is not done again ------------------------------------------------------------------------------------------
def test_a_second_run_does_nothing(night: Night) -> None:
    night.deliver("app", FIRST, ROWS)
    first = night.load()
    bronze = table(night.settings, night.tenant, "bronze", "plays")
    version = bronze.version()
    second = night.load()
    assert [entry.skipped for entry in second.entries] == [True, True]
    assert [entry.fingerprint for entry in second.entries] == [entry.fingerprint for entry in first.entries]
    assert table(night.settings, night.tenant, "bronze", "plays").version() == version


def test_a_changed_batch_is_replaced_and_the_others_stay(night: Night) -> None:
    night.deliver("app", day(0), ROWS)
    night.deliver("web", day(0), [play("w", 0)])
    night.load()
    files = {file.part: file.path for file in table(night.settings, night.tenant, "bronze", "plays").files()}
    night.deliver("app", day(0), [play("z", 0)])
    assert night.load().entries[0].counts["batches"] == 1
    after = {file.part: file.path for file in table(night.settings, night.tenant, "bronze", "plays").files()}
    assert [row["play_id"] for row in night.rows("bronze", order="play_id")] == ["w", "z"]
    assert after["web/2026-03-01"] == files["web/2026-03-01"]
    assert after["app/2026-03-01"] != files["app/2026-03-01"]


def test_a_batch_that_landing_has_no_more_goes(night: Night) -> None:
    night.deliver("app", day(0), [play("a", 0)])
    night.deliver("app", day(1), [play("a", 1)])
    night.load()
    assert "links" in night.marks_of("bronze")["app/2026-03-02"].facts
    night.withdraw("app", day(0))
    assert night.load().entries[0].counts["removed"] == 1
    assert list(night.marks_of("bronze")) == ["app/2026-03-02"]
    assert "links" not in night.marks_of("bronze")["app/2026-03-02"].facts
    assert {row["_batch"] for row in night.rows("bronze")} == {"app/2026-03-02"}


def test_a_changed_mapping_loads_the_batches_of_its_source_again(settings: Settings) -> None:
    night = Night(settings, tenant_with(PLAYS, WEB))
    night.deliver("app", FIRST, [play("a", 0)])
    night.deliver("web", FIRST, [play("b", 0)])
    night.load()
    mapping = {name: name for name in ("play_id", "played_at", "listener_id", "track_id")} | {"ms_played": "2 * ms_played"}
    changed = Night(settings, tenant_with({**PLAYS, "map": mapping, "columns": {"ms_played": "bigint"}}, WEB), night.marks)
    assert changed.load().entries[0].counts["batches"] == 1
    assert [(row["play_id"], row["ms_played"]) for row in changed.rows("bronze", order="play_id")] == [("a", 2000), ("b", 1000)]


def test_a_time_zone_that_changes_later_touches_later_batches_alone(settings: Settings) -> None:
    night = Night(settings, tenant_with(PLAYS, ARTISTS))
    for number in (0, 9):
        night.deliver("app", day(number), [play(f"k{number}", number, seconds=3_600 * 23)])
    night.deliver("artists", day(9), [{"artist_id": "a", "artist_name": "A"}])
    night.load()
    zones = [{"from": "1900-01-01", "value": "Europe/Paris"}, {"from": "2026-03-08T00:00:00Z", "value": "America/New_York"}]
    moved = Night(settings, tenant_with(PLAYS, ARTISTS, time_zone=zones), night.marks)
    assert [entry.counts["batches"] for entry in moved.load().entries] == [1, 0]
    assert [row["_event_on"] for row in moved.rows("bronze", order="play_id")] == [day(1), day(9)]


def test_batches_of_a_source_that_is_no_longer_declared_stay(settings: Settings) -> None:
    night = Night(settings, tenant_with(PLAYS, WEB))
    night.deliver("web", FIRST, [play("a", 0)])
    night.load()
    without = Night(settings, tenant_with(PLAYS), night.marks)
    receipt = without.load()
    assert [row["play_id"] for row in without.rows("bronze")] == ["a"]
    assert receipt.warnings == ("plays: the source web is no longer declared; its batches stay, as it was last declared",)


def test_many_batches_are_read_in_few_passes(night: Night) -> None:
    for number in range(30):
        night.deliver("app", day(number), [play(f"k{number}", number)])
    receipt = night.load()
    assert (receipt.entries[0].counts["batches"], receipt.warnings) == (30, ())
    assert table(night.settings, night.tenant, "bronze", "plays").version() == 1
    assert len(night.rows("bronze")) == 30


def test_what_a_condition_leaves_out_is_counted(settings: Settings) -> None:
    night = night_of(settings, where="track_id <> 't1'", map={name: name for name in play("a", 0)})
    batch = night.deliver("app", FIRST, [*ROWS, play("d", 0, track_id="t2"), "no json"])
    night.load()
    facts = night.marks_of("bronze")[batch].facts
    assert (facts["rows"], facts["left_out"], facts["problem_rows"]) == (5, 3, 1)


# damage ----------------------------------------------------------------------------------------------------------------------------
NOISE = bytes(range(256)) * 40


@pytest.mark.parametrize(
    ("source", "content", "says"),
    [
        ({}, gzip.compress(ndjson(ROWS))[:-9], "gzip that ends in the middle"),
        ({}, b"\x1f\x8b" + NOISE, "damaged gzip"),
        ({}, zipped({"a": ndjson(ROWS)})[:-30], "damaged zip archive"),
        ({}, tarred({"../a": ndjson(ROWS)}), "whose name leads out of it"),
        ({}, NOISE, r"holds nothing that can be read as ndjson \(from line 1 on\)"),
        (
            {},
            ndjson([{**row, "ms": 1} for row in ROWS]).replace(b"ms_played", b"duration"),
            "lacks the column ms_played, .* it has .*duration",
        ),
        ({"format": "csv"}, b"", "is empty: a CSV file has a header"),
        ({"format": "csv"}, NOISE, "is no CSV"),
        ({"format": "csv"}, as_csv(ROWS).replace(b"ms_played", b"duration"), "lacks the column ms_played"),
        ({"format": "csv"}, as_csv(ROWS) + b'\n"never closed,\n1,2', "opens a quote that is never closed"),
        ({"format": "parquet"}, b"", "no readable Parquet"),
        ({"format": "arrow"}, as_arrow(ROWS)[:-20], "no readable Arrow"),
        ({"format": "arrow"}, as_arrow([{"play_id": "a"}]), "lacks the columns"),
        ({"format": "xlsx"}, as_workbook(ROWS)[:-20], "damaged zip archive"),
        ({"format": "xlsx"}, as_workbook([{"play_id": "a"}]), "lacks the columns"),
        (XML, as_xml(ROWS)[:-20], r"is damaged XML: .* \(line 1\)"),
        ({"format": "dsr", "map": dict.fromkeys(ROWS[0], "SU_Usages")}, b"HEAD\tdsrf/30\n", r"ends without a foot \(line 1\)"),
        ({"format": "parquet"}, as_parquet(ROWS)[:-20], "no readable Parquet"),
        ({"format": "parquet"}, as_parquet([{name: value for name, value in ROWS[0].items() if name != "ms_played"}]), "lacks the column"),
        ({"format": "json"}, b"", "is no JSON document"),
        ({"format": "json"}, json.dumps(ROWS).encode()[:-5], "is no JSON document"),
        ({"format": "json"}, b'{"data": []}', "is JSON, but no array as a whole"),
        ({"format": "json", "records": "data"}, b'{"rows": []}', "no array in its field data"),
        ({"format": "json", "records": "a.b"}, b'{"a": {"b": {}}}', "no array in its field a.b"),
        ({"format": "json"}, b"\x80[]", "is no UTF-8 at byte 0"),
        ({"format": "json"}, b'[{"play_id": "a"}]', "lacks the columns listener_id, ms_played, played_at, track_id"),
    ],
)
def test_damage_is_named_and_costs_nobody_else_anything(settings: Settings, source: Row, content: bytes, says: str) -> None:
    night = Night(settings, tenant_with({**PLAYS, **source}, WEB, ARTISTS))
    night.deliver("app", day(1), {"broken": content})
    night.deliver("web", day(1), [play("w", 1)])
    night.deliver("artists", day(1), [{"artist_id": "a", "artist_name": "A"}])
    with pytest.raises(DeliveryError, match=rf"\[tenant acme, day 2026-03-02\] plays: .*broken \(source app\) .*{says}.* Next: "):
        night.load()
    assert [row["play_id"] for row in night.rows("bronze")] == ["w"]
    assert len(night.rows("bronze", "artists")) == 1
    assert list(night.marks_of("bronze")) == ["web/2026-03-02"]


def test_a_damaged_batch_holds_no_other_of_its_source_back_and_is_taken_when_it_is_whole(night: Night) -> None:
    for number in range(3):
        night.deliver("app", day(number), {"a.gz": gzip.compress(ndjson([play(f"k{number}", number)] * 5_000))})
    whole = gzip.compress(ndjson([play("late", 1)] * 50_000), 0)
    night.deliver("app", day(1), {"a.gz": whole[: len(whole) // 2]})
    with pytest.raises(DeliveryError, match="ends in the middle"):
        night.load()
    assert sorted(night.marks_of("bronze")) == ["app/2026-03-01", "app/2026-03-03"]
    night.deliver("app", day(1), {"a.gz": whole})
    night.load()
    assert len(night.rows("bronze", columns="play_id")) == 60_000


def test_a_batch_that_comes_damaged_a_second_time_leaves_the_first_in_force(night: Night) -> None:
    night.deliver("app", FIRST, ROWS)
    night.load()
    before = night.rows("bronze"), night.marks_of("bronze")
    night.deliver("app", FIRST, {"a.gz": gzip.compress(ndjson(ROWS))[:-3]})
    with pytest.raises(DeliveryError):
        night.load()
    assert (night.rows("bronze"), night.marks_of("bronze")) == before


def test_a_damaged_delivery_stops_its_own_night_and_no_earlier_one(night: Night) -> None:
    night.deliver("app", day(1), ROWS)
    night.deliver("app", day(2), {"a.gz": gzip.compress(ndjson(ROWS))[:-3]})
    receipt = night.load(day(1))
    assert list(night.marks_of("bronze")) == ["app/2026-03-02"]
    assert [warning.endswith("It was received on 2026-03-03, so this night goes on without it.") for warning in receipt.warnings] == [True]
    assert "a.gz (source app) is gzip that ends in the middle" in receipt.warnings[0]
    for later in (day(2), day(3)):
        with pytest.raises(DeliveryError, match="ends in the middle"):
            night.load(later)


def test_several_failures_are_told_together(night: Night) -> None:
    night.deliver("app", day(0), {"one": NOISE})
    night.deliver("web", day(0), {"two": NOISE})
    night.deliver("artists", day(0), {"three": b'{"artist_id": "a"}'})
    with pytest.raises(NocturneError) as error:
        night.load()
    assert all(name in str(error.value) for name in ("3 things failed", "one (source app)", "two (source web)", "three (source artists)"))


def test_bad_rows_among_good_ones_are_no_damage(night: Night) -> None:
    batch = night.deliver("app", FIRST, {"a": ndjson(ROWS) + b"\n\xff\xfe\n\0\n{"})
    night.load()
    facts = night.marks_of("bronze")[batch].facts
    assert (facts["rows"], facts["problem_rows"]) == (6, 3)


def test_a_key_that_only_later_rows_have_is_found(night: Night) -> None:
    rows = [{name: value for name, value in play(f"k{n}", 0).items() if name != "track_id" or n > 150} for n in range(200)]
    night.deliver("app", FIRST, rows)
    assert night.load().entries[0].counts["rows"] == 200


def test_a_mapping_that_does_not_fit_what_is_delivered_is_the_tenants_error(settings: Settings) -> None:
    mapping = {name: name for name in play("a", 0)} | {"played_at": "date_trunc('day', ms_played)"}
    night = night_of(settings, map=mapping, columns={"ms_played": "boolean"})
    night.deliver("app", FIRST, ROWS)
    with pytest.raises(TenantError, match="The mapping of source app does not fit what it delivers") as error:
        night.load()
    assert "Correct `map`" in str(error.value)


def test_a_broken_manifest_costs_its_dataset_alone(night: Night) -> None:
    night.deliver("app", FIRST, ROWS)
    night.deliver("artists", FIRST, [{"artist_id": "a", "artist_name": "A"}])
    path = next((night.settings.lake_root / "acme" / "landing" / "plays").rglob("manifest.json"))
    path.write_text("{")
    with pytest.raises(DeliveryError, match=r"manifest\.json cannot be read"):
        night.load()
    assert len(night.rows("bronze", "artists")) == 1


def test_a_batch_belongs_to_the_day_on_which_it_was_received(night: Night) -> None:
    night.deliver("app", day(3), [play("late", -400), play("early", 9)])
    night.load()
    assert {row["_received_on"] for row in night.rows("bronze")} == {day(3)}
    assert night.marks_of("bronze")["app/2026-03-04"].facts["dates"] == {date(2025, 1, 25).isoformat(): 1}, "a date to come is none"


# archives ----------------------------------------------------------------------------------------------------------------------
def test_rows_of_an_archive_say_which_member_they_came_from(settings: Settings) -> None:
    night = night_of(settings)
    night.deliver("app", FIRST, {"a.zip": zipped({"x/b": ndjson(ROWS[:2]), "c": ndjson(ROWS[2:])}), "d": ndjson([play("d", 0)])})
    night.load()
    assert [(row["_file"], row["_line"], row["play_id"]) for row in night.rows("bronze", order="play_id")] == [
        ("a.zip!x/b", 1, "a"),
        ("a.zip!x/b", 2, "b"),
        ("a.zip!c", 1, "c"),
        ("d", 1, "d"),
    ]
    assert not (settings.var / "tmp" / "unpacked" / "acme").exists()


def test_a_source_with_a_changed_layout_is_loaded_again(settings: Settings) -> None:
    night = night_of(settings, format="csv", layout={"lines_before": 0})
    night.deliver("app", FIRST, {"a": as_csv(ROWS)})
    night.load()
    night.tenant = tenant_with({**PLAYS, "format": "csv", "layout": {"lines_before": 0, "encoding": "cp1252"}})
    assert night.load().entries[0].counts["batches"] == 1
    assert night.load().entries[0].skipped


def test_rows_that_the_source_counted_otherwise_are_no_batch(settings: Settings) -> None:
    night = night_of(settings)
    batch = night.deliver("app", FIRST, {"a": ndjson(ROWS)})
    manifest = read_manifests(settings, night.tenant, "plays")[batch]
    write_manifest(settings, night.tenant, manifest.model_copy(update={"files": (manifest.files[0].model_copy(update={"rows": 4}),)}))
    with pytest.raises(PermanentError, match="the source says that batch app/2026-03-01 has 4 rows, 3 were read"):
        night.load()
    assert night.marks_of("bronze") == {}
