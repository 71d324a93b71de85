"""Text in any encoding as UTF-8, chunk by chunk.

The encoding is, in this order: that of the byte order mark; the declared one; UTF-16 without a mark, if the first bytes are plain text in
it; for CSV, whose standard names none, one found by charset-normalizer in the first lines that are no UTF-8; else UTF-8. What is no text
in that encoding comes out as a byte that is no UTF-8 either, so that the readers mark its row.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

_MARKS: Final = (  # that of UTF-32 LE begins with that of UTF-16 LE
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_HEAD: Final = 4_096
_SEARCHED: Final = 1 << 20
_EVIDENCE: Final = 32_768
_LEAST_EVIDENCE: Final = 4
_USUAL: Final = "cp1252"
_ALIKE: Final = 0.1
_CANDIDATES: Final = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "iso8859_2", "iso8859_5", "iso8859_7"),
    *("koi8_r", "mac_roman", "cp437", "cp850", "cp932", "gb18030", "big5", "euc_jp", "euc_kr"),
]
_LETTERS: Final = frozenset(b"\t\n\r" + bytes(range(0x20, 0x7F)))
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_UNREADABLE: Final = "nocturne.unreadable"


def _as_no_utf8(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end  # which surrogateescape encodes as the byte 0xFF


codecs.register_error(_UNREADABLE, _as_no_utf8)


def as_utf8(chunks: Iterator[bytes], declared: str | None, *, finds: bool) -> Iterator[bytes]:
    """`chunks` of text as chunks of UTF-8 without a mark; `finds`: look for another encoding where none is declared."""
    first: list[bytes] = []
    wanted = _SEARCHED if finds and declared is None else _HEAD
    size = 0
    for chunk in chunks:
        first.append(chunk)
        size += len(chunk)
        if size >= wanted:
            break
    head = b"".join(first)
    encoding, mark = _encoding(head, declared, finds=finds)
    rest = _without(mark, chain(first, chunks))
    return rest if encoding == "utf-8" else _decoded(rest, encoding)


def _encoding(head: bytes, declared: str | None, *, finds: bool) -> tuple[str, int]:
    """The name of an encoding as Python's codecs know it, and the length of the mark."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name, len(mark)
    if declared is not None:
        return codecs.lookup(declared).name, 0
    found = _utf16(head[:_HEAD]) or (_found(head) if finds else None)
    return found or "utf-8", 0


def _without(count: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        if count < len(chunk):
            yield chunk[count:]
        count = max(0, count - len(chunk))


def _decoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors=_UNREADABLE)
    for chunk in chunks:
        if text := decoder.decode(chunk):
            yield text.encode(errors="surrogateescape")
    if text := decoder.decode(b"", final=True):
        yield text.encode(errors="surrogateescape")


def _utf16(head: bytes) -> str | None:
    """UTF-16 without a mark: it begins with two ASCII letters, holds many more (as JSON and headers do) and no control characters."""
    for name, zero in (("utf-16-le", 1), ("utf-16-be", 0)):
        letters = head[1 - zero : 4 : 2]
        if len(head) >= 4 and head[zero] == head[zero + 2] == 0 and letters[0] in _LETTERS and letters[1] in _LETTERS:
            try:
                text = codecs.getincrementaldecoder(name)().decode(head)
            except UnicodeDecodeError:
                return None
            many = head[zero::2].count(0) * 5 >= len(text)
            return name if many and not _CONTROLS.search(text.encode(errors="replace")) else None
    return None


def _found(head: bytes) -> str | None:
    """The encoding of text that is no UTF-8; None for text that is, or of which only some letters are damaged, and for what is no text."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    text = decoder.decode(head)
    wrong = text.count("\ufffd")
    right = sum(len(run) for run in re.findall(r"[^\x00-\x7f\ufffd]+", text))
    if wrong < _LEAST_EVIDENCE or right * 2 > wrong or _CONTROLS.search(head):
        return None
    lines = [line for line in head.splitlines() if not line.isascii()]
    from charset_normalizer import from_bytes

    likely = from_bytes(b"\n".join(lines)[:_EVIDENCE], cp_isolation=_CANDIDATES, preemptive_behaviour=False)
    best = likely.best()
    if best is None:
        return None
    # The encodings of Europe differ in few letters, and short texts fit several: the one that most programs write goes before the others.
    as_good = (one for one in likely if one.chaos <= best.chaos + _ALIKE and one.coherence >= best.coherence - _ALIKE)
    return _USUAL if any(_USUAL in one.could_be_from_charset for one in as_good) else codecs.lookup(best.encoding).name
