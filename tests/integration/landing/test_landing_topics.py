"""Sources of kind `topic`, against librdkafka's mock cluster and a real redis-server."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from nocturne.bronze import load_bronze
from nocturne.errors import DeliveryError, SourceMissing, SourceUnavailable
from nocturne.lake import duck, table
from nocturne.landing import Connection, Patience, land
from nocturne.landing.batches import Shelf
from nocturne.ledger import Mark, MemoryMarks
from nocturne.manifests import Manifest, Range, read_manifests
from nocturne.receipts import Receipt
from nocturne.settings import Settings
from nocturne.silver import refine_silver
from tests.integration.landing.broking import Cluster, redis_server
from tests.integration.landing.delivering import DAY, tenant_of
from tests.integration.landing.killing import start

NIGHTS = [DAY + timedelta(days=count) for count in range(5)]
KAFKA = {"kind": "topic", "connection": "bus", "location": "", "topic": {"system": "kafka", "name": "plays"}}
REDIS = {"kind": "topic", "connection": "bus", "location": "", "topic": {"system": "redis_streams", "name": "plays"}}
SOON = Patience(timeout_seconds=20)
GROUP = "nocturne_dusk__plays"
FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT = 1, 2, 3, 8


@pytest.fixture(scope="module")
def clusters() -> Iterator[list[Cluster]]:
    """Clusters that end with the module: a client of librdkafka says on stderr when its broker goes."""
    running: list[Cluster] = []
    yield running
    for cluster in running:
        cluster.stop()


@pytest.fixture
def cluster(clusters: list[Cluster]) -> Cluster:
    clusters.append(Cluster())
    return clusters[-1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Redis, Connection]]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis(server: tuple[Redis, Connection]) -> Redis:
    server[0].flushall()
    return server[0]


@pytest.fixture
def stream(server: tuple[Redis, Connection]) -> Connection:
    return server[1]


@pytest.fixture
def marks() -> MemoryMarks:
    return MemoryMarks()


def take(
    settings: Settings, marks: MemoryMarks, connection: Connection, source: dict[str, Any], day: date = DAY, patience: Patience = SOON
) -> Receipt:
    return land(tenant_of(source), day, settings, marks, lambda _: connection, patience=patience)


def batches(settings: Settings, source: dict[str, Any]) -> dict[date, Manifest]:
    return {manifest.received_on: manifest for manifest in read_manifests(settings, tenant_of(source), "plays").values()}


def shelf(settings: Settings, source: dict[str, Any]) -> Shelf:
    tenant = tenant_of(source)
    return Shelf(settings, tenant, tenant.sources[0])


def lines(settings: Settings, source: dict[str, Any], day: date = DAY) -> list[Any]:
    folder = shelf(settings, source).folder(day)
    found = []
    for file in batches(settings, source)[day].files:
        some = (folder / file.name).read_bytes().splitlines()
        assert len(some) == file.rows
        found += [json.loads(line) for line in some]
    return found


def offsets(settings: Settings, source: dict[str, Any], day: date = DAY) -> list[tuple[int, Any]]:
    return [(line["_partition"], line["_offset"]) for line in lines(settings, source, day)]


def ranges(settings: Settings, source: dict[str, Any], day: date = DAY) -> list[tuple[str, str | None, str, int]]:
    return [(one.part, one.since, one.until, one.lost) for one in batches(settings, source)[day].ranges]


def remove(settings: Settings, source: dict[str, Any], day: date) -> None:
    shutil.rmtree(shelf(settings, source).folder(day))


def numbered(count: int, first: int = 0, **more: Any) -> list[dict[str, Any]]:
    return [{"value": b'{"n": %d}' % number, "key": b"k%d" % number, **more} for number in range(first, first + count)]


def fill(cluster: Cluster, *counts: int) -> None:
    """Make the topic with so many messages in each partition."""
    cluster.create("plays", len(counts))
    cluster.send("plays", *[message for part, count in enumerate(counts) for message in numbered(count, partition=part)])


# one night after the other -------------------------------------------------------------------------------------------------------
def test_each_night_takes_each_partition_from_where_it_was_to_its_end(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    cluster.create("plays", 3)
    cluster.send("plays", *numbered(5, partition=0), *numbered(3, partition=1))
    first = take(settings, marks, cluster.connection, KAFKA, NIGHTS[0])
    again = take(settings, marks, cluster.connection, KAFKA, NIGHTS[0])
    cluster.send("plays", *numbered(2, 5, partition=0), *numbered(1, partition=2))
    second = take(settings, marks, cluster.connection, KAFKA, NIGHTS[1])
    third = take(settings, marks, cluster.connection, KAFKA, NIGHTS[2])
    assert [receipt.count("batches") for receipt in (first, again, second, third)] == [1, 0, 1, 0]
    assert offsets(settings, KAFKA, NIGHTS[0]) == [(0, n) for n in range(5)] + [(1, n) for n in range(3)]
    assert offsets(settings, KAFKA, NIGHTS[1]) == [(0, 5), (0, 6), (2, 0)]
    assert ranges(settings, KAFKA, NIGHTS[0]) == [("plays/0", None, "5", 0), ("plays/1", None, "3", 0), ("plays/2", None, "0", 0)]
    assert ranges(settings, KAFKA, NIGHTS[1]) == [("plays/0", "5", "7", 0), ("plays/1", "3", "3", 0), ("plays/2", "0", "1", 0)]
    assert cluster.committed(GROUP, "plays", 0, 1, 2) == [7, 3, 1]
    assert batches(settings, KAFKA)[NIGHTS[1]].files[0].origin == f"kafka://{cluster.address}/plays/0: 5 to 7"
    assert all(receipt.warnings == () for receipt in (first, again, second, third))


def test_a_message_stands_in_its_line_as_it_came(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    cluster.create("plays", 1)
    sent = [
        {"value": b'{ "price": 1.10,\r\n "big": 12345678901234567890123 }', "key": b"a", "headers": [("trace", b"1"), ("trace", b"2")]},
        {"value": b"{}", "key": None, "headers": [("raw", b"\xff"), ("none", None)]},
        {"value": None, "key": b"\xff"},
        {"value": b"\xff\x00", "key": b"b"},
        {"value": b"[1]"},
        {"value": b"\xef\xbb\xbf{}"},
        {"value": b""},
        {"value": b'{"_offset": 99, "a": 1}'},
    ]
    cluster.send("plays", *[message | {"timestamp": 1_774_742_400_123} for message in sent])
    take(settings, marks, cluster.connection, KAFKA)
    folder = shelf(settings, KAFKA).folder(DAY)
    raw = (folder / "partition-00000.ndjson").read_text().splitlines()
    assert raw[0].endswith(', "price": 1.10,   "big": 12345678901234567890123 }'), "digits stay, line ends become spaces"
    found = lines(settings, KAFKA)
    about = {"_partition": 0, "_timestamp": "2026-03-29T00:00:00.123Z", "_headers": {}}
    assert found[0] | {"price": 0, "big": 0} == about | {"_key": "a", "_offset": 0, "_headers": {"trace": ["1", "2"]}, "price": 0, "big": 0}
    assert found[1] == about | {"_key": None, "_offset": 1, "_headers": {"raw": {"base64": "/w=="}, "none": None}}
    assert found[2] == about | {"_key": {"base64": "/w=="}, "_offset": 2}
    assert found[3] == ["row: its value is no UTF-8", about | {"_key": "b", "_offset": 3, "_value_base64": "/wA="}]
    assert found[4] == ["row: its value is no JSON object", about | {"_key": None, "_offset": 4, "_value": "[1]"}]
    assert found[5][1]["_value"] == "\ufeff{}"
    assert found[6][1]["_value"] == ""
    assert raw[7].count('"_offset"') == 2
    assert raw[7].index('"_offset": 7') < raw[7].index('"_offset": 99')


@pytest.mark.parametrize("system", ["kafka", "redis_streams"])
def test_messages_come_to_stand_in_bronze_and_silver(
    settings: Settings, marks: MemoryMarks, cluster: Cluster, redis: Redis, stream: Connection, system: str
) -> None:
    mapped = {
        "play_id": "concat_ws('-', kind, id)",
        "played_at": "_timestamp",
        "listener_id": "who",
        "track_id": "_headers ->> 'track'",
        "ms_played": "ms",
    }
    topic = {"system": system, "name": "plays"} | ({"field": "json"} if system == "redis_streams" else {})
    source = KAFKA | {"topic": topic, "map": mapped, "columns": {"_headers": "json"}, "where": "kind IS NULL OR kind <> 'ping'"}
    plays = [{"kind": "play", "id": n, "who": "l", "ms": 31_000} for n in range(3)]
    values = [json.dumps(value).encode() for value in [*plays, {"kind": "ping"}, {"kind": "play", "id": 9}]] + [
        b"\xff",
        b"no",
    ]
    if system == "kafka":
        cluster.create("plays", 1)
        cluster.send("plays", *[{"value": value, "timestamp": 1_774_742_400_000, "headers": [("track", b"t")]} for value in values])
    else:
        for number, value in enumerate(values):
            redis.xadd("plays", {"json": value, "track": "t"}, id=f"1774742400000-{number}")
    connection = cluster.connection if system == "kafka" else stream
    tenant = tenant_of(source)
    land(tenant, DAY, settings, marks, lambda _: connection, patience=SOON)
    loaded = load_bronze(tenant, DAY, settings, marks)
    assert {name: loaded.count(name) for name in ("rows", "left_out", "problem_rows")} == {"rows": 7, "left_out": 1, "problem_rows": 2}
    bronze = table(settings, tenant, "bronze", tenant.datasets[0])
    with duck(settings) as opened:
        found = opened.execute(
            f"SELECT play_id, track_id, played_at, _problems FROM {bronze.rows_of(bronze.files())} ORDER BY _line"
        ).fetchall()
    assert found[:3] == [(f"play-{n}", "t", datetime(2026, 3, 29, tzinfo=UTC), []) for n in range(3)]
    assert [row[3] for row in found[4:]] == [["row: its value is no UTF-8"], ["row: its value is no JSON object"]]
    passed = {batch: Mark(f"{mark.fingerprint}:suite", {"passed": True}) for batch, mark in marks.marks(tenant, "bronze", "plays").items()}
    marks.mark(tenant, "gate_bronze", "plays", passed)
    refined = refine_silver(tenant, DAY, settings, marks)
    assert (refined.count("rows"), refined.count("quarantined")) == (3, 3)


def test_a_night_without_any_message_of_a_kind_is_a_night(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    mapped = {"play_id": "id", "played_at": "_timestamp", "listener_id": "who", "track_id": "track", "ms_played": "ms"}
    source = KAFKA | {"map": mapped, "where": "kind = 'play'"}
    cluster.send("plays", {"value": b'{"kind": "ping"}'})
    tenant = tenant_of(source)
    take(settings, marks, cluster.connection, source)
    assert load_bronze(tenant, DAY, settings, marks).count("left_out") == 1


def test_the_marks_of_transactions_are_no_messages_and_no_loss(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    cluster.create("plays", 1)
    for night in NIGHTS[:2]:
        for _ in range(2):
            cluster.send_together("plays", *numbered(2))
        assert take(settings, marks, cluster.connection, KAFKA, night).warnings == ()
    assert [offset for _, offset in offsets(settings, KAFKA, NIGHTS[0])] == [0, 1, 3, 4]
    assert [offset for _, offset in offsets(settings, KAFKA, NIGHTS[1])] == [6, 7, 9, 10]
    assert ranges(settings, KAFKA, NIGHTS[1]) == [("plays/0", "6", "12", 0)]
    remove(settings, KAFKA, NIGHTS[0])
    assert take(settings, marks, cluster.connection, KAFKA, NIGHTS[0]).warnings == ()
    assert ranges(settings, KAFKA, NIGHTS[0]) == [("plays/0", None, "6", 0)]


# nights that are taken again -----------------------------------------------------------------------------------------------------
def test_a_night_that_is_taken_again_reads_the_same_offsets(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    cluster.create("plays", 2)
    for night in NIGHTS[:3]:
        cluster.send("plays", *numbered(4, partition=0), *numbered(2, partition=1))
        take(settings, marks, cluster.connection, KAFKA, night)
    before = batches(settings, KAFKA)
    for night in (NIGHTS[1], NIGHTS[0], NIGHTS[2]):  # one amid others, the first, and the last one, of which only its mark is left
        remove(settings, KAFKA, night)
        cluster.send("plays", *numbered(3, partition=0))
        taken = take(settings, marks, cluster.connection, KAFKA, night)
        after = batches(settings, KAFKA)[night]
        assert (after.ranges, after.files) == (before[night].ranges, before[night].files)
        assert taken.warnings == ()
    assert cluster.committed(GROUP, "plays", 0, 1) == [12, 6], "an older night tells the broker nothing"
    take(settings, marks, cluster.connection, KAFKA, NIGHTS[3])
    assert offsets(settings, KAFKA, NIGHTS[3]) == [(0, n) for n in range(12, 21)]


def test_a_night_that_failed_ends_where_it_would_have_ended(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    cluster.create("plays", 1)
    cluster.send("plays", *numbered(4))
    cluster.fail(FETCH, 29)  # the topic may not be read
    with pytest.raises(DeliveryError, match="not authorized|authorization failed"):
        take(settings, marks, cluster.connection, KAFKA)
    cluster.send("plays", *numbered(3, 4))
    take(settings, marks, cluster.connection, KAFKA)
    assert offsets(settings, KAFKA) == [(0, n) for n in range(4)]
    take(settings, marks, cluster.connection, KAFKA, NIGHTS[1])
    assert offsets(settings, KAFKA, NIGHTS[1]) == [(0, n) for n in range(4, 7)]


def test_two_nights_that_run_together_take_each_message_once(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    fill(cluster, 5)
    ours = shelf(settings, KAFKA)
    with ours.taking("another"):  # the next night's run, which is about to end
        waiting = threading.Thread(target=take, args=(settings, marks, cluster.connection, KAFKA))
        waiting.start()
        time.sleep(0.5)
        ours.put(NIGHTS[1], [], ranges=[Range(part="plays/0", since=None, until="5")])
    waiting.join()
    assert list(batches(settings, KAFKA)) == [NIGHTS[1]]


def test_a_broker_that_will_not_be_told_is_told_the_next_time(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    cluster.create("plays", 1)
    cluster.send("plays", *numbered(4))
    cluster.fail(OFFSET_COMMIT, 30)
    (warning,) = take(settings, marks, cluster.connection, KAFKA).warnings
    assert f"the messages are taken, but {GROUP} could not be told so" in warning
    again = take(settings, marks, cluster.connection, KAFKA)
    assert (again.count("batches"), again.warnings) == (0, ())
    assert cluster.committed(GROUP, "plays", 0) == [4]


@pytest.mark.parametrize("system", ["kafka", "redis_streams"])
def test_a_batch_of_another_topic_tells_the_broker_nothing(
    settings: Settings, cluster: Cluster, redis: Redis, stream: Connection, system: str
) -> None:
    fill(cluster, 3)
    redis.xadd("plays", {"n": 1})
    source, connection = (KAFKA, cluster.connection) if system == "kafka" else (REDIS, stream)
    take(settings, MemoryMarks(), connection, source)
    renamed = take(settings, MemoryMarks(), connection, source | {"topic": {"system": system, "name": "streams"}})
    assert (renamed.count("batches"), renamed.warnings) == (0, ())


# what is not there any more ------------------------------------------------------------------------------------------------------
def test_messages_that_retention_removed_are_told(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    cluster.create("plays", 1)
    cluster.send("plays", *numbered(10))
    cluster.forget("plays", 0, before=3)
    first = take(settings, marks, cluster.connection, KAFKA)
    assert first.warnings == (), "what was gone before we came is no loss"
    assert offsets(settings, KAFKA)[0] == (0, 3)
    cluster.send("plays", *numbered(10))
    cluster.forget("plays", 0, before=14)
    (warning,) = take(settings, marks, cluster.connection, KAFKA, NIGHTS[1]).warnings
    assert "plays/0: 4 messages after 10 were removed by the broker before this night took them" in warning
    assert ranges(settings, KAFKA, NIGHTS[1]) == [("plays/0", "10", "20", 4)]
    assert offsets(settings, KAFKA, NIGHTS[1]) == [(0, n) for n in range(14, 20)]
    remove(settings, KAFKA, NIGHTS[0])
    cluster.forget("plays", 0, before=20)
    (warning,) = take(settings, marks, cluster.connection, KAFKA).warnings
    assert "this night held 7 messages when it was taken first, and the broker still has 0 of them" in warning


def test_messages_that_go_while_they_are_read_are_counted_by_the_next_try(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    fill(cluster, 5)
    take(settings, marks, cluster.connection, KAFKA)
    cluster.send("plays", *numbered(10))
    cluster.fail(FETCH, 1)  # the offset is out of range
    with pytest.raises(SourceUnavailable, match="a message was removed before it was read"):
        take(settings, marks, cluster.connection, KAFKA, NIGHTS[1])
    cluster.forget("plays", 0, before=7)
    cluster.send("plays", *numbered(3))
    (warning,) = take(settings, marks, cluster.connection, KAFKA, NIGHTS[1]).warnings
    assert "plays/0: 2 messages after 5 were removed" in warning
    assert ranges(settings, KAFKA, NIGHTS[1]) == [("plays/0", "5", "15", 2)]


def test_a_topic_that_lost_all_since_the_last_night_says_so(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    cluster.create("plays", 1)
    cluster.send("plays", *numbered(5))
    take(settings, marks, cluster.connection, KAFKA)
    cluster.send("plays", *numbered(5))
    cluster.forget("plays", 0, before=10)
    taken = take(settings, marks, cluster.connection, KAFKA, NIGHTS[1])
    assert "5 messages after 5 were removed" in taken.warnings[0]
    assert list(batches(settings, KAFKA)) == [DAY]


def test_a_topic_that_was_made_anew_is_taken_from_its_beginning(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    fill(cluster, 9, 2)
    take(settings, marks, cluster.connection, KAFKA)
    cluster.delete("plays")
    with pytest.raises(DeliveryError, match="the topic plays gave no messages: .*Unknown topic"):
        take(settings, marks, cluster.connection, KAFKA, NIGHTS[1])
    fill(cluster, 4, 6)
    (warning,) = take(settings, marks, cluster.connection, KAFKA, NIGHTS[1]).warnings
    assert "plays ends before the place where the last night ended, so it was made anew: all that it holds is taken" in warning
    assert offsets(settings, KAFKA, NIGHTS[1]) == [(0, n) for n in range(4)] + [(1, n) for n in range(6)]
    was = batches(settings, KAFKA)[NIGHTS[1]]
    cluster.send("plays", *numbered(20, partition=0))
    remove(settings, KAFKA, NIGHTS[1])
    assert take(settings, marks, cluster.connection, KAFKA, NIGHTS[1]).warnings == ()
    assert batches(settings, KAFKA)[NIGHTS[1]].files == was.files
    take(settings, marks, cluster.connection, KAFKA, NIGHTS[2])
    assert offsets(settings, KAFKA, NIGHTS[2]) == [(0, n) for n in range(4, 24)]


def test_a_night_of_a_topic_that_was_made_anew_since_is_not_made_up(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    cluster.create("plays", 1)
    for night in NIGHTS[:3]:
        cluster.send("plays", *numbered(10))
        take(settings, marks, cluster.connection, KAFKA, night)
    cluster.delete("plays")
    fill(cluster, 25)
    remove(settings, KAFKA, NIGHTS[1])
    warnings = take(settings, marks, cluster.connection, KAFKA, NIGHTS[1]).warnings
    assert "what this night held is no longer there, and cannot be taken again" in warnings[0]
    assert list(batches(settings, KAFKA)) == [NIGHTS[0], NIGHTS[2]]


def test_new_partitions_begin_at_their_beginning(settings: Settings, marks: MemoryMarks, clusters: list[Cluster]) -> None:
    few, more = Cluster(), Cluster()
    clusters += [few, more]
    for cluster, partitions in ((few, 1), (more, 3)):
        cluster.create("plays", partitions)
        cluster.send("plays", *numbered(3, partition=0))
    take(settings, marks, few.connection, KAFKA)
    more.send("plays", *numbered(2, partition=1), *numbered(5, partition=2))
    more.forget("plays", 2, before=1)
    (warning,) = take(settings, marks, more.connection, KAFKA, NIGHTS[1]).warnings
    assert "plays/2: 1 messages after its beginning were removed" in warning
    assert offsets(settings, KAFKA, NIGHTS[1]) == [(1, 0), (1, 1), *[(2, n) for n in range(1, 5)]]


def test_a_topic_that_another_name_is_given_begins_anew_and_the_old_one_goes_on(
    settings: Settings, marks: MemoryMarks, cluster: Cluster
) -> None:
    other = KAFKA | {"topic": {"system": "kafka", "name": "streams"}}
    cluster.send("plays", *numbered(5, partition=0))
    cluster.send("streams", *numbered(2, partition=0))
    take(settings, marks, cluster.connection, KAFKA, NIGHTS[0])
    take(settings, marks, cluster.connection, other, NIGHTS[1])
    cluster.send("plays", *numbered(1, partition=0))
    take(settings, marks, cluster.connection, KAFKA, NIGHTS[2])
    assert offsets(settings, KAFKA, NIGHTS[1]) == [(0, 0), (0, 1)]
    assert offsets(settings, KAFKA, NIGHTS[2]) == [(0, 5)]


# errors --------------------------------------------------------------------------------------------------------------------------
def test_what_is_wrong_with_a_cluster_is_told_without_secrets(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    nobody = Connection("kafka", "127.0.0.1", 1, login="me", password="hush", extra={"security.protocol": "SASL_PLAINTEXT"})
    cases: list[tuple[Connection, type[Exception], str]] = [
        (cluster.connection, DeliveryError, "the topic plays gave no messages: .*Unknown topic"),
        (nobody, SourceUnavailable, "the topic plays gave no messages: "),
    ]
    for connection, kind, told in cases:
        with pytest.raises(kind, match=told) as caught:
            take(settings, marks, connection, KAFKA, patience=Patience(timeout_seconds=3))
        assert "hush" not in str(caught.value)
    assert batches(settings, KAFKA) == {}


def test_a_cluster_that_goes_silent_amid_messages_is_asked_again(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    cluster.create("plays", 1)
    cluster.send("plays", *numbered(100))
    cluster.fail(FETCH, *[7] * 200)  # the request timed out
    started = time.monotonic()
    with pytest.raises(SourceUnavailable, match="no message came for 2 s"):
        take(settings, marks, cluster.connection, KAFKA, patience=Patience(timeout_seconds=2))
    assert time.monotonic() - started < 15
    assert batches(settings, KAFKA) == {}


def test_an_idle_topic_has_nothing_until_it_must(settings: Settings, marks: MemoryMarks, cluster: Cluster) -> None:
    cluster.create("plays", 2)
    taken = take(settings, marks, cluster.connection, KAFKA)
    assert (taken.count("batches"), taken.warnings) == (0, ())
    with pytest.raises(SourceMissing, match="plays has nothing for 2026-03-29 at plays"):
        take(settings, marks, cluster.connection, KAFKA | {"required": True})


# Redis ---------------------------------------------------------------------------------------------------------------------------
def test_a_stream_is_taken_from_the_last_id_on(settings: Settings, marks: MemoryMarks, redis: Redis, stream: Connection) -> None:
    for number in range(5):
        redis.xadd("plays", {"n": number}, id=f"{1000 + number}-7")
    take(settings, marks, stream, REDIS, NIGHTS[0])
    again = take(settings, marks, stream, REDIS, NIGHTS[0])
    redis.xadd("plays", {"n": 5, "word": "é"}, id="2000-0")
    taken = take(settings, marks, stream, REDIS, NIGHTS[1])
    idle = take(settings, marks, stream, REDIS, NIGHTS[2])
    assert (again.count("batches"), taken.count("batches"), idle.count("batches"), idle.warnings) == (0, 1, 0, ())
    assert ranges(settings, REDIS, NIGHTS[0]) == [("plays/0", None, "1004-7", 0)]
    assert ranges(settings, REDIS, NIGHTS[1]) == [("plays/0", "1004-7", "2000-0", 0)]
    assert lines(settings, REDIS, NIGHTS[1]) == [
        {
            "_key": None,
            "_partition": 0,
            "_offset": "2000-0",
            "_timestamp": "1970-01-01T00:00:02.000Z",
            "_headers": {},
            "n": "5",
            "word": "é",
        }
    ]
    (group,) = redis.xinfo_groups("plays")
    assert (group["name"], group["last-delivered-id"], group["lag"]) == (GROUP.encode(), b"2000-0", 0)


def test_entries_that_were_trimmed_are_counted(settings: Settings, marks: MemoryMarks, redis: Redis, stream: Connection) -> None:
    def add(*numbers: int) -> None:
        for number in numbers:
            redis.xadd("plays", {"n": number}, id=f"{number}-0")

    add(*range(1, 11))
    redis.xtrim("plays", maxlen=6, approximate=False)
    assert take(settings, marks, stream, REDIS, NIGHTS[0]).warnings == ()
    add(*range(11, 21))
    redis.xtrim("plays", maxlen=6, approximate=False)
    redis.xdel("plays", "18-0")
    (warning,) = take(settings, marks, stream, REDIS, NIGHTS[1]).warnings
    assert "plays/0: 5 messages after 10-0 were removed" in warning
    assert [line["n"] for line in lines(settings, REDIS, NIGHTS[1])] == ["15", "16", "17", "19", "20"]
    remove(settings, REDIS, NIGHTS[1])
    add(21)
    take(settings, marks, stream, REDIS, NIGHTS[1])
    assert take(settings, marks, stream, REDIS, NIGHTS[2]).warnings == ()
    assert [line["n"] for line in lines(settings, REDIS, NIGHTS[2])] == ["21"]


def test_entries_of_odd_fields_are_kept_whole(settings: Settings, marks: MemoryMarks, redis: Redis, stream: Connection) -> None:
    redis.execute_command("XADD", "plays", "1-0", "a", "1", "a", "2")
    redis.xadd("plays", {"raw": b"\xff"}, id="2-0")
    redis.xadd("plays", {"a\nb": "x\ny\x00"}, id="3-0")
    take(settings, marks, stream, REDIS)
    twice, raw, odd = lines(settings, REDIS)
    assert twice["a"] == ["1", "2"]
    assert raw[0] == "row: a field of it is no UTF-8"
    assert raw[1]["_value"] == {"raw": {"base64": "/w=="}}
    assert odd["a\nb"] == "x\ny\x00"


def test_a_stream_that_was_made_anew_is_taken_from_its_beginning(
    settings: Settings, marks: MemoryMarks, redis: Redis, stream: Connection
) -> None:
    for number in range(1, 6):
        redis.xadd("plays", {"n": number}, id=f"{number}-0")
    take(settings, marks, stream, REDIS, NIGHTS[0])
    redis.delete("plays")
    with pytest.raises(DeliveryError, match="there is no stream plays"):
        take(settings, marks, stream, REDIS, NIGHTS[1])
    redis.xadd("plays", {"n": 9}, id="9-0")
    (warning,) = take(settings, marks, stream, REDIS, NIGHTS[1]).warnings
    assert "was made anew: all that it holds is taken" in warning
    assert [line["n"] for line in lines(settings, REDIS, NIGHTS[1])] == ["9"]


def test_what_is_wrong_with_a_stream_is_told_without_secrets(
    settings: Settings, marks: MemoryMarks, redis: Redis, stream: Connection
) -> None:
    redis.set("word", "x")
    word = REDIS | {"topic": {"system": "redis_streams", "name": "word"}}
    cases: list[tuple[Connection, dict[str, Any], type[Exception], str]] = [
        (replace(stream, password="hush again"), REDIS, DeliveryError, "invalid username-password"),
        (replace(stream, port=1), REDIS, SourceUnavailable, "refused"),
        (stream, word, DeliveryError, "WRONGTYPE"),
    ]
    for connection, source, kind, told in cases:
        with pytest.raises(kind, match=told) as caught:
            take(settings, marks, connection, source, patience=Patience(timeout_seconds=3))
        assert "hush" not in str(caught.value)


def test_a_server_that_does_not_answer_is_asked_again(settings: Settings, marks: MemoryMarks, redis: Redis, stream: Connection) -> None:
    redis.xadd("plays", {"n": 1})
    redis.client_pause(3_000)
    with pytest.raises(SourceUnavailable, match="Timeout"):
        take(settings, marks, stream, REDIS, patience=Patience(timeout_seconds=0.3))
    redis.client_unpause()
    assert take(settings, marks, stream, REDIS).count("batches") == 1


def test_a_user_who_may_only_read_takes_everything_and_is_told_of_the_group(
    settings: Settings, marks: MemoryMarks, redis: Redis, stream: Connection
) -> None:
    redis.acl_setuser("reader", enabled=True, passwords=["+hush"], keys=["plays"], commands=["+xinfo", "+xrange", "+client|setname"])
    redis.xadd("plays", {"n": 1})
    (warning,) = take(settings, marks, replace(stream, login="reader"), REDIS).warnings
    assert f"the messages are taken, but {GROUP} could not be told so" in warning
    assert len(lines(settings, REDIS)) == 1
    with pytest.raises(DeliveryError, match="No permissions|no permissions|NOPERM"):
        take(settings, marks, replace(stream, login="reader"), REDIS | {"topic": {"system": "redis_streams", "name": "secrets"}}, NIGHTS[1])


# kills, and memory ---------------------------------------------------------------------------------------------------------------
KILLS = """
import json, os, shutil, signal, sys
from pathlib import Path
from tests.integration.landing.delivering import DAY, tenant_of
from tests.integration.landing.killing import killed_at
from nocturne.landing import Connection, kafka, land, redis_streams, topics
from nocturne.ledger import MemoryMarks
from nocturne.manifests import read_manifests
from nocturne.settings import load_settings

settings = load_settings(var=Path(sys.argv[1]), master_key="5a" * 32)
connection, source = Connection(**json.loads(sys.argv[2])), json.loads(sys.argv[3])

def take(marks):
    return land(tenant, DAY, settings, marks, lambda _: connection)

def take_and_die_before_the_group_is_told(writes):
    commit = topics._Night._commit
    topics._Night._commit = lambda *given: writes() >= step - 1 and os.kill(os.getpid(), signal.SIGKILL) or commit(*given)
    take(MemoryMarks())

step = 0
while True:
    step += 1
    tenant = tenant_of(source | {"topic": source["topic"] | {"group": f"group-{step}"}})
    shutil.rmtree(settings.lake_root, ignore_errors=True)
    was_killed = killed_at(step, take_and_die_before_the_group_is_told)
    staged = list(settings.lake_root.rglob("plan.json"))
    noted = json.loads(staged[0].read_bytes()) if staged else None
    print("noted" if staged else "nothing", len(read_manifests(settings, tenant, "plays")), flush=True)
    sys.stdin.readline()
    marks = MemoryMarks()
    take(marks)
    (manifest,) = read_manifests(settings, tenant, "plays").values()
    folder = settings.lake_root / f"dusk/landing/plays/received_on={DAY}/plays"
    lines = [json.loads(line) for file in manifest.files for line in (folder / file.name).read_bytes().splitlines()]
    taken = sorted((line["_partition"], str(line["_offset"])) for line in lines)
    assert len(set(taken)) == len(taken)
    if noted:
        assert {one.part: one.until for one in manifest.ranges} == {part: extent["end"] for part, extent in noted.items()}, step
    (mark,) = marks.marks(tenant, "landing", "plays").values()
    assert mark.facts["committed"] and mark.facts["rows"] == len(lines)
    left = [path for path in settings.lake_root.rglob("*") if path.is_file() and path.name != "lock"]
    assert len(left) == len(manifest.files) + 1, left
    if not was_killed:
        break
print(f"done {step}")
"""


def fields_of(connection: Connection) -> str:
    return json.dumps({name: getattr(connection, name) for name in ("scheme", "host", "port", "path", "login", "password")})


@pytest.mark.parametrize("system", ["kafka", "redis_streams"])
def test_a_kill_before_any_write_reads_the_same_offsets_again(
    tmp_path: Path, cluster: Cluster, redis: Redis, stream: Connection, system: str
) -> None:
    def grow() -> None:
        if system == "kafka":
            cluster.send("plays", *numbered(20, partition=0), *numbered(5, partition=1))
        else:
            for number in range(20):
                redis.xadd("plays", {"n": number})

    def is_told(group: str) -> bool:
        if system == "kafka":
            return max(cluster.committed(group, "plays", 0, 1)) >= 0
        return any(found["name"] == group.encode() for found in redis.xinfo_groups("plays"))

    cluster.create("plays", 2)
    grow()
    source, connection = (KAFKA, cluster.connection) if system == "kafka" else (REDIS, stream)
    child = start(KILLS, str(tmp_path), fields_of(connection), json.dumps(source))
    assert child.stdin is not None and child.stdout is not None
    steps, noted, said = 0, 0, ""
    for said in child.stdout:
        if said.startswith("done"):
            break
        steps += 1
        if said.startswith("noted"):
            noted += 1
            grow()
        if said.endswith(" 0\n"):
            assert not is_told(f"group-{steps}"), "the broker is told after the manifest stands"
        child.stdin.write("\n")
        child.stdin.flush()
    _, wrong = child.communicate(timeout=60)
    assert child.returncode == 0, wrong
    assert said.startswith("done")
    assert steps > 8
    assert noted > 4, "most kills fall behind the note of where the night ends"


READING = """
import json, sys, time
from pathlib import Path
from tests.integration.landing.delivering import DAY, tenant_of
from nocturne.landing import Connection, kafka, land, redis_streams, topics
from nocturne.ledger import MemoryMarks
from nocturne.settings import load_settings

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024

settings = load_settings(var=Path(sys.argv[1]), master_key="5a" * 32)
before, started = peak(), time.monotonic()
receipt = land(tenant_of(json.loads(sys.argv[3])), DAY, settings, MemoryMarks(), lambda _: Connection(**json.loads(sys.argv[2])))
print(json.dumps([peak() - before, time.monotonic() - started, receipt.count("bytes")]))
"""


@pytest.mark.parametrize(("system", "count", "size"), [("kafka", 99_000, 40), ("kafka", 40, 900_000), ("redis_streams", 300_000, 300)])
def test_many_messages_are_read_in_bounded_memory(
    settings: Settings, cluster: Cluster, redis: Redis, stream: Connection, system: str, count: int, size: int
) -> None:
    value = json.dumps({"word": "x" * (size - 12)}).encode()
    if system == "kafka":
        cluster.create("plays", 8)
        # The mock's own retention keeps 5 MB of a partition, so large messages make a small topic.
        cluster.send(
            "plays", *({"value": value, "partition": number % 8} for number in range(count)), **{"queue.buffering.max.messages": 200_000}
        )
    else:
        pipe = redis.pipeline(transaction=False)
        for _ in range(count):
            pipe.xadd("plays", {"json": value})
        pipe.execute()
    source, connection = (KAFKA, cluster.connection) if system == "kafka" else (REDIS, stream)
    child = start(READING, str(settings.var), fields_of(connection), json.dumps(source))
    out, wrong = child.communicate(timeout=120)
    assert child.returncode == 0, wrong
    grew, seconds, size_of_all = json.loads(out)
    print(f"{system}: {count} messages, {size_of_all / 1e6:.0f} MB in {seconds:.1f} s, {grew:.0f} MB of memory more")  # noqa: T201
    assert sum(file.rows or 0 for file in batches(settings, source)[DAY].files) == count
    assert grew < 90
