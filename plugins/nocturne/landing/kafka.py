"""Kafka: a topic's partitions between two offsets, read without a group's assignment, so that nothing but the manifest says where.

Only what was committed is read of transactions, and a partition ends before the first one that is still open. The marks of transactions and
what compaction removed are offsets without a message: a partition is drained when a message at or behind the end comes, or its end itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from nocturne.errors import PermanentError
from nocturne.landing.brokers import BrokerError, Extent, Piece, Span, at_once, number_of, part_of, topic_of
from nocturne.landing.connections import Connection, is_here
from nocturne.landing.messages import instant, line, text_of, texts
from nocturne.manifests import Range

if TYPE_CHECKING:
    from confluent_kafka import Message


_PARTITIONS_AT_ONCE: Final = 32
_POLL_SECONDS: Final = 0.1
"""However many messages are asked for, memory holds no more than come in this time."""
_NO_TIMESTAMP: Final = 0
_LOG: Final = logging.getLogger("nocturne.landing.kafka")
_HEARD: Final = frozenset(
    {
        "bootstrap.servers", "client.rack", "security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.kerberos.service.name",
        "sasl.oauthbearer.method", "sasl.oauthbearer.scope", "sasl.oauthbearer.extensions", "sasl.oauthbearer.token.endpoint.url",
        "ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.cipher.suites", "socket.timeout.ms",
        "socket.keepalive.enable", "broker.address.family", "fetch.max.bytes", "max.partition.fetch.bytes", "receive.message.max.bytes",
    }
)  # fmt: skip
_SHUT: Final = frozenset(
    {
        KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._INVALID_ARG, KafkaError._UNSUPPORTED_FEATURE,
        KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.UNSUPPORTED_SASL_MECHANISM, KafkaError.ILLEGAL_SASL_STATE,
        KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.TOPIC_EXCEPTION,
    }
)  # fmt: skip
"""What a retry would meet again."""


class Kafka:
    """A topic of a cluster."""

    def __init__(self, connection: Connection, topic: str, group: str, *, patience_seconds: float) -> None:
        """Nothing is asked of the cluster yet. Raises PermanentError if the connection is none of Kafka's."""
        settings = settings_of(connection)
        self.place = f"kafka://{settings['bootstrap.servers']}"
        self._topic = topic
        self._patience_seconds = patience_seconds
        self._said: KafkaError | None = None
        ours = {
            "group.id": group,
            "client.id": "nocturne",
            "error_cb": self._hear,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
            "queued.max.messages.kbytes": 16_384,
            "fetch.wait.max.ms": 100,  # how long a broker that has nothing more keeps us waiting for its end
            "log_level": 2,  # what it meets comes through `error_cb`; its log would tell each of a thousand tries
        }
        try:
            self._consumer = Consumer(settings | ours, logger=_LOG)
        except KafkaException as error:
            raise _wrong(f"the client says: {error.args[0].str()}") from None

    def extents(self) -> Mapping[str, Extent]:
        """The low and the high watermark of each partition."""
        with _Told(self):
            topic = self._consumer.list_topics(self._topic, timeout=self._patience_seconds).topics[self._topic]
            if topic.error is not None:
                raise KafkaException(topic.error)
            return {part_of(self._topic, number): self._extent(number) for number in sorted(topic.partitions)}

    def _extent(self, number: int) -> Extent:
        asked = TopicPartition(self._topic, number)
        marks = self._consumer.get_watermark_offsets(asked, timeout=self._patience_seconds, cached=False)
        if marks is None:
            raise BrokerError(f"partition {number} does not say what it holds", may_pass=True)
        return Extent(str(marks[0]), str(marks[1]))

    def order(self, position: str) -> int:
        """Offsets are numbers."""
        return int(position)

    def drain(self, spans: Sequence[Span]) -> Iterator[Piece]:
        """Few partitions at a time: each has a file that is open."""
        waiting = iter(spans)
        while some := list(islice(waiting, _PARTITIONS_AT_ONCE)):
            with _Told(self):
                yield from self._drain(some)

    def _drain(self, spans: Sequence[Span]) -> Iterator[Piece]:
        begins = {number_of(span.part): _begin(span) for span in spans}
        waiting = {number_of(span.part): span for span in spans}
        for number, span in list(waiting.items()):
            if begins[number] >= int(span.until):
                del waiting[number]
                yield Piece(span, (), span.until)
        self._consumer.assign([TopicPartition(self._topic, number, begins[number]) for number in waiting])
        largest, deadline = 0, time.monotonic() + self._patience_seconds
        while waiting:
            messages = self._consumer.consume(at_once(largest), _POLL_SECONDS)
            pieces = list(pieces_of(waiting, messages, self._hear))
            if pieces:
                deadline = time.monotonic() + self._patience_seconds
            elif time.monotonic() > deadline:
                said = f" ({self._said.str()})" if self._said else ""
                raise BrokerError(f"no message came for {self._patience_seconds:.0f} s{said}", may_pass=True)
            for piece in pieces:
                largest = max(largest, *map(len, piece.lines), 0)
                if piece.ended_at is not None:
                    self._consumer.pause([TopicPartition(self._topic, number_of(piece.span.part))])
                yield piece
        self._consumer.unassign()

    def lost(self, span: Span, rows: int) -> int:
        """Offsets between where we were and where the partition begins: as many messages, or fewer where it was compacted."""
        if span.since is None and not span.is_late:
            return 0
        return max(0, min(int(span.extent.begin), int(span.until)) - int(span.since or 0))

    def commit(self, ranges: Sequence[Range]) -> None:
        """Commit for the group; no member of it may be alive."""
        offsets = [TopicPartition(self._topic, number_of(one.part), int(one.until)) for one in ranges if topic_of(one.part) == self._topic]
        if not offsets:
            return
        with _Told(self):
            for done in self._consumer.commit(offsets=offsets, asynchronous=False) or ():
                if done.error is not None:
                    raise KafkaException(done.error)

    def close(self) -> None:
        """Ends the client's threads."""
        self._consumer.close()

    def _hear(self, error: KafkaError) -> None:
        """Keep what explains that nothing comes: a refusal says more than the silence that follows."""
        if self._said is None or self._said.code() not in _SHUT:
            self._said = error

    def explain(self, error: KafkaError) -> BrokerError:
        """An error of the client's, or the refusal before it."""
        self._consumer.poll(0)  # which lets it say what it has met
        if self._said is not None and self._said.code() in _SHUT:
            error = self._said
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            return BrokerError(f"a message was removed before it was read ({error.str()})", may_pass=True)
        return BrokerError(error.str() or error.name(), may_pass=error.code() not in _SHUT)


class _Told:
    """Turns what the client raises while the block runs into BrokerError."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KafkaException):
            raise self._kafka.explain(error.args[0]) from None


def pieces_of(waiting: dict[int, Span], messages: Sequence[Message], hear: Callable[[KafkaError], None]) -> Iterator[Piece]:
    """What some messages bring to the spans that are `waiting`, by partition; those that end are removed from it.

    A message may be an error: the client tries again by itself, and `hear` is told, or KafkaException raised if it would try in vain.
    """
    lines: dict[int, list[bytes]] = {}
    ended: dict[int, str] = {}
    for message in messages:
        number, offset, error = int(message.partition() or 0), int(message.offset() or 0), message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if error.code() in _SHUT or error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise KafkaException(error)
            hear(error)
            continue
        if number not in waiting or number in ended:
            continue
        until = int(waiting[number].until)
        if error is None and offset < until:
            lines.setdefault(number, []).append(line_of(message))
        if error is not None or offset + 1 >= until:
            ended[number] = str(min(until, offset)) if error is not None else str(until)
    for number in sorted(lines.keys() | ended.keys()):
        span = waiting.pop(number) if number in ended else waiting[number]
        yield Piece(span, lines.get(number, ()), ended.get(number))


def line_of(message: Message) -> bytes:
    """A message's line."""
    kind, milliseconds = message.timestamp()
    headers: Any = message.headers() or ()
    about: dict[str, Any] = {
        "_key": text_of(message.key()),
        "_partition": message.partition(),
        "_offset": message.offset(),
        "_timestamp": instant(milliseconds) if kind != _NO_TIMESTAMP else None,
        "_headers": texts(headers)[0],
    }
    return line(about, message.value())


def _begin(span: Span) -> int:
    """The offset to read from. What lies before the partition's beginning is lost, and asking for it is an error."""
    return max(int(span.extent.begin), int(span.since or 0))


# the connection ------------------------------------------------------------------------------------------------------------------
def settings_of(connection: Connection) -> dict[str, Any]:
    """The client's settings: of the extra fields those on our list, and login and password as the way to sign in wants them.

    Raises PermanentError, without repeating a value, for any other extra field: one that is overheard could leave a door open.
    """
    if foreign := sorted(set(connection.extra) - _HEARD):
        raise _wrong(f"the extra fields {', '.join(foreign)} are not heard")
    host = f"[{connection.host}]" if connection.host.count(":") > 1 and "," not in connection.host else connection.host
    servers = f"{host}:{connection.port}" if connection.port else host
    settings: dict[str, Any] = {"bootstrap.servers": servers} | dict(connection.extra)
    if not settings["bootstrap.servers"]:
        raise _wrong("it names no host")
    settings["sasl.mechanisms"] = settings.pop("sasl.mechanism", None) or settings.get("sasl.mechanisms", "PLAIN")
    if connection.login:
        settings.setdefault("security.protocol", "SASL_SSL")
    if "SASL" not in str(settings.get("security.protocol", "")).upper():
        del settings["sasl.mechanisms"]
        if connection.password:
            settings["ssl.key.password"] = connection.password
        return settings
    oauth = str(settings["sasl.mechanisms"]).upper() == "OAUTHBEARER"
    names = ("sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret") if oauth else ("sasl.username", "sasl.password")
    signed = dict(zip(names, (connection.login, connection.password), strict=True))
    return settings | {name: value for name, value in signed.items() if value}


def is_open_to_listeners(connection: Connection) -> bool:
    """Whether a password travels without encryption."""
    protocol = str(connection.extra.get("security.protocol", "SASL_SSL")).upper()
    return bool(connection.password) and protocol == "SASL_PLAINTEXT" and not is_here(connection.host)


def _wrong(what: str) -> PermanentError:
    return PermanentError(
        f"A connection of Kafka cannot be used: {what}.",
        next_step="Correct the connection; secrets stand in its password alone, and the README lists its extra fields.",
    )
