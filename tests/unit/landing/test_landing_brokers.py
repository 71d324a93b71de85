"""How connections are read by Kafka and Redis, and how a partition with holes is drained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from nocturne.errors import PermanentError
from nocturne.landing import Connection, kafka, redis_streams
from nocturne.landing.brokers import Extent, Span, at_once, number_of, part_of, topic_of


# Kafka's connection --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("connection", "told"),
    [
        (Connection("kafka", "a", 9092), {"bootstrap.servers": "a:9092"}),
        (Connection("kafka", "a:1,b:2"), {"bootstrap.servers": "a:1,b:2"}),
        (Connection("kafka", extra={"bootstrap.servers": "c:3"}), {"bootstrap.servers": "c:3"}),
        (
            Connection("kafka", "a", 1, login="me", password="hush"),
            {
                "bootstrap.servers": "a:1",
                "security.protocol": "SASL_SSL",
                "sasl.mechanisms": "PLAIN",
                "sasl.username": "me",
                "sasl.password": "hush",
            },
        ),
        (
            Connection("kafka", "a", 1, password="hush", extra={"security.protocol": "SSL", "ssl.key.location": "k"}),
            {"bootstrap.servers": "a:1", "security.protocol": "SSL", "ssl.key.location": "k", "ssl.key.password": "hush"},
        ),
        (
            Connection("kafka", "a", 1, login="me", password="hush", extra={"sasl.mechanism": "OAUTHBEARER"}),
            {
                "bootstrap.servers": "a:1",
                "security.protocol": "SASL_SSL",
                "sasl.mechanisms": "OAUTHBEARER",
                "sasl.oauthbearer.client.id": "me",
                "sasl.oauthbearer.client.secret": "hush",
            },
        ),
    ],
)
def test_a_connection_is_read_as_a_clients_settings(connection: Connection, told: dict[str, str]) -> None:
    assert kafka.settings_of(connection) == told
    assert "hush" not in repr(connection)


@pytest.mark.parametrize(
    "name", ["sasl.password", "plugin.library.paths", "enable.ssl.certificate.verification", "group.id", "secuirty.protocol"]
)
def test_an_extra_field_that_is_not_on_the_list_is_refused_unheard(name: str) -> None:
    with pytest.raises(PermanentError, match=f"the extra fields {name} are not heard") as caught:
        kafka.settings_of(Connection("kafka", "a", 1, extra={name: "hush"}))
    assert "hush" not in str(caught.value)


def test_a_setting_that_makes_no_sense_is_told() -> None:
    with pytest.raises(PermanentError, match="security.protocol"):
        kafka.Kafka(Connection("kafka", "a", 1, extra={"security.protocol": "none"}), "plays", "group", patience_seconds=1)
    with pytest.raises(PermanentError, match="names no host"):
        kafka.settings_of(Connection("kafka"))


@pytest.mark.parametrize(
    ("host", "extra", "is_open"),
    [
        ("broker", {"security.protocol": "SASL_PLAINTEXT"}, True),
        ("broker", {}, False),
        ("127.0.0.1", {"security.protocol": "SASL_PLAINTEXT"}, False),
    ],
)
def test_a_password_that_travels_openly_is_noticed(host: str, extra: dict[str, str], is_open: bool) -> None:
    assert kafka.is_open_to_listeners(Connection("kafka", host, login="me", password="hush", extra=extra)) is is_open


# holes in a partition ------------------------------------------------------------------------------------------------------------
@dataclass
class FakeMessage:
    """What a client hands over: a message, or an error in its place."""

    number: int
    at: int
    fault: KafkaError | None = None

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.at

    def error(self) -> KafkaError | None:
        return self.fault

    def key(self) -> bytes | None:
        return None

    def value(self) -> bytes:
        return b"{}"

    def timestamp(self) -> tuple[int, int]:
        return 0, 0

    def headers(self) -> None:
        return None


def end(number: int, at: int) -> FakeMessage:
    return FakeMessage(number, at, KafkaError(KafkaError._PARTITION_EOF))


def drained(until: dict[int, int], *messages: FakeMessage) -> tuple[dict[int, list[int]], dict[int, str | None], list[KafkaError]]:
    """(offsets taken, where each partition ended, errors heard)."""
    waiting = {number: Span(f"plays/{number}", None, str(end), Extent("0", str(end))) for number, end in until.items()}
    taken: dict[int, list[int]] = {}
    ended: dict[int, str | None] = dict.fromkeys(until)
    heard: list[KafkaError] = []
    for message in messages:
        for piece in kafka.pieces_of(waiting, cast("Any", [message]), heard.append):
            number = number_of(piece.span.part)
            taken.setdefault(number, []).extend(json.loads(line)["_offset"] for line in piece.lines)
            ended[number] = piece.ended_at
    assert set(waiting) == {number for number, at in ended.items() if at is None}
    return taken, ended, heard


@pytest.mark.parametrize(
    ("messages", "taken", "ended"),
    [
        ([FakeMessage(0, 3), FakeMessage(0, 9)], [3, 9], "10"),  # compaction left few, and the last is there
        ([FakeMessage(0, 3), FakeMessage(0, 12)], [3], "10"),  # the last were removed, and others came since
        ([FakeMessage(0, 8), end(0, 10)], [8], "10"),  # the last offset is the mark of a transaction
        ([FakeMessage(0, 8), end(0, 12)], [8], "10"),
        ([end(0, 10)], [], "10"),  # nothing but marks
        ([FakeMessage(0, 5), end(0, 7)], [5], "7"),  # a transaction is open from there on: the next night takes it
        ([FakeMessage(0, 9), FakeMessage(0, 10), end(0, 11)], [9], "10"),
        ([FakeMessage(0, 5)], [5], None),
    ],
)
def test_a_partition_ends_at_its_end_whatever_its_holes(messages: list[FakeMessage], taken: list[int], ended: str | None) -> None:
    found, where, _ = drained({0: 10}, *messages)
    assert (found.get(0, []), where[0]) == (taken, ended)


def test_partitions_end_each_by_itself() -> None:
    messages = [FakeMessage(1, 0), FakeMessage(0, 0), FakeMessage(0, 1), FakeMessage(0, 2), FakeMessage(1, 1), end(1, 2), FakeMessage(7, 0)]
    assert drained({0: 2, 1: 2}, *messages)[:2] == ({0: [0, 1], 1: [0, 1]}, {0: "2", 1: "2"})


def test_an_error_that_may_pass_is_heard_and_another_raised() -> None:
    passing, shut = KafkaError(KafkaError.REQUEST_TIMED_OUT), KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    assert drained({0: 2}, FakeMessage(0, 0, passing), FakeMessage(0, 1))[2] == [passing]
    with pytest.raises(KafkaException):
        drained({0: 2}, FakeMessage(0, 0, shut))


# Redis' connection ---------------------------------------------------------------------------------------------------------------
def test_a_stream_is_found_in_the_database_that_is_named() -> None:
    for connection in (Connection.from_uri("redis://:hush@host:1/3"), Connection("redis", "host", 1, extra={"db": 3}, password="hush")):
        stream = redis_streams.RedisStream(connection, "plays", "group", None, patience_seconds=1)
        assert stream.place == "redis://host:1/3"


@pytest.mark.parametrize(
    ("connection", "told"),
    [
        (Connection("redis", "host", extra={"password": "hush"}), "the extra fields password are not heard"),
        (Connection("redis", "host", path="first"), "the number of a database"),
        (Connection("redis"), "it needs a host"),
    ],
)
def test_a_connection_that_is_no_redis_is_refused(connection: Connection, told: str) -> None:
    with pytest.raises(PermanentError, match=told) as caught:
        redis_streams.RedisStream(connection, "plays", "group", None, patience_seconds=1)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "host", "extra", "is_open"),
    [
        ("redis", "host", {}, True),
        ("rediss", "host", {}, False),
        ("redis", "host", {"ssl": "true"}, False),
        ("redis", "localhost", {}, False),
    ],
)
def test_a_password_without_encryption_is_noticed(scheme: str, host: str, extra: dict[str, Any], is_open: bool) -> None:
    assert redis_streams.is_open_to_listeners(Connection(scheme, host, password="hush", extra=extra)) is is_open


# both ----------------------------------------------------------------------------------------------------------------------------
def test_a_part_is_named_after_its_topic() -> None:
    part = part_of("a/b", 12)
    assert (topic_of(part), number_of(part)) == ("a/b", 12)


def test_few_large_messages_are_asked_for_together_and_many_small_ones() -> None:
    assert [at_once(largest) for largest in (0, 10, 1 << 20, 1 << 30)] == [16, 500, 8, 1]
