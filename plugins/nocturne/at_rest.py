"""How raw files stand in landing: as they were delivered, or sealed (packed, and encrypted where the tenant's file says so).

    sealed file     magic (8 bytes), form (1), size as delivered (8, big-endian), salt (16), then the bytes packed with zstd
    form 1          ... as they are
    form 2          ... in pieces of 1 MB, each AES-256-GCM with a tag of its own

The key of a file is HMAC-SHA256(the tenant's key for landing, salt), so that no two files share a nonce. The nonce of a piece is its number
and whether it is the last, and the header is authenticated with each: pieces that are cut off, exchanged or changed are found (the STREAM
construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015). A sealed file keeps its name, and replaces the plain one at once: what reads
a file that begins with the magic unseals it, so a delivery that begins with it by itself is always sealed.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from nocturne.settings import Settings
from nocturne.tenants import Tenant

MAGIC: Final = b"\x89NoctL\r\n"
_PACKED: Final = 1
_ENCRYPTED: Final = 2
_HEADER: Final = len(MAGIC) + 1 + 8 + 16
_PIECE: Final = 1 << 20
_TAG: Final = 16

Key = Callable[[], bytes]
"""Gives the tenant's key for landing; asked only where something is encrypted."""


class BrokenSealError(OSError):
    """A sealed file is damaged, was changed, or is of another key."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EIO, f"its seal is broken: {what}")


def landing_key(settings: Settings, tenant: Tenant) -> bytes:
    """The key that a tenant's raw files are encrypted with."""
    return settings.derive("landing", tenant.slug)


def is_sealed(path: Path) -> bool:
    """Whether the file is sealed."""
    return _header(path) is not None


def is_encrypted(path: Path) -> bool:
    """Whether the file is sealed with a key."""
    header = _header(path)
    return header is not None and header[len(MAGIC)] == _ENCRYPTED


def size_as_delivered(path: Path) -> int:
    """The size, in bytes, of what was delivered."""
    header = _header(path)
    return path.stat().st_size if header is None else int.from_bytes(header[len(MAGIC) + 1 : len(MAGIC) + 9], "big")


def opened(path: Path, key: Key) -> BinaryIO:
    """The file's bytes as delivered, to be read from the first to the last. Raises OSError."""
    return as_file(_unsealed(path, key)) if is_sealed(path) else path.open("rb")


def as_file(pieces: Iterator[bytes]) -> BinaryIO:
    """Pieces of bytes as a file that is read from its first byte to its last."""
    return io.BufferedReader(_Pieces(pieces), _PIECE)


def seal(path: Path, target: Path, key: bytes | None, *, is_plain: bool = False) -> None:
    """Write the bytes of `path` (as delivered, or sealed without a key) sealed to `target`, and see that they are on the disk.

    `is_plain`: it stands as delivered for certain, whatever it begins with.
    """
    size = path.stat().st_size if is_plain else size_as_delivered(path)
    salt = os.urandom(16)
    header = MAGIC + bytes([_ENCRYPTED if key else _PACKED]) + size.to_bytes(8, "big") + salt
    with path.open("rb") if is_plain else opened(path, no_key) as raw, target.open("wb") as out:
        out.write(header)
        pieces = _packed(iter(lambda: raw.read(_PIECE), b""))
        for piece in _encrypted(pieces, header, key) if key else pieces:
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())


def no_key() -> bytes:
    """Where nothing may be encrypted."""
    raise BrokenSealError("it is encrypted, which nobody expected")


def _header(path: Path) -> bytes | None:
    with path.open("rb") as raw:
        header = raw.read(_HEADER)
    return header if header.startswith(MAGIC) and len(header) == _HEADER else None


def _packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Bytes packed with zstd, in pieces of no certain size."""
    import pyarrow as pa

    sink = _Sink()
    with pa.CompressedOutputStream(pa.PythonFile(sink, mode="w"), "zstd") as stream:
        for piece in pieces:
            stream.write(piece)
            yield from sink.taken()
    yield from sink.taken()


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def taken(self) -> list[bytes]:
        taken, self._pieces = self._pieces, []
        return taken


def _cipher(header: bytes, key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(hmac.new(key, header[-16:], hashlib.sha256).digest())


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def _encrypted(pieces: Iterable[bytes], header: bytes, key: bytes) -> Iterator[bytes]:
    cipher, number, waiting = _cipher(header, key), 0, b""
    for piece in pieces:
        waiting += piece
        while len(waiting) > _PIECE:
            yield cipher.encrypt(_nonce(number, is_last=False), waiting[:_PIECE], header)
            number, waiting = number + 1, waiting[_PIECE:]
    yield cipher.encrypt(_nonce(number, is_last=True), waiting, header)


def _decrypted(raw: BinaryIO, header: bytes, key: bytes) -> Iterator[bytes]:
    from cryptography.exceptions import InvalidTag

    cipher, number = _cipher(header, key), 0
    piece = raw.read(_PIECE + _TAG)
    while piece:
        following = raw.read(_PIECE + _TAG)
        try:
            yield cipher.decrypt(_nonce(number, is_last=not following), piece, header)
        except InvalidTag as error:
            raise BrokenSealError(f"piece {number} was changed or cut off, or the master key is another") from error
        number, piece = number + 1, following
    if not number:
        raise BrokenSealError("nothing follows its header")


def _unsealed(path: Path, key: Key) -> Iterator[bytes]:
    import pyarrow as pa

    with path.open("rb") as raw:
        header = raw.read(_HEADER)
        form, size = header[len(MAGIC)], int.from_bytes(header[len(MAGIC) + 1 : len(MAGIC) + 9], "big")
        if form not in {_PACKED, _ENCRYPTED}:
            raise BrokenSealError(f"it is of an unknown form ({form})")
        packed: Any = raw if form == _PACKED else _Pieces(_decrypted(raw, header, key()))
        count = 0
        try:
            with pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), "zstd") as stream:
                while piece := stream.read(_PIECE):
                    count += len(piece)
                    yield piece
        except (OSError, pa.ArrowException) as error:
            if isinstance(error, BrokenSealError) or (isinstance(error, OSError) and error.errno is not None):
                raise
            raise BrokenSealError(str(error).splitlines()[0]) from error
        if count != size:
            raise BrokenSealError(f"it holds {count} bytes, and says {size}")


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
