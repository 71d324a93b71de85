"""Arrow files and streams: validated before they are looked into."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather

from nocturne.bronze.columnar import arrow_rows, arrow_schema
from nocturne.bronze.reading import Reading
from nocturne.errors import DeliveryError
from tests.unit.bronze.test_reading import Row, batch

TABLE = pa.table({"id": pa.array(range(10)), "name": pa.array([f"n{n}é" for n in range(10)]), "tags": pa.array([["a"]] * 10)})


def as_file(given: pa.Table = TABLE) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_file(out, given.schema) as writer:
        writer.write_table(given, max_chunksize=4)
    return out.getvalue()


def as_stream(given: pa.Table = TABLE) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, given.schema) as writer:
        writer.write_table(given, max_chunksize=4)
    return out.getvalue()


def as_feather(given: pa.Table = TABLE, version: int = 2) -> bytes:
    out = io.BytesIO()
    feather.write_feather(given, out, version=version, compression="zstd" if version == 2 else None)
    return out.getvalue()


def read(folder: Path, content: bytes) -> list[Row]:
    given = batch(folder / "b", {"a.arrow": content}, "arrow")
    rows: list[Row] = arrow_rows(Reading([given]), arrow_schema(given, given.manifest.files[0]), ("b", "f", "l")).read_all().to_pylist()
    return rows


@pytest.mark.parametrize("content", [as_file(), as_stream(), as_feather()])
def test_every_row_is_told_with_its_number(tmp_path: Path, content: bytes) -> None:
    assert [(row["f"], row["l"], row["id"], row["name"]) for row in read(tmp_path, content)] == [
        ("a.arrow", n + 1, n, f"n{n}é") for n in range(10)
    ]


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"id,name\n", as_file()[:-10], as_stream()[:-8], as_stream()[:-200]])
def test_what_is_no_arrow_or_only_half_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DeliveryError, match=r"a\.arrow \(source app\) is no (readable )?Arrow"):
        read(tmp_path, content)


@pytest.mark.filterwarnings("ignore")
def test_the_old_feather_is_called_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="is Feather of version 1"):
        read(tmp_path, b"FEA1" + bytes(100) + b"FEA1")


def test_damage_is_refused_or_harmless(tmp_path: Path) -> None:
    """1,500 files with a few other bytes: DeliveryError or rows, and the process lives."""
    chance = random.Random(7)
    wholes = [as_file(), as_stream(), as_feather()]
    refused = 0
    for _ in range(1_500):
        damaged = bytearray(chance.choice(wholes))
        for _ in range(chance.randrange(1, 5)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            read(tmp_path, bytes(damaged))
        except DeliveryError:
            refused += 1
    assert refused > 100
