"""XML as records: what stands at the paths, at which line, in bounded memory; and what is refused."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from nocturne.bronze import markup
from nocturne.bronze.markup import markup_records
from nocturne.bronze.reading import LINE, Batch, Reading
from nocturne.errors import DeliveryError
from tests.unit.bronze.test_reading import Row, batch

DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<m:Message xmlns:m="urn:a" Version="7">
  <Sender><Name>Dusk &amp; Co</Name></Sender>
  <!-- a comment <Item/> -->
  <List>
    <Item Kind="a">
      <m:Id>1</m:Id><Title Language="en">One</Title><Title Language="fr">Un</Title>
      <Part><Part><Ref>x</Ref></Part><Ref>y</Ref></Part>
    </Item>
    <Item>
      <Id>2</Id><Title Language="en"> <![CDATA[Two < 3]]> </Title><Ref>z</Ref>
    </Item>
    <Item/>
  </List>
  <Names><Name Key="x">Ex</Name><Name Key="y">Why</Name><Name Key="y">Again</Name><None Key="z"/></Names>
</m:Message>
"""


def read(tmp_path: Path, content: bytes, paths: dict[str, Any], layout: Row | None = None, **declared: Any) -> list[Row]:
    declared = {"records": "List/Item", "paths": paths, **declared}
    given: Batch = batch(tmp_path / "b", {"a.xml": content}, "xml", {"xml": declared}, **(layout or {}))
    rows: list[Row] = Reading([given]).records(tuple(paths), markup_records).read_all().to_pylist()
    return [{name: value for name, value in row.items() if name == LINE or not name.startswith("__")} for row in rows]


def column(tmp_path: Path, path: Any, **declared: Any) -> list[str | None]:
    return [row["c"] for row in read(tmp_path, DOCUMENT.encode(), {"c": path}, **declared)]


def test_each_record_is_a_row_with_its_line(tmp_path: Path) -> None:
    rows = read(tmp_path, DOCUMENT.encode(), {"id": "Id", "title": "Title"})
    assert rows == [
        {LINE: 6, "id": "1", "title": "One"},
        {LINE: 10, "id": "2", "title": "Two < 3"},
        {LINE: 13, "id": None, "title": None},
    ]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("@Kind", ["a", None, None]),
        ("Title[@Language=fr]", ["Un", None, None]),
        (["Title[@Language=fr]", "Title"], ["Un", "Two < 3", None]),
        ("Title/@Language", ["en", "en", None]),
        ("Part/Ref", ["y", None, None]),
        ("Part//Ref", ["x", None, None]),
        ("*/Ref", ["y", None, None]),
        ("../Id", [None, None, None]),
        ("../../Sender/Name", ["Dusk & Co"] * 3),
        ("../../@Version", ["7"] * 3),
        ("../../Names/Name", [None] * 3),  # stands behind the records
    ],
)
def test_paths_lead_to_texts(tmp_path: Path, path: Any, found: list[str | None]) -> None:
    assert column(tmp_path, path) == found


NAMES = {"names": {"records": "Names/Name", "key": "@Key", "value": ".", "ignored": "Names/None"}}


def test_lookups_know_what_stands_behind_the_records(tmp_path: Path) -> None:
    assert column(tmp_path, ["Part/Ref -> names", "Title"], lookups=NAMES) == ["Why", "Two < 3", None]


def test_each_text_of_a_column_makes_a_row(tmp_path: Path) -> None:
    refs = ["Part//Ref", "Ref"]
    assert column(tmp_path, refs, each=["c"]) == ["x", "y", "z", None]
    known = column(tmp_path, [f"{ref} -> names" for ref in refs], each=["c"], lookups=NAMES)
    assert known == ["Ex", "Why", "Again", None, None]


def test_two_such_columns_make_all_pairs(tmp_path: Path) -> None:
    rows = read(tmp_path, DOCUMENT.encode(), {"a": "Title", "b": "Part//Ref"}, each=["a", "b"])
    assert [(row["a"], row["b"]) for row in rows[:4]] == [("One", "x"), ("One", "y"), ("Un", "x"), ("Un", "y")]


def test_a_text_that_no_lookup_knows_is_null_and_one_that_it_ignores_is_none(tmp_path: Path) -> None:
    content = b"<M><List><Item><R>q</R><R>x</R><R>z</R></Item></List><Names><Name Key='x'>Ex</Name><None Key='z'/></Names></M>"
    rows = read(tmp_path, content, {"c": "R -> names"}, each=["c"], lookups=NAMES)
    assert [row["c"] for row in rows] == [None, "Ex"]


@pytest.mark.parametrize(
    ("content", "layout"),
    [
        (DOCUMENT.replace("One", "Ünö").replace("UTF-8", "ISO-8859-1").encode("iso-8859-1"), {}),
        (DOCUMENT.replace("One", "Ünö").replace("UTF-8", "UTF-16").encode("utf-16"), {}),
        (DOCUMENT.replace("One", "Ünö").encode("utf-8-sig"), {}),
        (DOCUMENT.replace("One", "Ünö").replace('encoding="UTF-8"', "").encode("cp1252"), {"encoding": "cp1252"}),
        (gzip.compress(DOCUMENT.replace("One", "Ünö").encode()), {}),
    ],
)
def test_encodings_and_packing_make_no_difference(tmp_path: Path, content: bytes, layout: Row) -> None:
    assert read(tmp_path, content, {"c": "Title"}, layout)[0]["c"] == "Ünö"


BOMB = '<!DOCTYPE m [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><m><List><Item>&b;</Item></List></m>'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", r"is damaged XML: no element found \(line 1\)"),
        (b"id,name\n1,a\n", r"is damaged XML: syntax error \(line 1\)"),
        (DOCUMENT.encode()[: DOCUMENT.index("</Item>")], r"is damaged XML: no element found \(line 9\)"),
        (DOCUMENT.replace("</Item>", "</Items>", 1).encode(), r"is damaged XML: mismatched tag \(line 9\)"),
        (DOCUMENT.replace("One", "\x01").encode(), r"is damaged XML: not well-formed \(invalid token\) \(line 7\)"),
        (DOCUMENT.replace("One", "Ünö").encode("cp1252"), r"is damaged XML: not well-formed \(invalid token\) \(line 7\)"),
        (BOMB.encode(), r"has a document type or entities \(line 1\)"),
        (b'<!DOCTYPE m SYSTEM "file:///etc/passwd"><m/>', "has a document type"),
        (DOCUMENT.replace("Message", "Purge").encode(), "has the root Purge, where Message is declared"),
        (b"<Message>" + b"<a>" * 300 + b"</a>" * 300 + b"</Message>", "more than 200 elements within each other"),
        (DOCUMENT.replace("UTF-8", "EBCDIC-XY").encode(), r"\(line 1\)"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(DeliveryError, match=rf"a\.xml \(source app\) .*{says}"):
        read(tmp_path, content, {"c": "Title"}, root="Message")


def test_only_what_a_path_leads_to_is_held(tmp_path: Path) -> None:
    item = "<Item><Id>1</Id><Note>" + "n" * 1_000 + "</Note></Item>\n"
    content = ("<M><Head>h</Head><Other>" + item * 5_000 + "</Other><List>" + item * 5_000 + "</List></M>").encode()
    tracemalloc.start()
    rows = read(tmp_path, content, {"id": "Id", "head": "../../Head"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(rows), rows[-1]) == (5_000, {LINE: 10_000, "id": "1", "head": "h"})
    assert peak < len(content) // 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<M><List><Item>" + b"<Id>1</Id>" * 20_000 + b"</Item></List></M>", "holds more than 1 MB in or beside one record"),
        (b"<M><List><Item><Id>" + b"1" * 2_000_000 + b"</Id></Item></List></M>", "holds more than 1 MB in or beside one record"),
        (b"<M><!--" + b"-a" * 2_000_000 + b"--></M>", "has a tag or comment of more than 1 MB"),
        (
            b"<M><List><Item>" + b"".join(b"<Id>%d</Id>" % n for n in range(1_100)) + b"</Item></List></M>",
            "one record of more than 1000000 rows",
        ),
        (b"<M><Names>" + b"<Name Key='a'>b</Name>" * 20_000 + b"</Names></M>", "has lookups of more than 1 MB"),
    ],
)
def test_what_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, says: str) -> None:
    monkeypatch.setattr(markup, "_MAX_HELD", 1 << 20)
    with pytest.raises(DeliveryError, match=says):
        read(tmp_path, content, {"a": "Id", "b": "Id"}, each=["a", "b"], lookups=NAMES)


def test_damage_anywhere_is_told_or_harmless(tmp_path: Path) -> None:
    dice = random.Random(7)
    whole = read(tmp_path, DOCUMENT.encode(), {"c": "Title"}, lookups=NAMES)
    for _ in range(300):
        content = bytearray(DOCUMENT.encode())
        for _ in range(dice.randint(1, 3)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        try:
            rows = read(tmp_path, bytes(content), {"c": "Title"}, lookups=NAMES)
        except DeliveryError as error:
            assert "a.xml" in str(error)
        else:
            assert len(rows) <= len(whole)


SPANS = """<M><List>
<Item><T>a</T><F>2026-01-05</F><U>2026-01-09</U></Item>
<Item><T>a</T><F>2026-01-01</F><U>2026-01-05</U></Item>
<Item><T>a</T><F>2026-01-02</F><U>2026-01-03</U></Item>
<Item><T>b</T><F>2026-01-01</F><U>2026-01-05</U></Item>
<Item><T>a</T><F>2026-01-10</F></Item>
<Item><T>a</T><F>2026-02-01</F><U>2026-02-02</U></Item>
<Item><T>a</T><F>soon</F></Item>
<Item><T>a</T><F>2026-01-01</F><U>later</U></Item>
</List></M>"""


def test_rows_that_hold_on_the_same_days_are_one(tmp_path: Path) -> None:
    rows = read(tmp_path, SPANS.encode(), {"t": "T", "f": "F", "u": "U"}, spans=["f", "u"])
    assert sorted((row[LINE], row["t"], row["f"], row["u"]) for row in rows) == [
        (3, "a", "2026-01-01", "2026-01-09"),
        (5, "b", "2026-01-01", "2026-01-05"),
        (6, "a", "2026-01-10", None),
        (8, "a", "soon", None),
        (9, "a", "2026-01-01", "later"),
    ]


def test_joined_rows_hold_on_the_same_days_as_before(tmp_path: Path) -> None:
    dice = random.Random(5)
    for _ in range(50):
        spans = [
            (first := dice.randint(1, 20), dice.choice([None, min(28, first + dice.randint(0, 6))])) for _ in range(dice.randint(1, 8))
        ]
        items = "".join(f"<Item><F>2026-01-{f:02}</F>{'' if u is None else f'<U>2026-01-{u:02}</U>'}</Item>" for f, u in spans)
        rows = read(tmp_path, f"<M><List>{items}</List></M>".encode(), {"f": "F", "u": "U"}, spans=["f", "u"])
        found = [(int(row["f"][-2:]), int(row["u"][-2:]) if row["u"] else None) for row in rows]
        days = [sum(f <= day <= (31 if u is None else u) for f, u in found) for day in range(1, 32)]
        assert days == [int(any(f <= day <= (31 if u is None else u) for f, u in spans)) for day in range(1, 32)]
