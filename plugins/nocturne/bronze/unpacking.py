"""Compressed files as streams of bytes: gzip, bzip2, xz and zstd, told by their first bytes and never by a name.

A file is unpacked in pieces of bounded size, and as a whole to no more than FREE bytes or RATIO times its own size, whichever is more,
and never to more than MOST: what claims more is a bomb, or a delivery that should come in several files.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol, Self

FREE: Final = 256 << 20
RATIO: Final = 200
MOST: Final = 64 << 30
HEAD: Final = 512

_MEMORY: Final = 128 << 20  # of an xz stream's dictionary; `xz -9` needs 65 MB
_UNREAD: Final[Mapping[bytes, str]] = {
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x04\x22\x4d\x18": "packed with LZ4",
    b"\x1f\x9d": "packed with compress",
}
_BZIP2: Final = (b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90")


class UnpackingError(Exception):
    """What is wrong with packed bytes, and what to do next (None: deliver them again); whoever knows the file's name tells it."""

    def __init__(self, what: str, next_step: str | None = None) -> None:
        self.what = what
        self.next_step = next_step
        super().__init__(what)


@dataclass(frozen=True)
class Raw:
    """A file as it was delivered: how it is opened (from its first byte, again and again), and its size."""

    open: Callable[[], BinaryIO]
    size: int

    @classmethod
    def at(cls, path: Path) -> Self:
        """The file at a path."""
        return cls(lambda: path.open("rb"), path.stat().st_size)

    def head(self) -> bytes:
        """Its first bytes."""
        with self.open() as raw:
            return raw.read(HEAD)


class _Decompressor(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def compression(head: bytes) -> str | None:
    """How a file that begins with these bytes is compressed; None: it is not."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz"
    if head.startswith(b"BZh") and head[4:10] in _BZIP2:
        return "bzip2"
    return None


def unpacked(file: Raw, block: int) -> Iterator[bytes]:
    """The bytes of a file, decompressed if they are compressed. Raises UnpackingError if they are damaged or too many, and OSError."""
    head = file.head()
    for magic, what in _UNREAD.items():
        if head.startswith(magic):
            raise UnpackingError(f"is {what}, which is not read", "Have it delivered plain, or as gzip, bzip2, xz, zstd, zip or tar.")
    kind = compression(head)
    with file.open() as raw:
        if kind is None:
            yield from iter(lambda: raw.read(block), b"")
        else:
            yield from within(_STREAMS[kind](raw, block), file.size)


def within(stream: Iterator[bytes], packed: int) -> Iterator[bytes]:
    """`stream`, as long as it is not too much for what is packed in so many bytes."""
    allowance = Allowance(packed)
    for piece in stream:
        allowance.take(len(piece))
        yield piece


class Allowance:
    """What so many packed bytes may still unpack to."""

    def __init__(self, packed: int) -> None:
        self._packed = packed
        self._most = self._left = min(MOST, max(FREE, RATIO * packed))

    def take(self, count: int) -> None:
        """Unpack `count` bytes more. Raises UnpackingError if they are too many."""
        self._left -= count
        if self._left < 0:
            raise UnpackingError(
                f"unpacks to more than {self._most >> 20} MB ({self._packed} bytes may unpack to {RATIO} times as many,"
                f" at least {FREE >> 20} MB, at most {MOST >> 30} GB)",
                "See what was delivered: it may be a bomb. If it is not, have it delivered in several files.",
            )


def _gzip(raw: BinaryIO, block: int) -> Iterator[bytes]:
    """Gzip of one or several members."""
    member = zlib.decompressobj(wbits=31)
    try:
        while chunk := raw.read(block):
            rest = chunk
            while rest:
                if member.eof:
                    if not rest.strip(b"\0"):  # padding behind the last member
                        break
                    member = zlib.decompressobj(wbits=31)
                out = member.decompress(rest, block)
                rest = member.unused_data if member.eof else member.unconsumed_tail
                if out:
                    yield out
    except zlib.error as error:
        raise UnpackingError(f"is damaged gzip: {error}") from error
    if not member.eof:
        raise UnpackingError("is gzip that ends in the middle")


def _streams(name: str, make: Callable[[], _Decompressor]) -> Callable[[BinaryIO, int], Iterator[bytes]]:
    """A reader of one or several streams of a format that Python's library decompresses."""

    def read(raw: BinaryIO, block: int) -> Iterator[bytes]:
        stream, rest = make(), b""
        try:
            while chunk := rest or raw.read(block):
                rest = b""
                if stream.eof:
                    chunk = chunk.lstrip(b"\0")  # padding between two streams, or behind the last
                    if not chunk:
                        continue
                    stream = make()
                out = stream.decompress(chunk, block)
                while out or not (stream.needs_input or stream.eof):
                    yield out
                    out = b"" if stream.eof or stream.needs_input else stream.decompress(b"", block)
                rest = stream.unused_data if stream.eof else b""
        except (OSError, lzma.LZMAError, ValueError, EOFError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's, not the stream's
            raise UnpackingError(f"is damaged {name}: {error}") from error
        if not stream.eof:
            raise UnpackingError(f"is {name} that ends in the middle")

    return read


def _zstd(raw: BinaryIO, block: int) -> Iterator[bytes]:
    import pyarrow as pa

    try:
        stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
        while piece := stream.read(block):
            yield piece
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the stream's
        says = str(error).splitlines()[0]
        raise UnpackingError("is zstd that ends in the middle" if "Truncated" in says else f"is damaged zstd: {says}") from error


_STREAMS: Final[Mapping[str, Callable[[BinaryIO, int], Iterator[bytes]]]] = {
    "gzip": _gzip,
    "zstd": _zstd,
    "bzip2": _streams("bzip2", bz2.BZ2Decompressor),
    "xz": _streams("xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)),
}
