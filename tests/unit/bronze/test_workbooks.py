"""Workbooks as records of text, and what is no workbook."""

from __future__ import annotations

import io
import random
import re
import zipfile
from collections.abc import Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from openpyxl import DEFUSEDXML, Workbook

from nocturne.bronze import unpacking
from nocturne.bronze.reading import DELIVERED, LINE, UNREADABLE, Batch, Reading
from nocturne.bronze.workbooks import workbook_header, workbook_records
from nocturne.errors import DeliveryError
from tests.packing import zipped
from tests.unit.bronze.test_reading import Row, batch

HEADER = ["id", "name", "on"]


def workbook(rows: Sequence[Sequence[Any]], **sheets: Sequence[Sequence[Any]]) -> bytes:
    book = Workbook()
    book.remove(book.worksheets[0])
    for title, content in {"First": rows, **sheets}.items():
        sheet = book.create_sheet(title)
        for row in content:
            sheet.append(list(row))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def edited(content: bytes, part: str, old: bytes, new: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert old in parts[part]
    return zipped({**parts, part: parts[part].replace(old, new)})


def read(given: Batch, *columns: str) -> list[Row]:
    rows: list[Row] = Reading([given]).records(columns, workbook_records).read_all().to_pylist()
    return rows


def test_cells_become_the_text_that_csv_would_hold(tmp_path: Path) -> None:
    values = [
        1,
        2.0,
        2.5,
        True,
        "é🎵",
        date(2026, 3, 1),
        datetime.fromisoformat("2026-03-01T04:05:06"),
        time(4, 5),
        None,
        "#N/A",
        12345678901,
    ]
    header = [f"c{at}" for at in range(len(values))]
    (row,) = read(batch(tmp_path / "b", {"a.xlsx": workbook([header, values])}, "xlsx"), *header)
    told = ["1", "2", "2.5", "true", "é🎵", "2026-03-01", "2026-03-01 04:05:06", "04:05:00", None, "#N/A", "12345678901"]
    assert [row[name] for name in header] == told


def test_the_header_is_found_below_a_title(tmp_path: Path) -> None:
    content = workbook([["Report of March"], [], HEADER, [1, "a", None], [], [2, "b", "x"]])
    given = batch(tmp_path / "b", {"a.xlsx": content}, "xlsx")
    assert workbook_header(given, given.manifest.files[0]).columns == tuple(HEADER)
    assert [(row[LINE], row["id"], row["name"]) for row in read(given, "id", "name")] == [(4, "1", "a"), (6, "2", "b")]


def test_a_declared_header_and_sheet_hold(tmp_path: Path) -> None:
    content = workbook([["wide", "r", "than", "it"]], Plays=[["a", "b", "c", "d"], ["id"], [7]])
    given = batch(tmp_path / "b", {"a.xlsx": content}, "xlsx", sheet="Plays", lines_before=1)
    assert [row["id"] for row in read(given, "id")] == ["7"]


def test_a_value_without_a_name_is_not_dropped(tmp_path: Path) -> None:
    (good, bad) = read(batch(tmp_path / "b", {"a.xlsx": workbook([["id", "name"], [1, "a"], [2, "b", "more"]])}, "xlsx"), "id")
    assert good[UNREADABLE] is None
    assert (bad[UNREADABLE], bad[DELIVERED]) == ("row: has a value in a column without a name", "2\tb\tmore")


def test_more_rows_than_a_block_holds_are_all_told(tmp_path: Path) -> None:
    found = read(batch(tmp_path / "b", {"a.xlsx": workbook([["id"], *([n] for n in range(20_000))])}, "xlsx"), "id")
    assert [(row[LINE], row["id"]) for row in found] == [(n + 2, str(n)) for n in range(20_000)]


@pytest.mark.parametrize(
    ("content", "layout", "says"),
    [
        (b"", {}, "is a damaged zip archive"),
        (b"id,name\n", {}, "is a damaged zip archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", {}, "old format, or one with a password"),
        (zipped({"a": b""}), {}, "is no readable workbook"),
        (workbook([HEADER])[:-40], {}, "is a damaged zip archive"),
        (workbook([]), {}, "sheet has no header"),
        (workbook([HEADER], B=[]), {"sheet": "C"}, "lacks the sheet C; it has First, B"),
        (workbook([["id", "ID"]]), {}, r"has the columns id twice \(row 1\)"),
        (edited(workbook([HEADER]), "xl/workbook.xml", b"<workbook", b"<wo"), {}, "is no readable workbook"),
        (
            edited(workbook([HEADER, [1]]), "xl/worksheets/sheet1.xml", b'<row r="2"', b'<row r="99999999999"'),
            {},
            "more than a sheet can have",
        ),
    ],
)
def test_what_is_no_workbook_is_named(tmp_path: Path, content: bytes, layout: Row, says: str) -> None:
    given = batch(tmp_path / "b", {"a.xlsx": content}, "xlsx", **layout)
    with pytest.raises(DeliveryError, match=rf"plays: .*a\.xlsx \(source app\) .*{says}"):
        read(given, "id")


def test_entities_that_multiply_are_refused(tmp_path: Path) -> None:
    assert DEFUSEDXML
    laughs = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
    whole = workbook([HEADER, ["a", "b", "c"]])
    for part in ("xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml"):
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            declared, text = re.fullmatch(rb"(<\?.*?\?>)?(.*)", archive.read(part), re.DOTALL).groups()  # type: ignore[union-attr]
        content = edited(whole, part, (declared or b"") + text, (declared or b"") + laughs + text)
        with pytest.raises(DeliveryError, match="is no readable workbook: (EntitiesForbidden|ValueError Unable to read workbook)"):
            read(batch(tmp_path / "b", {"a.xlsx": content}, "xlsx"), "id")


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "FREE", 1 << 20)
    content = edited(workbook([HEADER]), "xl/worksheets/sheet1.xml", b"<sheetData>", b"<sheetData>" + b" " * (32 << 20))
    with pytest.raises(DeliveryError, match="unpacks to more than"):
        read(batch(tmp_path / "b", {"a.xlsx": content}, "xlsx"), "id")


def test_damage_never_raises_anything_else(tmp_path: Path) -> None:
    """300 workbooks with a few other bytes in one of their parts."""
    chance = random.Random(6)
    whole = workbook([HEADER, *([n, f"n{n}", date(2026, 3, 1)] for n in range(20))])
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    refused = 0
    for _ in range(300):
        name = chance.choice(list(parts))
        damaged = bytearray(parts[name])
        for _ in range(chance.randrange(1, 8)):
            damaged[chance.randrange(len(damaged))] = chance.choice(b'<>&"/0 9aA\0\xff')
        given = batch(tmp_path / "b", {"a.xlsx": zipped({**parts, name: bytes(damaged)})}, "xlsx")
        try:
            read(given, *HEADER)
        except DeliveryError as error:
            assert "a.xlsx (source app)" in str(error)
            refused += 1
    assert refused > 100
