"""Sources in a store: real S3 requests against moto's server, which checks signatures where a test says so."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from nocturne.errors import DeliveryError, PermanentError, SourceUnavailable
from nocturne.landing import Connection, Patience, environment_connection, land
from nocturne.landing import objects as store_of_objects
from nocturne.ledger import MemoryMarks
from nocturne.settings import Settings
from nocturne.tenants import Tenant
from tests.integration.landing.delivering import DAY, tenant_of
from tests.integration.landing.test_landing_files import standing

EVE = DAY - timedelta(days=1)
QUICK = Patience(tries=2, timeout_seconds=5)
HOURLY = {"location": "s3://music/plays/{day}/*.ndjson", "connection": "store"}


class Store:
    """A bucket `music`, what stands in it, and the connection that leads there."""

    def __init__(self, server: ThreadedMotoServer) -> None:
        host, port = server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self.files = fs.S3FileSystem(
            access_key="key", secret_key="secret", region="us-east-1", scheme="http", endpoint_override=f"{host}:{port}",
            allow_bucket_creation=True,
        )  # fmt: skip
        self.tell("reset", b"")
        self.files.create_dir("music")

    def tell(self, what: str, data: bytes) -> None:
        httpx.post(f"{self.url}/moto-api/{what}", content=data, headers={"Content-Type": "text/plain"}, trust_env=False).raise_for_status()

    def put(self, key: str, content: str) -> None:
        with self.files.open_output_stream(f"music/{key}") as out:
            out.write(content.encode())

    def connection(self, _: str = "") -> Connection:
        return Connection(scheme="aws", login="key", password="secret", extra={"endpoint_url": self.url, "region_name": "us-east-1"})


@pytest.fixture(scope="module")
def running() -> Iterator[ThreadedMotoServer]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def store(running: ThreadedMotoServer) -> Store:
    return Store(running)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects count as settled at once."""
    monkeypatch.setattr(store_of_objects, "_SETTLED_SECONDS", -10)


def take(tenant: Tenant, settings: Settings, marks: MemoryMarks, find: Callable[[str], Connection]) -> Any:
    return land(tenant, DAY, settings, marks, find, patience=QUICK)


@pytest.mark.usefixtures("settled")
def test_the_objects_of_each_day_are_a_batch_and_taken_once(settings: Settings, store: Store) -> None:
    tenant, marks = tenant_of(HOURLY, begins_on=EVE), MemoryMarks()
    store.put(f"plays/{DAY}/a.ndjson", "1")
    store.put(f"plays/{DAY}/b.ndjson", "2" * 9_000_000)
    store.put(f"plays/{EVE}/a.ndjson", "3")
    for other in (f"plays/{DAY}/.hidden.ndjson", f"plays/{DAY}/c.ndjson.part", f"plays/{DAY}/deep/d.ndjson", "plays/2026-13-01/a.ndjson"):
        store.put(other, "no")
    assert take(tenant, settings, marks, store.connection).count("batches") == 2
    assert standing(settings, tenant) == {
        f"plays/{EVE}": {f"s3://music/plays/{EVE}/a.ndjson": "3"},
        f"plays/{DAY}": {f"s3://music/plays/{DAY}/a.ndjson": "1", f"s3://music/plays/{DAY}/b.ndjson": "2" * 9_000_000},
    }
    assert take(tenant, settings, marks, store.connection).entries[0].skipped


@pytest.mark.usefixtures("settled")
def test_a_replaced_object_replaces_its_batch(settings: Settings, store: Store) -> None:
    tenant, marks = tenant_of(HOURLY), MemoryMarks()
    store.put(f"plays/{DAY}/a.ndjson", "old")
    store.put(f"plays/{DAY}/b.ndjson", "same")
    take(tenant, settings, marks, store.connection)
    store.put(f"plays/{DAY}/a.ndjson", "newer")
    receipt = take(tenant, settings, marks, store.connection)
    assert (receipt.count("batches"), receipt.count("files")) == (1, 1)
    assert set(standing(settings, tenant)[f"plays/{DAY}"].values()) == {"newer", "same"}


def test_an_object_replaced_within_the_second_is_not_overlooked(settings: Settings, store: Store) -> None:
    """Of the same size, and with the same instant, which the store tells by the second."""
    tenant, marks = tenant_of(HOURLY), MemoryMarks()
    time.sleep(1 - time.time() % 1)
    store.put(f"plays/{DAY}/a.ndjson", "old")
    take(tenant, settings, marks, store.connection)
    store.put(f"plays/{DAY}/a.ndjson", "new")
    take(tenant, settings, marks, store.connection)
    assert standing(settings, tenant) == {f"plays/{DAY}": {f"s3://music/plays/{DAY}/a.ndjson": "new"}}
    assert take(tenant, settings, marks, store.connection).count("batches") == 0


@pytest.mark.usefixtures("settled")
def test_an_object_replaced_while_it_is_read_is_left_for_the_next_run(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, marks = tenant_of(HOURLY), MemoryMarks()
    store.put(f"plays/{DAY}/a.ndjson", "a" * 3_000)
    pieces = store_of_objects.Objects._pieces

    def meanwhile(self: Any, stream: Any, seen: Any) -> Iterator[bytes]:
        yield from pieces(self, stream, seen)
        store.put(f"plays/{DAY}/a.ndjson", "b" * 3_000)

    monkeypatch.setattr(store_of_objects.Objects, "_pieces", meanwhile)
    receipt = take(tenant, settings, marks, store.connection)
    assert "changed while it was read; the next run takes it" in receipt.warnings[0]
    assert receipt.count("batches") == 0
    monkeypatch.undo()
    take(tenant, settings, marks, store.connection)
    assert standing(settings, tenant) == {f"plays/{DAY}": {f"s3://music/plays/{DAY}/a.ndjson": "b" * 3_000}}


def test_a_state_is_what_stands_there_that_night(settings: Settings, store: Store) -> None:
    tenant, marks = tenant_of({"location": "s3://music/state/*.ndjson", "connection": "store"}), MemoryMarks()
    store.put("state/a.ndjson", "1")
    take(tenant, settings, marks, store.connection)
    store.files.delete_file("music/state/a.ndjson")
    store.put("state/b.ndjson", "2")
    land(tenant, DAY + timedelta(days=1), settings, marks, store.connection, patience=QUICK)
    assert standing(settings, tenant) == {
        f"plays/{DAY}": {"s3://music/state/a.ndjson": "1"},
        f"plays/{DAY + timedelta(days=1)}": {"s3://music/state/b.ndjson": "2"},
    }


def test_the_environment_may_hold_the_connection(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = tenant_of(HOURLY)
    store.put(f"plays/{DAY}/a.ndjson", "1")
    variable = f"AIRFLOW_CONN_{tenant.connection_id('store').upper()}"
    for value in (
        f'{{"conn_type": "aws", "login": "key", "password": "secret", "extra": {{"endpoint_url": "{store.url}", "region_name": "us-east-1"}}}}',
        f"aws://key:secret@/?endpoint_url={store.url}&region_name=us-east-1",
    ):
        monkeypatch.setenv(variable, value)
        assert "secret" not in repr(environment_connection(tenant.connection_id("store")))
        assert take(tenant, settings, MemoryMarks(), environment_connection).entries[0].facts["is_there"]


# what goes wrong ----------------------------------------------------------------------------------------------------------------
def test_a_missing_bucket_is_named(settings: Settings, store: Store) -> None:
    tenant = tenant_of({**HOURLY, "location": "s3://nobody/plays/{day}/*"})
    with pytest.raises(
        DeliveryError, match=r"dusk.*Source plays: s3://nobody does not exist, or may not be seen.*Next: Correct its location"
    ):
        take(tenant, settings, MemoryMarks(), store.connection)


def test_a_missing_folder_is_a_source_without_anything(settings: Settings, store: Store) -> None:
    receipt = take(tenant_of({**HOURLY, "location": "s3://music/nothing/{day}/*"}), settings, MemoryMarks(), store.connection)
    assert not receipt.entries[0].facts["is_there"]


def test_wrong_keys_are_refused_and_not_repeated(settings: Settings, store: Store) -> None:
    store.put(f"plays/{DAY}/a.ndjson", "1")
    store.tell("reset-auth", b"0")
    try:
        with pytest.raises(DeliveryError, match=r"Source plays: .*Next: Correct its location") as told:
            take(tenant_of(HOURLY), settings, MemoryMarks(), store.connection)
    finally:
        store.tell("reset-auth", b"inf")
    assert "secret" not in str(told.value)


def test_a_store_that_is_away_is_tried_again(settings: Settings, store: Store) -> None:
    def nowhere(_: str) -> Connection:
        return Connection(scheme="aws", login="k", password="s", extra={"endpoint_url": "http://127.0.0.1:1", "region_name": "us-east-1"})

    with pytest.raises(SourceUnavailable, match="Source plays: s3://music/plays/"):
        take(tenant_of(HOURLY), settings, MemoryMarks(), nowhere)


def test_one_store_that_fails_keeps_no_other_source_back(settings: Settings, store: Store, deliver: Callable[..., None]) -> None:
    tenant = tenant_of({"name": "web"}, {**HOURLY, "location": "s3://nobody/{day}/*"})
    deliver(f"plays/{DAY}/a.csv", "1")
    with pytest.raises(PermanentError, match="nobody"):
        take(tenant, settings, MemoryMarks(), store.connection)
    assert len(list((settings.lake_root / "dusk").rglob("manifest.json"))) == 1


@pytest.mark.parametrize("location", ["gs://bucket/{day}/*", "abfs://container@account.dfs.core.windows.net/{day}/*", "abfss://c/{day}/*"])
def test_the_other_stores_are_opened_with_what_their_connections_hold(settings: Settings, location: str) -> None:
    """No server speaks their languages here: this proves the spelling of the arguments, and that an absent store is no crash."""
    from nocturne.landing.batches import Shelf

    tenant = tenant_of({**HOURLY, "location": location})
    kind = "google_cloud_platform" if location.startswith("gs") else "wasb"
    found = Connection(scheme=kind, login="account", password="c2VjcmV0", extra={"is_anonymous": True})
    store_of_objects.Objects(Shelf(settings, tenant, tenant.sources[0]), found, QUICK)


# kills --------------------------------------------------------------------------------------------------------------------------
CHILD = """
import os, signal, sys
from nocturne.landing import Connection, land
from nocturne.landing import objects
from nocturne.ledger import MemoryMarks
from nocturne.settings import load_settings
from pathlib import Path
from tests.integration.landing.delivering import DAY, tenant_of

url, root, step = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
settings = load_settings(var=root, master_key="5a" * 32)
extra = {"endpoint_url": url, "region_name": "us-east-1"}
found = Connection(scheme="aws", login="key", password="secret", extra=extra)
tenant = tenant_of({"location": "s3://music/plays/{day}/*.ndjson", "connection": "store"})
seen = 0
def watch(event, args):
    global seen
    if str(root) in str(args) and (event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir"} or event == "open" and args[2] & os.O_WRONLY):
        seen += 1
        if seen == step:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
land(tenant, DAY, settings, MemoryMarks(), lambda _: found)
os._exit(0)
"""


def test_a_kill_at_any_write_leaves_a_whole_batch_and_the_next_run_completes_it(settings: Settings, store: Store, tmp_path: Path) -> None:
    tenant = tenant_of(HOURLY)

    def killed_at(step: int) -> bool:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, store.url, str(settings.var), str(step)],
            env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
            timeout=60,
            check=False,
        )
        assert done.returncode in {0, -9}
        return done.returncode == -9

    step, old = 1, ""
    while True:
        new = f"{step:04}"
        for key in ("a", "b"):
            store.put(f"plays/{DAY}/{key}.ndjson", new)
        was_killed = killed_at(step)
        if (settings.lake_root / "dusk").exists() and step > 1:
            manifests = list((settings.lake_root / "dusk").rglob("manifest.json"))
            for manifest in manifests:
                contents = {path.read_text() for path in manifest.parent.iterdir() if f'"{path.name}"' in manifest.read_text()}
                assert contents in ({old}, {new})
        take(tenant, settings, MemoryMarks(), store.connection)
        assert set(standing(settings, tenant)[f"plays/{DAY}"].values()) == {new}
        if not was_killed:
            break
        step, old = step + 1, new
    assert step > 8
