"""What a night must know of a broker, whichever it is: what its topic holds, the messages between two positions, how far we are.

A topic has parts (Kafka's partitions; a stream of Redis is one part), called `<topic>/<number>`, and a message stands in its part for ever
at one position, which is text here: an offset of Kafka, an id of Redis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from nocturne.manifests import Range

_BYTES_AT_ONCE: Final = 8 << 20
_MESSAGES_AT_ONCE: Final = 500
_UNKNOWN_BYTES: Final = 1 << 19
"""What the first messages may be expected to have."""


class BrokerError(Exception):
    """What a broker or its client says, without secrets; `may_pass` if another try is worth it."""

    def __init__(self, what: str, *, may_pass: bool) -> None:
        self.may_pass = may_pass
        super().__init__(what)


@dataclass(frozen=True)
class Extent:
    """What a part holds at one moment: its first position, its end, and how many messages it has ever held, where that is counted."""

    begin: str
    end: str
    ever: int | None = None


@dataclass(frozen=True)
class Span:
    """What of a part is taken: what comes after `since` (None: all) up to `until`. `extent` is what the part holds.

    `ever`: how much it had ever held at `until`. `is_late`: it is new in a topic that we know, so that what its beginning lacks is lost.
    """

    part: str
    since: str | None
    until: str
    extent: Extent
    before: Range | None = None
    ever: int | None = None
    is_late: bool = False


@dataclass(frozen=True)
class Piece:
    """Some lines of a span, in order. `ended_at`: the span is drained, and this is how far it went; else more follows."""

    span: Span
    lines: Sequence[bytes]
    ended_at: str | None = None


class Broker(Protocol):
    """A client of a broker. All but `close` raise BrokerError."""

    @property
    def place(self) -> str:
        """Its address, without secrets."""

    def extents(self) -> Mapping[str, Extent]:
        """What each part of the topic holds now."""

    def order(self, position: str) -> Any:
        """What compares as positions do."""

    def drain(self, spans: Sequence[Span]) -> Iterator[Piece]:
        """The messages of these spans; each ends with a piece that says so, and few are drained at a time."""

    def lost(self, span: Span, rows: int) -> int:
        """How many messages of a span the broker could not give any more, `rows` having come."""

    def commit(self, ranges: Sequence[Range]) -> None:
        """Tell the broker how far we are."""

    def close(self) -> None:
        """Take leave of it."""


def part_of(topic: str, number: int) -> str:
    """The name of a part."""
    return f"{topic}/{number}"


def number_of(part: str) -> int:
    """The number of a part."""
    return int(part.rpartition("/")[2])


def topic_of(part: str) -> str:
    """The topic of a part."""
    return part.rpartition("/")[0]


def at_once(largest: int) -> int:
    """How many messages may be asked for together, when the largest so far had this many bytes (0: none came yet)."""
    return max(1, min(_MESSAGES_AT_ONCE, _BYTES_AT_ONCE // (largest or _UNKNOWN_BYTES)))
