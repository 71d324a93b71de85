"""Brokers for tests: librdkafka's mock cluster, which speaks Kafka's protocol on real ports, and a real redis-server."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from redis import Redis
from redis.exceptions import RedisError

from nocturne.landing import Connection
from tests.conftest import free_ports


def _library() -> ctypes.CDLL:
    (path,) = (Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka*")
    found = ctypes.CDLL(str(path))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(found, name).restype = ctypes.c_void_p
    found.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return found


class Cluster:
    """Two brokers of a mock cluster. Its topics have as many partitions as `create` says, or four."""

    def __init__(self) -> None:
        self._library = _library()
        said = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        self._library.rd_kafka_conf_set(conf, b"log_level", b"3", said, 512)
        self._client = ctypes.c_void_p(self._library.rd_kafka_new(0, conf, said, 512))
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._client, 2))
        self.address: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    @property
    def connection(self) -> Connection:
        """The connection that leads here."""
        return Connection("kafka", self.address)

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic."""
        assert self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1) == 0

    def delete(self, topic: str) -> None:
        """Remove a topic."""
        assert self._library.rd_kafka_mock_topic_delete(self._cluster, topic.encode()) == 0

    def send(self, topic: str, *messages: dict[str, Any], **settings: Any) -> None:
        """Send messages, each the arguments of a producer's."""
        producer = Producer({"bootstrap.servers": self.address, "log_level": 3, "linger.ms": 5} | settings)
        for message in messages:
            producer.produce(topic, **message)
            producer.poll(0)
        assert producer.flush(20) == 0

    def send_together(self, topic: str, *messages: dict[str, Any]) -> None:
        """Send messages in one transaction; its mark takes an offset behind them."""
        producer = Producer({"bootstrap.servers": self.address, "log_level": 3, "transactional.id": topic})
        producer.init_transactions(20)
        producer.begin_transaction()
        for message in messages:
            producer.produce(topic, **message)
        producer.commit_transaction(20)

    def fail(self, request: int, *errors: int) -> None:
        """The next requests of this kind are answered with these errors."""
        codes = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(errors)), codes)

    def forget(self, topic: str, partition: int, before: int) -> None:
        """Retention removes what stands before an offset."""
        offset = ctypes.c_int64(before)
        assert self._library.rd_kafka_mock_partition_delete_records(self._cluster, topic.encode(), partition, offset) == 0

    def committed(self, group: str, topic: str, *partitions: int) -> list[int]:
        """The offsets that a group has committed."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": group, "log_level": 3})
        try:
            found = consumer.committed([TopicPartition(topic, number) for number in partitions], timeout=20)
            return [one.offset for one in found]
        finally:
            consumer.close()

    def stop(self) -> None:
        """End it."""
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)


@contextmanager
def redis_server(folder: Path, *settings: str) -> Iterator[tuple[Redis, Connection]]:
    """A server on a free port that knows the password `hush`; a client of it, and the connection that leads there."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (Debian's package of that name)")
    (port,) = free_ports(1)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--requirepass", "hush"]
    running = subprocess.Popen([*command, *settings], stdout=subprocess.DEVNULL)
    client = Redis(port=port, password="hush", protocol=2)
    try:
        for _ in range(200):
            try:
                client.ping()
                break
            except RedisError:
                time.sleep(0.05)
        yield client, Connection("redis", "127.0.0.1", port, password="hush")
    finally:
        client.close()
        running.terminate()
        running.wait()
