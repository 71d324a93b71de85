"""Whatever a source delivers: no crash, no hang, bounded memory, and every row is in silver, a duplicate, or in quarantine with a reason.

Each delivery goes through landing, bronze and silver as in a night. It is refused as a whole, by an error that names the file, or its
rows add up: landed = left out + silver + duplicates + quarantined, counted in the tables and not in the marks.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from nocturne.errors import DeliveryError
from nocturne.landing import land
from nocturne.settings import Settings
from tests.integration.lake.test_load_bronze import as_arrow, as_csv, as_parquet, as_workbook
from tests.integration.lake.worlds import FIRST, PLAYS, Night, Row, ndjson, play, tenant_with
from tests.packing import COMPRESSIONS, tarred, zipped

ROWS = [play(f"p{number}", 0, number, track_id=track, country="FR") for number, track in enumerate(["a", "é", "🎵", "t t", "-"] * 4)]
FILES: Mapping[str, bytes] = {
    "ndjson": ndjson(ROWS),
    "json": json.dumps(ROWS).encode(),
    "csv": as_csv(ROWS),
    "parquet": as_parquet(ROWS),
    "arrow": as_arrow(ROWS),
    "xlsx": as_workbook(ROWS),
}


@dataclass(frozen=True)
class Outcome:
    """What became of a delivery's rows; `refused`: why there are none."""

    landed: int = 0
    silver: int = 0
    duplicates: int = 0
    quarantined: int = 0
    refused: str = ""


def through(settings: Settings, kind: str, content: bytes, name: str = "file", **source: Any) -> Outcome:
    """Deliver one file, and run a night."""
    night = Night(settings, tenant_with({**PLAYS, "format": kind, "location": "plays/{day}/*", **source}))
    place = settings.sources_root / "plays" / FIRST.isoformat() / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    os.utime(
        place, (1, 1 + int.from_bytes(os.urandom(3)))
    )  # else a file of the same size within the same instant is not seen to be another
    land(night.tenant, FIRST, settings, night.marks)
    try:
        night.load()
    except DeliveryError as error:
        assert name in str(error)
        return Outcome(refused=str(error))
    night.gate()
    night.refine()
    return added_up(night)


def added_up(night: Night) -> Outcome:
    """The outcome of the one batch, after checking that its rows add up in the tables."""
    (bronze,) = night.marks_of("bronze").values()
    silver, aside = night.rows("silver", order="play_id"), night.rows("quarantine", order="_line")
    told = [mark.facts for mark in night.marks_of("silver").values()]
    duplicates = sum(fact["duplicates"] for fact in told)
    good = [row for row in night.rows("bronze", order="_line") if row["_line"] not in {bad["_line"] for bad in aside}]
    assert all(row["reasons"] for row in aside)
    assert len({row["play_id"] for row in silver}) == len(silver) == len({row["play_id"] for row in good})
    assert duplicates == len(good) - len(silver)
    assert bronze.facts["rows"] == bronze.facts["left_out"] + len(silver) + duplicates + len(aside)
    return Outcome(bronze.facts["rows"], len(silver), duplicates, len(aside))


# values --------------------------------------------------------------------------------------------------------------------------
ODD: Sequence[tuple[Row, bool]] = [
    (play("🎵🎧", 0), True),
    (play("a" * 100_000, 0), True),
    (play("'; DROP TABLE plays; --", 0), True),
    (play("old", 0, played_at="1900-01-01T00:00:00Z"), True),
    (play("older", 0, played_at="1899-12-31T23:59:59Z"), False),
    (play("far", 0, played_at="9999-12-30T00:00:00Z"), False),
    (play("farther", 0, played_at="99999-01-01T00:00:00Z"), False),
    (play("never", 0, played_at="0000-00-00"), False),
    (play("leap", 0, played_at="2025-02-29T00:00:00Z"), False),
    (play("back", 0, ms_played=-1), False),
    (play("long", 0, ms_played=10**30), False),
    (play("half", 0, ms_played="1.5"), False),
    (play("", 0), False),
    (play("nan", 0, ms_played="NaN"), False),
]


@pytest.mark.parametrize("kind", ["ndjson", "json", "csv", "xlsx"])
def test_odd_values_are_judged_one_by_one(settings: Settings, kind: str) -> None:
    rows = [row for row, _ in ODD if kind != "xlsx" or len(row["play_id"]) < 30_000]  # Excel's own limit of a cell
    good = sum(is_good for row, is_good in ODD if row in rows)
    content = {"ndjson": ndjson, "json": lambda given: json.dumps(given).encode(), "csv": as_csv, "xlsx": as_workbook}[kind](rows)
    assert through(settings, kind, content) == Outcome(len(rows), good, 0, len(rows) - good)


def test_lines_that_are_no_plays_are_set_aside(settings: Settings) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    nested = '{"a":' * 5_000 + "1" + "}" * 5_000
    twice = '{"play_id": "t1", ' + json.dumps(play("t2", 0))[1:]
    nul = json.dumps(play("nul\0id", 0))
    bad = ["null", "[]", "1", '"text"', "{", "{}", deep, nested, nul, "\0\0\0", "\ufeff{}", '{"play_id": "\\ud800"}', "NaN"]
    found = through(settings, "ndjson", ndjson([*bad, json.dumps(play("ok", 0)), twice]))
    assert (found.landed, found.refused) == (len(bad) + 2, "")
    assert found.silver in {1, 2}
    assert found.quarantined == found.landed - found.silver


def test_the_same_row_again_is_a_duplicate(settings: Settings) -> None:
    assert through(settings, "csv", as_csv([*ROWS, *ROWS])) == Outcome(40, 20, 20, 0)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("csv", as_csv(ROWS).replace(b"country", b"PLAY_ID")),
        ("parquet", as_parquet([{**row, "PLAY_ID": "x"} for row in ROWS])),
        ("arrow", as_arrow([{**row, "PLAY_ID": "x"} for row in ROWS])),
        ("xlsx", as_workbook([{**row, "PLAY_ID": "x"} for row in ROWS])),
    ],
)
def test_two_columns_of_one_name_are_refused(settings: Settings, kind: str, content: bytes) -> None:
    assert "has the columns play_id twice" in through(settings, kind, content).refused


def test_a_header_without_a_name_hides_no_value(settings: Settings) -> None:
    found = through(settings, "csv", as_csv(ROWS).replace(b"country", b""))
    assert found.refused or (found.silver, found.landed) == (20, 20)


# damage --------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("packed", ["", *COMPRESSIONS, "zip", "tar"])
def test_half_a_file_is_refused_or_adds_up(settings: Settings, kind: str, packed: str) -> None:
    whole = FILES[kind]
    if packed:
        pack = {**COMPRESSIONS, "zip": lambda given: zipped({"f": given}), "tar": lambda given: tarred({"f": given})}[packed]
        whole = pack(whole)
    assert through(settings, kind, whole) == Outcome(20, 20, 0, 0)
    for share in (0.08, 0.12) if packed == "tar" else (0.3, 0.9):  # a tar ends with many zeros
        found = through(settings, kind, whole[: int(len(whole) * share)])
        assert found.refused or (kind in {"ndjson", "csv"} and not packed and 0 < found.landed < 21)


@pytest.mark.parametrize("kind", FILES)
def test_other_bytes_are_refused_or_add_up(settings: Settings, kind: str) -> None:
    """25 files a format with a few other bytes, plain or packed."""
    chance = random.Random(kind)
    for _ in range(25):
        whole = bytearray(chance.choice((FILES[kind], gzip.compress(FILES[kind]), zipped({"f": FILES[kind]}))))
        for _ in range(chance.randrange(1, 5)):
            whole[chance.randrange(len(whole))] = chance.randrange(256)
        through(settings, kind, bytes(whole))


@pytest.mark.parametrize("kind", FILES)
def test_noise_is_refused(settings: Settings, kind: str) -> None:
    chance = random.Random(9)
    for noise in (chance.randbytes(10_000), bytes(10_000), b"\xff" * 10_000, b"\x89PNG\r\n\x1a\n" + chance.randbytes(1_000), b"%PDF-1.7\n"):
        found = through(settings, kind, noise)
        assert found.refused or (kind == "ndjson" and found.quarantined == found.landed)


@pytest.mark.parametrize("kind", ["ndjson", "csv", "json"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
def test_text_in_any_unicode_is_the_same_text(settings: Settings, kind: str, encoding: str) -> None:
    assert through(settings, kind, FILES[kind].decode().encode(encoding)) == Outcome(20, 20, 0, 0)


def test_a_wrong_encoding_sets_rows_aside_and_loses_none(settings: Settings) -> None:
    found = through(settings, "csv", FILES["csv"], layout={"encoding": "ascii"})
    assert found == Outcome(20, 12, 0, 8)


def test_a_link_out_of_the_folder_is_refused(settings: Settings, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(FILES["ndjson"])
    folder = settings.sources_root / "plays" / FIRST.isoformat()
    folder.mkdir(parents=True)
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(DeliveryError, match="leads out of the sources' root"):
        through(settings, "ndjson", FILES["ndjson"])


def test_a_name_of_any_letters_is_a_name(settings: Settings) -> None:
    for name in ("a b'c\"d.ndjson", "🎵.ndjson", "x" * 200, "!{}[]$;&.ndjson", "%2e%2e%2fa"):
        found = through(settings, "ndjson", FILES["ndjson"], name=name)
        assert found.landed % 20 == 0
        assert found.silver == 20


# any value at all ----------------------------------------------------------------------------------------------------------------
any_value = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.datetimes().map(str), st.dates().map(str),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
any_play = st.fixed_dictionaries(dict.fromkeys(play("x", 0), any_value))


@trying(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(any_play, min_size=1, max_size=12))
def test_any_values_add_up(tmp_path_factory: pytest.TempPathFactory, session_settings: Settings, rows: list[Row]) -> None:
    settings = session_settings.model_copy(update={"var": tmp_path_factory.mktemp("any")})
    found = through(settings, "ndjson", ndjson(rows))
    assert found.landed == len(rows)


# size ----------------------------------------------------------------------------------------------------------------------------
CHILD = """
import resource, sys
from pathlib import Path
from nocturne.errors import NocturneError
from nocturne.landing import land
from nocturne.settings import load_settings
from tests.integration.lake.worlds import FIRST, PLAYS, Night, tenant_with

settings = load_settings(var=Path(sys.argv[1]), master_key="5a" * 32)
night = Night(settings, tenant_with({**PLAYS, "format": sys.argv[2], "location": "plays/{day}/*"}))
land(night.tenant, FIRST, settings, night.marks)
said = "taken"
try:
    night.run()
except NocturneError as error:
    said = str(error).replace(chr(10), " ")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, said)
"""


def peak(var: Path, kind: str) -> tuple[int, str]:
    """(peak MB, what was said) of a night in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(var), kind],
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    size, said = done.stdout.split(" ", 1)
    return int(size), said


def place_of(settings: Settings) -> Path:
    folder = settings.sources_root / "plays" / FIRST.isoformat()
    folder.mkdir(parents=True)
    return folder / "large"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "head", "says"),
    [
        ("ndjson", b'{"play_id": "', r"has a line of more than 16 MB \(line 1\)"),
        ("csv", b"play_id,played_at,listener_id,track_id,ms_played\n1,", "is damaged CSV"),
        ("json", b'[{"play_id": "', "is one JSON document of more than 256 MB"),
    ],
)
def test_a_line_of_a_gigabyte_is_refused_in_little_memory(settings: Settings, kind: str, head: bytes, says: str) -> None:
    with place_of(settings).open("wb") as large:
        large.write(head)
        for _ in range(1024):
            large.write(b"x" * (1 << 20))
    size, said = peak(settings.var, kind)
    assert size < 1_200
    assert re.search(says, said)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["zeros", "lines", "tar", "zip"])
def test_a_bomb_is_refused_in_little_memory(settings: Settings, shape: str) -> None:
    """Gigabytes of zeros, or of objects without anything, in a few hundred KB of zstd; of zip, in a few MB."""
    place = place_of(settings)
    line = b'{"a": "' + b"x" * 1_014 + b'"}\n'
    if shape == "zip":
        with (
            zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open("f", "w", force_zip64=True) as member,
        ):
            for _ in range(1_400):
                member.write(b"{}\n" * (1 << 20))
    else:
        with pa.CompressedOutputStream(pa.OSFile(str(place), "wb"), "zstd") as packed:
            if shape == "tar":
                info = tarfile.TarInfo("f")
                info.size = 7 << 30
                packed.write(info.tobuf())
            for _ in range(2_400):
                packed.write(line * (3 << 10) if shape == "lines" else bytes(3 << 20))
    size, said = peak(settings.var, "ndjson")
    assert size < 1_200
    assert "unpacks to more than" in said or "has a line of more than 16 MB" in said
