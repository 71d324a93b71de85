"""Sealed files: what was put in comes out, and nothing else ever does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne import at_rest
from nocturne.at_rest import BrokenSealError, is_encrypted, is_sealed, no_key, opened, seal, size_as_delivered

KEY, OTHER = b"k" * 32, b"o" * 32
PIECE = 64


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some bytes shall be many pieces."""
    monkeypatch.setattr(at_rest, "_PIECE", PIECE)


def sealed(folder: Path, content: bytes, key: bytes | None) -> Path:
    plain, target = folder / "plain", folder / "sealed"
    plain.write_bytes(content)
    seal(plain, target, key)
    return target


def read(path: Path, key: bytes | None = None) -> bytes:
    with opened(path, (lambda: key) if key else no_key) as raw:
        return raw.read()


@pytest.mark.parametrize("key", [None, KEY])
@given(content=st.binary(max_size=10 * PIECE))
def test_what_was_put_in_comes_out(key: bytes | None, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = sealed(Path(folder), content, key)
        assert (read(path, key), size_as_delivered(path), is_sealed(path)) == (content, len(content), True)
        assert is_encrypted(path) == (key is not None)


def test_a_plain_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(b"as it is")
    assert (read(path), size_as_delivered(path), is_sealed(path)) == (b"as it is", 8, False)


def test_a_packed_file_can_be_encrypted_and_an_encrypted_one_is_not_sealed_again(tmp_path: Path) -> None:
    packed = sealed(tmp_path, b"x" * 1_000, None)
    seal(packed, tmp_path / "encrypted", KEY)
    assert read(tmp_path / "encrypted", KEY) == b"x" * 1_000
    with pytest.raises(BrokenSealError):
        seal(tmp_path / "encrypted", tmp_path / "again", KEY)


def test_the_same_content_is_never_encrypted_to_the_same_bytes(tmp_path: Path) -> None:
    first = sealed(tmp_path, b"the same", KEY).read_bytes()
    assert first != sealed(tmp_path, b"the same", KEY).read_bytes()
    assert b"the same" not in first


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    path = sealed(tmp_path, b"secret" * 100, KEY)
    with pytest.raises(BrokenSealError, match="the master key is another"):
        read(path, OTHER)


def test_a_change_of_any_byte_of_an_encrypted_file_is_found(tmp_path: Path) -> None:
    path = sealed(tmp_path, bytes(range(256)), KEY)
    whole = path.read_bytes()
    for place in range(len(at_rest.MAGIC), len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(BrokenSealError):
            read(path, KEY)


@pytest.mark.parametrize("key", [None, KEY])
def test_a_sealed_file_that_was_cut_off_anywhere_is_found(tmp_path: Path, key: bytes | None) -> None:
    path = sealed(tmp_path, bytes(range(256)) * 2, key)
    whole = path.read_bytes()
    for length in range(at_rest._HEADER, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BrokenSealError):
            read(path, key)


def test_pieces_cannot_change_places(tmp_path: Path) -> None:
    content = bytes((number * number * 7 + number) % 251 for number in range(2_000))
    path = sealed(tmp_path, content, KEY)
    whole, size = path.read_bytes(), PIECE + 16
    header, body = whole[: at_rest._HEADER], whole[at_rest._HEADER :]
    assert len(body) > 3 * size
    path.write_bytes(header + body[size : 2 * size] + body[:size] + body[2 * size :])
    with pytest.raises(BrokenSealError):
        read(path, KEY)
