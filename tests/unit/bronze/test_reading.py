"""Raw files as rows: every line and record is told with its number, what cannot be read says why, and damage names the file."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import random
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from nocturne.bronze.reading import (
    DELIVERED,
    EVERY_ROW,
    FILE,
    LINE,
    MAX_LINE,
    SOME_ROWS,
    UNREADABLE,
    Batch,
    Reading,
    csv_dialect,
    sampled_keys,
)
from nocturne.errors import DeliveryError
from nocturne.manifests import Delivered, Manifest
from nocturne.tenants import Tenant

Row = dict[str, Any]


def batch(folder: Path, files: Mapping[str, bytes], kind: str = "ndjson", more: Mapping[str, Any] | None = None, **layout: Any) -> Batch:
    source = {"name": "app", "dataset": "plays", "kind": "files", "location": "plays/{day}", "format": kind, "layout": layout or None}
    source |= more or {}
    tenant = Tenant.model_validate(
        {
            "slug": "acme",
            "name": "Acme",
            "time_zone": "UTC",
            "currency": "EUR",
            "begins_on": "2026-01-01",
            "sources": [source],
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    told = []
    for name, content in sorted(files.items()):
        (folder / name).write_bytes(content)
        told.append(Delivered(name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), origin="test"))
    day = date(2026, 3, 1)
    manifest = Manifest(
        tenant="acme", dataset="plays", source="app", received_on=day, files=tuple(told), taken_at=datetime(2026, 3, 2, tzinfo=UTC)
    )
    return Batch(tenant, tenant.sources[0], manifest, folder)


def lines(given: Batch, block: int = 64) -> list[Row]:
    rows: list[Row] = Reading([given], block=block).lines().read_all().to_pylist()
    return rows


def records(given: Batch, *columns: str) -> list[Row]:
    rows: list[Row] = Reading([given]).records(columns).read_all().to_pylist()
    return rows


# NDJSON ------------------------------------------------------------------------------------------------------------------------
def expected_lines(content: bytes) -> list[tuple[int, str, bool]]:
    found = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        line = line.rstrip(b"\r\n")
        if line:
            try:
                found.append((number, line.decode(), False))
            except UnicodeDecodeError:
                found.append((number, line.decode(errors="replace"), True))
    return found


def test_every_line_is_told_with_its_number(tmp_path: Path) -> None:
    """1,300 files of more than 10,000 lines in all: any letters, any blocks, packed or not."""
    chance = random.Random(1)
    pieces = [b"\n", b"\n", b"\r\n", b"\r", b"{}", b'{"a": "\xc3\xa9"}', b"\xff", b"\0", b" ", b"\xef\xbb\xbf", b"x" * 70]
    seen = 0
    for _ in range(1_300):
        content = b"".join(chance.choices(pieces, k=chance.randrange(90)))
        packed = gzip.compress(content, 1, mtime=0) if chance.random() < 0.3 else content
        given = batch(tmp_path / "b", {"a": packed})
        found = lines(given, block=chance.choice((5, 33, 64, 4096)))
        expected = expected_lines(content)
        assert [(row[LINE], row[DELIVERED], row[UNREADABLE] is not None) for row in found] == expected
        seen += len(expected)
    assert seen > 10_000


def test_a_batch_counts_the_rows_of_all_its_files(tmp_path: Path) -> None:
    given = batch(tmp_path / "b", {"a": b"{}\n\n{}", "b": b"", "c": b"{}\n"})
    reading = Reading([given])
    rows = reading.lines().read_all().to_pylist()
    assert [(row[FILE], row[LINE]) for row in rows] == [("a", 1), ("a", 3), ("c", 1)]
    assert reading.rows == {"app/2026-03-01": 3}


def test_gzip_of_several_members_is_one_file(tmp_path: Path) -> None:
    content = gzip.compress(b'{"a": 1}\n') + gzip.compress(b'{"a": 2}\n') + b"\0" * 100
    assert [row[DELIVERED] for row in lines(batch(tmp_path / "b", {"a.gz": content}))] == ['{"a": 1}', '{"a": 2}']


def test_gzip_that_ends_in_the_middle_is_refused_by_name(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps(list(range(2_000))).encode())
    for cut in (3, len(packed) // 2, len(packed) - 1):
        given = batch(tmp_path / "b", {"plays.ndjson.gz": packed[:cut]})
        with pytest.raises(DeliveryError, match=r"acme.*plays: .*plays\.ndjson\.gz.*(ends in the middle|damaged gzip)"):
            lines(given)


def test_gzip_with_a_flipped_bit_is_refused_by_name(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"".join(json.dumps({"n": n}).encode() + b"\n" for n in range(500))))
    packed[len(packed) // 2] ^= 0x10
    with pytest.raises(DeliveryError, match=r"plays\.gz.*gzip"):
        lines(batch(tmp_path / "b", {"plays.gz": bytes(packed)}))


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    given = batch(tmp_path / "b", {"a": b"{}\n" + b"x" * (MAX_LINE + 2)})
    with pytest.raises(DeliveryError, match=r"line of more than 16 MB \(line 2\)"):
        lines(given, block=1 << 20)


def test_a_file_that_landing_lost_is_named(tmp_path: Path) -> None:
    given = batch(tmp_path / "b", {"a": b"{}"})
    (given.folder / "a").write_bytes(b"{} ")
    with pytest.raises(DeliveryError, match="has 3 bytes, the manifest says 2"):
        given.check_files()
    (given.folder / "a").unlink()
    with pytest.raises(DeliveryError, match="in the manifest, but not there"):
        given.check_files()


def test_keys_are_sampled_from_what_can_be_read(tmp_path: Path) -> None:
    given = batch(tmp_path / "b", {"a": b'{"a": 1\n[1]\n{"b": 1, "c": 2}\n', "b": b'{"d": 1}'})
    assert sampled_keys(given) == dict.fromkeys("bcd", SOME_ROWS)
    given = batch(tmp_path / "c", {"a": b'{"a": 1, "b": 2}\n', "b": b'{"a": 1}'})
    assert sampled_keys(given) == {"a": EVERY_ROW, "b": SOME_ROWS}


# CSV ---------------------------------------------------------------------------------------------------------------------------
def test_every_record_is_told_with_its_number(tmp_path: Path) -> None:
    """300 files against Python's own reader: quotes, line ends within values, records with a value too few or too many."""
    chance = random.Random(2)
    values = ["", "1", "a,b", 'say "x"', "two\nlines", "é", " "]
    for _ in range(300):
        delimiter = chance.choice(",;\t|")
        rows = [[chance.choice(values) for _ in range(chance.choice((3, 3, 3, 3, 2, 4)))] for _ in range(chance.randrange(8))]
        out = io.StringIO()
        writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator=chance.choice(("\n", "\r\n")))
        writer.writerows([["x", "y", "z"], *rows])
        found = records(batch(tmp_path / "b", {"a.csv": out.getvalue().encode()}, "csv"), "x", "y", "z")
        good = [(row[LINE], row["x"], row["y"], row["z"]) for row in found if row[UNREADABLE] is None]
        bad = {row[LINE]: row[UNREADABLE] for row in found if row[UNREADABLE] is not None}
        numbered = list(enumerate(rows, start=2))
        assert good == [(number, *(value or None for value in row)) for number, row in numbered if len(row) == 3]
        assert bad == {number: f"row: has {len(row)} values, the header has 3" for number, row in numbered if len(row) != 3}


def test_a_refused_record_keeps_its_text(tmp_path: Path) -> None:
    (row,) = records(batch(tmp_path / "b", {"a.csv": b"x,y\n1,2,3\n"}, "csv"), "x", "y")
    assert (row[DELIVERED], row["x"], row["y"]) == ("1,2,3", None, None)


def test_a_value_that_is_no_utf8_marks_its_record(tmp_path: Path) -> None:
    found = records(batch(tmp_path / "b", {"a.csv": b"x,y\n1,\xff\n2,3\n"}, "csv"), "x", "y")
    assert [(row["x"], row[UNREADABLE]) for row in found] == [("1", "row: is no UTF-8"), ("2", None)]


def test_letters_of_several_bytes_may_stand_across_blocks(tmp_path: Path) -> None:
    content = "x,y\n" + "\n".join(f"{n},é€🎵" for n in range(20))
    given = batch(tmp_path / "b", {"a.csv": content.encode()}, "csv")
    for block in range(5, 12):
        found = Reading([given], block=block).records(["x", "y"]).read_all().to_pylist()
        assert [(row["x"], row["y"], row[UNREADABLE]) for row in found] == [(str(n), "é€🎵", None) for n in range(20)]


def test_a_refused_record_that_is_no_utf8_is_not_lost(tmp_path: Path) -> None:
    found = records(batch(tmp_path / "b", {"a.csv": b"x,y\n1,2\n\xe4\n"}, "csv"), "x", "y")
    assert [(row[LINE], row[UNREADABLE]) for row in found] == [(2, None), (3, "row: has 1 values, the header has 2")]


def test_files_with_different_headers_stand_side_by_side(tmp_path: Path) -> None:
    found = records(batch(tmp_path / "b", {"a.csv": b"x,y\n1,2\n", "b.csv": b"z;x\n3;4\n"}, "csv"), "x", "y", "z")
    assert [(row["x"], row["y"], row["z"]) for row in found] == [("1", "2", None), ("4", None, "3")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty: a CSV file has a header even if it has no rows"),
        (b"\n\n", "is empty"),
        (b"\x80a,b\n", "header is no UTF-8 at byte 0"),
        (b"\0\0\0\n", "no header"),
        (b"a,A\n1,2\n", "has the columns a twice"),
        (b'a,b\n1,2\n3,"never closed\n4,5\n', r"opens a quote that is never closed \(record 3\)"),
    ],
)
def test_a_csv_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    given = batch(tmp_path / "b", {"plays.csv": content}, "csv")
    with pytest.raises(DeliveryError, match=rf"plays: .*plays\.csv \(source app\) .*{says}"):
        csv_dialect(given, given.manifest.files[0])
        records(given, "a", "b")


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        ("a;b\n1,5;2,5\n1,0;3,1\n", ";"),
        ("a,x;b,c\n1,2,3\n4,5,6\n", ","),
        ("name|a,b,c\nx|y\nz|w\n", "|"),
        ('a\tb\n"1,2,3"\t"4\n5"\n', "\t"),
        ("alone\n1\n", ","),
    ],
)
def test_the_delimiter_is_the_one_into_which_the_records_fall_alike(tmp_path: Path, content: str, delimiter: str) -> None:
    given = batch(tmp_path / "b", {"a.csv": content.encode()}, "csv")
    assert csv_dialect(given, given.manifest.files[0]).delimiter == delimiter


def test_a_declared_delimiter_and_quote_hold(tmp_path: Path) -> None:
    (row,) = records(batch(tmp_path / "b", {"a.csv": b"x^y,z\n'a^b'^2\n"}, "csv", delimiter="^", quote="'"), "x", "y,z")
    assert (row["x"], row["y,z"]) == ("a^b", "2")


def test_a_file_without_quotes_may_hold_them(tmp_path: Path) -> None:
    found = records(batch(tmp_path / "b", {"a.tsv": b'x\ty\n"7\tdisc\n12"\t"a\n'}, "csv", quote="none"), "x", "y")
    assert [(row["x"], row["y"]) for row in found] == [('"7', "disc"), ('12"', '"a')]


def test_lines_before_the_header_are_passed_over_and_counted(tmp_path: Path) -> None:
    content = b'Report of "plays\n\nx,y\n1,2\n1,2,3\n4,5\n'
    for block in (1, 3, 1 << 20):
        reading = Reading([batch(tmp_path / "b", {"a.csv": content}, "csv", lines_before=2)], block=block)
        found = reading.records(["x", "y"]).read_all().to_pylist()
        assert [(row[LINE], row["x"]) for row in found] == [(4, "1"), (6, "4"), (5, None)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
def test_csv_in_any_unicode_is_read_alike(tmp_path: Path, encoding: str) -> None:
    found = records(batch(tmp_path / "b", {"a.csv": "x;y\n1;é🎵\n".encode(encoding)}, "csv"), "x", "y")
    assert [(row["x"], row["y"], row[UNREADABLE]) for row in found] == [("1", "é🎵", None)]


def test_ndjson_in_a_declared_encoding_is_decoded(tmp_path: Path) -> None:
    given = batch(tmp_path / "b", {"a": '{"x": "é"}\n'.encode("cp1252") + b"\x81\n"}, encoding="cp1252")
    assert [(row[DELIVERED][:10], row[UNREADABLE]) for row in lines(given)] == [('{"x": "é"}', None), ("\ufffd", "row: is no UTF-8")]


def test_noise_never_raises_anything_else(tmp_path: Path) -> None:
    """300 files of random bytes, as CSV and as NDJSON, packed and not."""
    chance = random.Random(3)
    for _ in range(300):
        noise = chance.randbytes(chance.randrange(200))
        content = chance.choice((noise, b"a,b\n" + noise, b"\x1f\x8b" + noise, gzip.compress(noise)[: chance.randrange(1, 60)]))
        for kind in ("csv", "ndjson"):
            given = batch(tmp_path / "b", {"noise": content}, kind)
            try:
                found = records(given, "a", "b") if kind == "csv" else lines(given)
            except DeliveryError as error:
                assert "noise" in str(error)
            else:
                assert all(row[LINE] >= 1 for row in found)
