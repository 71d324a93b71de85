"""Compressed files as streams: whole or refused, never more than was allowed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from nocturne.bronze import unpacking
from nocturne.bronze.unpacking import Raw, UnpackingError, unpacked
from tests.packing import COMPRESSIONS


def read(folder: Path, content: bytes, block: int = 4_096) -> bytes:
    (folder / "a").write_bytes(content)
    return b"".join(unpacked(Raw.at(folder / "a"), block))


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_what_was_packed_comes_out_again(tmp_path: Path, kind: str) -> None:
    """In one stream and in several, in blocks of any size."""
    chance = random.Random(1)
    pack = COMPRESSIONS[kind]
    for size in (0, 1, 1_000, 100_000):
        content = bytes(chance.choices(b"abc\n", k=size))
        for block in (512, 65_536):
            assert read(tmp_path, pack(content), block) == content
            assert read(tmp_path, pack(content) + pack(b"more"), block) == content + b"more"


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_a_packed_file_that_ends_in_the_middle_is_refused(tmp_path: Path, kind: str) -> None:
    packed = COMPRESSIONS[kind](random.Random(2).randbytes(20_000))
    for cut in (12, len(packed) // 2, len(packed) - 1):
        with pytest.raises(UnpackingError, match=f"{kind}( that ends in the middle|:)"):
            read(tmp_path, packed[:cut])


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_damage_is_refused_or_harmless(tmp_path: Path, kind: str) -> None:
    """A flipped bit anywhere: the content as it was, or UnpackingError (zstd without a checksum may also give other bytes)."""
    content = random.Random(3).randbytes(3_000)
    packed = COMPRESSIONS[kind](content)
    refused = 0
    for at in range(0, len(packed), 7):
        damaged = bytearray(packed)
        damaged[at] ^= 0x20
        try:
            found = read(tmp_path, bytes(damaged))
        except UnpackingError:
            refused += 1
        else:
            assert found == content or kind == "zstd" or unpacking.compression(bytes(damaged)) is None
    assert refused or kind == "zstd"


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "FREE", 1 << 20)
    (tmp_path / "a").write_bytes(COMPRESSIONS[kind](bytes(32 << 20)))
    allowed = max(1 << 20, unpacking.RATIO * (tmp_path / "a").stat().st_size)
    seen, largest = 0, 0
    with pytest.raises(UnpackingError, match=r"unpacks to more than \d+ MB"):
        for piece in unpacked(Raw.at(tmp_path / "a"), 65_536):
            seen += len(piece)
            largest = max(largest, len(piece))
    assert seen <= allowed
    assert largest <= 65_536


@pytest.mark.parametrize("head", [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x00", b"\x04\x22\x4d\x18", b"\x1f\x9d"])
def test_what_is_not_read_is_called_by_its_name(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(UnpackingError, match=r"is (a|packed with) .*, which is not read"):
        read(tmp_path, head + bytes(20))


def test_plain_bytes_stay_as_they_are(tmp_path: Path) -> None:
    for content in (b"", b"BZ", b"BZh9 is a name", b"PK", b"\x1f"):
        assert read(tmp_path, content) == content
