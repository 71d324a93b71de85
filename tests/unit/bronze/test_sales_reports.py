"""DDEX sales reports as records: what belongs to a sale, at which line, and what is refused."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nocturne.bronze import sales_reports
from nocturne.bronze.reading import DELIVERED, LINE, UNREADABLE, Reading
from nocturne.bronze.sales_reports import CELLS, COLUMNS, report_records
from nocturne.errors import DeliveryError
from nocturne.settings import PROJECT
from tests.unit.bronze.test_reading import Row, batch

SCHEMAS = PROJECT.parent / "shared" / "data" / "ddex_dsr" / "schemas"
HEAD = "HEAD\tdsrf/30\tBasicAudioProfile\t1.1\tM1\t2026-02-01T00:00:00Z\t1\t1\t2026-01-01\t2026-01-31\tP1\tShop"
SUMS = [
    "SY01\t1\t\t\tPayAsYouGoModel\tPermanentDownload\tGB\t\t12\t\tGBP\t9.9",
    "SY01\t2\t\t\tPayAsYouGoModel\tPermanentDownload\tFR\t\t1\t\tEUR\t1",
]
BLOCK = [
    "RE01\tB1\tR1\tshop-r\t\t\t5016958000000\tBjörk\t\tHomogenic",
    "AS01\tB1\tA1\tshop-a\tGBAAA9700001\tJóga \\| Live\t\tBjörk\t\tPT5M5S\tSoundRecording",
    "AS01\tB1\tA2\tshop-b\tGBAAA9700002\tHunter\t\tBjörk\t\tPT4M15S\tSoundRecording",
    "SU01\tB1\t1\tT1\tR1\t\ttrue\tfalse\t10\t1\t7.99",
    "SU01\tB1\t2\tT2\tR1\tA2\ttrue\tfalse\t3\t0\t0.99",
]


def report(*records: str, head: str = HEAD, foot: str | None = None) -> bytes:
    """A report of these records, with a foot that counts them."""
    lines = [head, *records]
    blocks = len({line.split("\t")[1] for line in records if not line.startswith(("SY", "SR", "#", "DE")) and "\t" in line})
    sums = sum(line.startswith("SY") for line in records)
    foot = f"FOOT\t{len(lines) + 1}\t{len(lines) + 1}\t{sums}\t{blocks}\t{blocks}" if foot is None else foot
    return "\n".join([*lines, *([foot] if foot else [])]).encode() + b"\n"


def read(tmp_path: Path, content: bytes) -> list[Row]:
    given = batch(tmp_path / "b", {"a.tsv": content}, "dsr")
    rows: list[Row] = Reading([given]).records(COLUMNS, report_records).read_all().to_pylist()
    return rows


@pytest.mark.skipif(not SCHEMAS.is_dir(), reason="the schemas are not here")
def test_the_cells_are_those_of_the_published_schemas() -> None:
    namespace = "{http://www.w3.org/2001/XMLSchema}"
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(SCHEMAS.glob("*Profile*/*/*.xsd")):
        for kind in ElementTree.parse(path).getroot().iter(f"{namespace}complexType"):
            if (name := kind.get("name") or "").startswith("RecordType-"):
                cells = [one for one in kind.iter(f"{namespace}element") if one.get("name") != "RecordType"]
                told = ((one.get("name") or "").strip() + ("*" if one.get("maxOccurs") == "unbounded" else "") for one in cells)
                found[re.sub(r"(\w\w\d\d)(\d\d)$", r"\1.\2", name.removeprefix("RecordType-"))] = tuple(told)
    assert found == dict(CELLS)


def test_a_sale_is_told_with_what_it_names(tmp_path: Path) -> None:
    album, song = read(tmp_path, report(*SUMS, *BLOCK))
    assert (album[LINE], album["record"], album["HEAD_MessageId"], album["SY_Territory"]) == (7, "SU01", "M1", "GB")
    assert (album["RE_ICPN"], album["AS_ISRC"], album["SU_Usages"], album["SU_Returns"]) == ("5016958000000", None, "10", "1")
    assert (song[LINE], song["SY_Territory"], song["SY_Currency"], song["AS_ISRC"]) == (8, "FR", "EUR", "GBAAA9700002")
    assert json.loads(song[DELIVERED])["AS_Title"] == "Hunter"
    assert song[UNREADABLE] is None


def test_escaped_delimiters_are_text(tmp_path: Path) -> None:
    usage = "SU03.01\tB1\tT1\t1\tshop-a\t5\t0.1"
    (row,) = read(tmp_path, report(*SUMS, BLOCK[1], usage))
    assert (row["AS_Title"], row["AS_Duration"]) == ("Jóga | Live", "PT5M5S")


def test_claims_belong_to_the_usage_before_them(tmp_path: Path) -> None:
    lines = ["SU03.01\tB1\tT1\t1\tshop-a\t5\t0.1", "LI01.01\tB1\t1\tPUB", "SU03.01\tB1\tT2\t1\tshop-a\t6\t0.2", "LI01.01\tB1\t1\tSOC"]
    rows = read(tmp_path, report(*SUMS, BLOCK[1], *lines))
    assert [(row["record"], row["SU_SalesTransactionId"], row["LI_RightsController"]) for row in rows] == [
        ("SU03.01", "T1", None), ("LI01.01", "T1", "PUB"), ("SU03.01", "T2", None), ("LI01.01", "T2", "SOC"),
    ]  # fmt: skip
    assert {row["AS_ISRC"] for row in rows} == {"GBAAA9700001"}


def test_blocks_are_kept_apart(tmp_path: Path) -> None:
    other = ["AS01\tB2\tA1\tshop-c\tGBAAA9700003\tC\t\tD\t\tPT1M\tSoundRecording", "SU03.01\tB2\tT1\t1\tshop-c\t5\t0.1"]
    rows = read(tmp_path, report(*SUMS, BLOCK[1], "SU03.01\tB1\tT1\t1\tshop-a\t5\t0.1", *other))
    assert [(row["SU_BlockId"], row["AS_ISRC"]) for row in rows] == [("B1", "GBAAA9700001"), ("B2", "GBAAA9700003")]


def test_an_unknown_record_is_read_by_the_comment_that_names_its_cells(tmp_path: Path) -> None:
    comment = "#SU99\tBlockId\tSummaryRecordId\tUsages"
    (row,) = read(tmp_path, report(comment, *SUMS, "SU99\tB1\t2\t7"))
    assert (row["record"], row["SU_Usages"], row["SY_Territory"]) == ("SU99", "7", "FR")


def test_a_damaged_line_makes_only_its_own_block_doubtful(tmp_path: Path) -> None:
    wide = BLOCK[1] + "\ttoo\tmany"
    other = ["AS01\tB2\tA1\tc\t\tC\t\tD\t\tPT1M\tSoundRecording", "SU03.01\tB2\tT1\t1\tc\t5\t0.1"]
    rows = read(tmp_path, report(*SUMS, wide, "SU03.01\tB1\tT1\t1\tshop-a\t5\t0.1", *other).replace(b"\tC\t", b"\t\xff\t"))
    assert [row[UNREADABLE] for row in rows] == ["row: has 12 values, a record AS01 has 10", "row: is no UTF-8"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no sales report: it is empty"),
        (b"#HEAD\n\n", "is no sales report: it is empty"),
        (b"id,name\n1,a\n", r"has a record 'id,name' that is not known here, and no comment that names its cells \(line 1\)"),
        (SUMS[0].encode(), r"is no sales report: it begins without a HEAD record \(line 1\)"),
        (report(*SUMS, HEAD, *BLOCK), r"has two heads \(line 4\)"),
        (report(*SUMS, *BLOCK, foot=""), r"ends without a foot \(line 8\)"),
        (report(*SUMS, *BLOCK)[:-60], r"ends without a foot|is not known"),
        (report(*SUMS, *BLOCK) + BLOCK[0].encode(), r"goes on behind its foot \(line 10\)"),
        (report(*SUMS, *BLOCK).replace(b"SU01\tB1\t2", b"SU77\tB1\t2"), r"has a record 'SU77' that is not known here.* \(line 8\)"),
        (report(*SUMS, *BLOCK, foot="FOOT\t8\t8\t2\t1\t1"), r"says 8 in NumberOfLinesInFile of its foot, but has 9 \(line 9\)"),
        (report(*SUMS, *BLOCK, foot="FOOT\t9\t9\t3\t1\t1"), "says 3 in NumberOfSummaryRecords of its foot, but has 2"),
        (report(*SUMS, *BLOCK, foot="FOOT\t9\t9\t2\t2\t2"), "says 2 in NumberOfBlocksInFile of its foot, but has 1"),
    ],
)
def test_what_is_no_whole_report_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(DeliveryError, match=rf"a\.tsv \(source app\) .*({says})"):
        read(tmp_path, content)


def test_one_file_of_several_counts_its_own_lines(tmp_path: Path) -> None:
    head = HEAD.replace("\t1\t1\t2026", "\t1\t2\t2026")
    assert len(read(tmp_path, report(*SUMS, *BLOCK, head=head, foot="FOOT\t9\t\t4\t1"))) == 2


def test_an_endless_block_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sales_reports, "_MAX_BLOCK", 100)
    with pytest.raises(DeliveryError, match="has a block of more than 100 records"):
        read(tmp_path, report(*SUMS, *(["SU03.01\tB1\tT1\t1\ta\t5\t0.1"] * 200)))


def test_damage_anywhere_is_told_or_harmless(tmp_path: Path) -> None:
    dice = random.Random(3)
    for _ in range(300):
        content = bytearray(report(*SUMS, *BLOCK))
        for _ in range(dice.randint(1, 4)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        try:
            rows = read(tmp_path, bytes(content))
        except DeliveryError as error:
            assert "a.tsv" in str(error)
        else:
            assert len(rows) <= 2
