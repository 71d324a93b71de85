"""Sources of kind `api`, against a real HTTP server: pages, patience, refusals, secrets, and a kill in the middle."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from nocturne.errors import DeliveryError, PermanentError, SourceUnavailable
from nocturne.landing import Connection, Patience, land
from nocturne.landing.batches import Shelf
from nocturne.ledger import MemoryMarks
from nocturne.manifests import read_manifests
from nocturne.receipts import Receipt
from nocturne.settings import Settings
from tests.integration.landing.delivering import DAY, TOKEN, Answer, Server, page, tenant_of

API = {"kind": "api", "connection": "demo", "location": "plays?day={day}", "records": "data", "next_field": "next"}
STATE = API | {"dataset": "tracks", "location": "/tracks"}
HASTY = Patience(tries=4, first_pause_seconds=0.02, longest_pause_seconds=0.1, all_pauses_seconds=3, timeout_seconds=20)
FIRST = f"/plays?day={DAY}"


@pytest.fixture
def marks() -> MemoryMarks:
    return MemoryMarks()


def take(settings: Settings, server: Server, marks: MemoryMarks, source: dict[str, Any] = API, **more: Any) -> Receipt:
    return land(tenant_of(source), more.pop("day", DAY), settings, marks, server.connection, patience=HASTY, **more)


def landed(settings: Settings, source: dict[str, Any] = API) -> dict[str, list[Any]]:
    """The rows of every batch, page after page, after checking that they are as many as the manifest says."""
    tenant = tenant_of(source)
    shelf = Shelf(settings, tenant, tenant.sources[0])
    found = {}
    for batch, manifest in read_manifests(settings, tenant, tenant.sources[0].dataset).items():
        pages = [json.loads((shelf.folder(manifest.received_on) / file.name).read_bytes()) for file in manifest.files]
        rows = [page["data"] if isinstance(page, dict) else page for page in pages]
        assert [len(some) for some in rows] == [file.rows for file in manifest.files]
        found[batch] = [row for some in rows for row in some]
    return found


# pages -------------------------------------------------------------------------------------------------------------------------
def test_pages_are_landed_as_received_until_none_is_named(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says(FIRST, page([1, 2], f"{server.url}/plays?day={DAY}&page=2"))
    server.says(f"{FIRST}&page=2", page([3], "/more/3"))
    server.says("/more/3", page([4], "4?x=y"))
    server.says("/more/4?x=y", Answer(b'{"data" :[5],\n"next":""}'))

    receipt = take(settings, server, marks)

    assert landed(settings) == {f"plays/{DAY}": [1, 2, 3, 4, 5]}
    manifest = read_manifests(settings, tenant_of(API), "plays")[f"plays/{DAY}"]
    assert [file.name for file in manifest.files] == [f"page-0000{count}.json" for count in (1, 2, 3, 4)]
    assert [file.origin for file in manifest.files] == [server.url + path for path in server.asked]
    folder = Shelf(settings, tenant_of(API), tenant_of(API).sources[0]).folder(DAY)
    assert (folder / "page-00004.json").read_bytes() == b'{"data" :[5],\n"next":""}'
    assert receipt.count("files") == 4
    assert all(headers["Authorization"] == f"Bearer {TOKEN}" for headers in server.headers)


def test_a_path_stays_below_the_address_of_the_connection(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says(f"/v1/x/plays?day={DAY}", page([1], "/plays?page=2"))
    server.says("/v1/x/plays?page=2", page([2], "/v1/x/plays?page=3"))
    server.says("/v1/x/plays?page=3", page([3]))
    land(tenant_of(API), DAY, settings, marks, lambda _: Connection(f"{server.url}/v1/x/", login="me", password="pass"), patience=HASTY)
    assert landed(settings) == {f"plays/{DAY}": [1, 2, 3]}
    assert server.headers[0]["Authorization"].startswith("Basic ")


def test_every_day_is_asked_for_once(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    days = [DAY + timedelta(days=count) for count in range(3)]
    for day in days:
        server.says(f"/plays?day={day}", page([day.isoformat()]))
    take(settings, server, marks, day=days[1])
    take(settings, server, marks, day=days[1])
    take(settings, server, marks, day=days[2])
    assert server.asked == [f"/plays?day={day}" for day in days]
    assert landed(settings) == {f"plays/{day}": [day.isoformat()] for day in days}


def test_an_unchanged_state_is_no_new_batch_and_is_asked_for_once_a_night(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says("/tracks", page([1]), page([1]), page([2]))
    nights = [DAY + timedelta(days=count) for count in range(3)]
    taken = [take(settings, server, marks, STATE, day=night).count("batches") for night in nights for _ in range(2)]
    assert taken == [1, 0, 0, 0, 1, 0]
    assert len(server.asked) == 3
    assert landed(settings, STATE) == {f"plays/{nights[0]}": [1], f"plays/{nights[2]}": [2]}
    receipt = take(settings, server, marks, STATE | {"required": True}, day=nights[1])
    assert (receipt.entries[0].skipped, receipt.warnings) == (True, ())
    assert len(server.asked) == 3


def test_a_page_may_be_the_array_itself(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    source = {"kind": "api", "connection": "demo", "location": "plays"}
    server.says("/plays", Answer(b"[1, 2]"))
    take(settings, server, marks, source)
    assert landed(settings, source) == {f"plays/{DAY}": [1, 2]}


# patience ----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [500, 502, 503, 408, 429])
def test_what_may_pass_is_tried_again(settings: Settings, server: Server, marks: MemoryMarks, status: int) -> None:
    server.says(FIRST, Answer(b"oops", status), Answer(b"oops", status), page([1]))
    take(settings, server, marks)
    assert landed(settings) == {f"plays/{DAY}": [1]}
    assert len(server.asked) == 3


@pytest.mark.parametrize("as_date", [False, True])
def test_the_pause_that_the_server_asks_for_is_kept(settings: Settings, server: Server, marks: MemoryMarks, as_date: bool) -> None:
    asked = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True) if as_date else "1"
    server.says(FIRST, Answer(b"", 429, {"Retry-After": asked}), page([1]))
    started = time.monotonic()
    take(settings, server, marks)
    assert time.monotonic() - started > 0.9


def test_a_pause_beyond_our_patience_is_not_waited_for(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says(FIRST, Answer(b"", 503, {"Retry-After": "3600"}))
    started = time.monotonic()
    with pytest.raises(SourceUnavailable, match=r"asked 1 times: 503 Service Unavailable, and asks for 3600 s"):
        take(settings, server, marks)
    assert time.monotonic() - started < 60


def test_patience_ends_and_the_next_run_goes_on_behind_the_last_page(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says(FIRST, page([1], "/2"))
    server.says("/2", Answer(b"", 500))
    with pytest.raises(SourceUnavailable, match=rf"{server.url}/2 gave no page, asked 4 times: 500"):
        take(settings, server, marks)
    assert landed(settings) == {}
    server.says("/2", page([2]))
    server.asked.clear()
    take(settings, server, marks)
    assert server.asked == ["/2"]
    assert landed(settings) == {f"plays/{DAY}": [1, 2]}


def test_half_an_answer_is_none(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    whole = page([1])
    server.says(FIRST, Answer(whole.body[:9], promises=len(whole.body)), Answer(whole.body[:9]), whole)
    take(settings, server, marks)
    assert landed(settings) == {f"plays/{DAY}": [1]}
    assert len(server.asked) == 3


def test_a_silent_server_is_not_waited_for_for_ever(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says(FIRST, page([1]))
    server.silent_at = FIRST
    with pytest.raises(SourceUnavailable, match="ReadTimeout"):
        land(tenant_of(API), DAY, settings, marks, server.connection, patience=replace(HASTY, timeout_seconds=0.3))
    server.speak()
    take(settings, server, marks)
    assert landed(settings) == {f"plays/{DAY}": [1]}


def test_no_server_is_no_reason_for_a_person_to_act(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    connection = Connection(server.url)
    server._http.server_close()
    with pytest.raises(SourceUnavailable, match="ConnectError"):
        land(tenant_of(API), DAY, settings, marks, lambda _: connection, patience=HASTY)


def test_one_source_that_waits_holds_up_no_other(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says(FIRST, page([1]))
    server.says("/tracks", Answer(b"", 500))
    tenant = tenant_of(API, STATE | {"name": "tracks"})
    with pytest.raises(SourceUnavailable, match="tracks"):
        land(tenant, DAY, settings, marks, server.connection, patience=HASTY)
    assert landed(settings) == {f"plays/{DAY}": [1]}


# refusals ----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(b"", 404), r"answers 404 Not Found\. Next: Compare the source's location"),
        (Answer(b"", 400), "answers 400"),
        (Answer(b"", 401), r"answers 401 Unauthorized\. Next: Correct the secret in the connection \(connection nocturne_dusk__demo\)"),
        (Answer(b"", 302, {"Location": "/elsewhere"}), "answers 302 Found"),
        (Answer(b'{"rows": []}'), "has no field 'data' with records; there is: rows"),
        (Answer(b'{"data": {}}'), "holds a dict where records must be a list"),
        (Answer(b"[]"), "has no field 'data' with records; there is: list"),
        (page([1], "http://127.0.0.1:1/plays"), "leads to http://127.0.0.1:1/plays, another host"),
        (page([1], "//evil.example/plays"), "leads to http://evil.example/plays, another host"),
        (page([1], FIRST), "comes again after 1 pages"),
        (Answer(b'{"data": [], "next": 7}'), "names no address in 'next' but a int"),
    ],
)
def test_what_a_person_must_act_on_is_not_tried_again(
    settings: Settings, server: Server, marks: MemoryMarks, answer: Answer, words: str
) -> None:
    server.says(FIRST, answer)
    with pytest.raises(DeliveryError, match=words):
        take(settings, server, marks)
    assert len(server.asked) == 1
    assert landed(settings) == {}


def test_what_is_no_json_is_asked_for_again_before_it_is_given_up(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says(FIRST, Answer(b"<html>maintenance</html>"))
    with pytest.raises(SourceUnavailable, match="200 with 24 bytes that are no JSON"):
        take(settings, server, marks)
    assert len(server.asked) == HASTY.tries


def test_no_secret_is_said_or_kept(settings: Settings, server: Server, marks: MemoryMarks, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server.says(FIRST, page([1], "/2?access_token=hush&page=2"))
    server.says("/2?access_token=hush&page=2", Answer(b"", 404))
    with pytest.raises(DeliveryError, match=r"/2\?access_token=\*\*\*&page=2 answers 404") as caught:
        take(settings, server, marks)
    server.says("/2?access_token=hush&page=2", page([2]))
    take(settings, server, marks)
    kept = "".join(path.read_text() for path in settings.lake_root.rglob("manifest.json"))
    assert "page=2" in kept
    for said in (str(caught.value), caplog.text, kept, repr(server.connection(""))):
        assert "hush" not in said
        assert TOKEN not in said


def test_a_connection_that_is_not_there_names_the_variable(settings: Settings, marks: MemoryMarks) -> None:
    with pytest.raises(PermanentError, match="AIRFLOW_CONN_NOCTURNE_DUSK__DEMO"):
        land(tenant_of(API, {"name": "files"}), DAY, settings, marks)


# kills -------------------------------------------------------------------------------------------------------------------------
LANDING = """
import sys
from pathlib import Path
from tests.integration.landing.delivering import DAY, TOKEN, tenant_of
from nocturne.landing import Connection, land
from nocturne.ledger import MemoryMarks
from nocturne.settings import load_settings
source = {"kind": "api", "connection": "demo", "location": "plays?day={day}", "records": "data", "next_field": "next"}
settings = load_settings(var=Path(sys.argv[1]), master_key="5a" * 32)
land(tenant_of(source), DAY, settings, MemoryMarks(), lambda _: Connection(sys.argv[2], token=TOKEN))
"""


def killed_at(path: str, settings: Settings, server: Server) -> None:
    """Land in another process, and kill that while it waits for `path`."""
    server.silent_at = path
    process = subprocess.Popen(
        [sys.executable, "-c", LANDING, str(settings.var), server.url], env=os.environ | {"PYTHONPATH": ":".join(sys.path)}
    )
    try:
        assert server.arrived.wait(30)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    server.speak()


def test_a_run_that_is_killed_between_pages_is_continued_without_loss_or_repetition(
    settings: Settings, server: Server, marks: MemoryMarks
) -> None:
    server.says(FIRST, page([1, 2], "/2"))
    server.says("/2", page([3, 4], "/3"))
    server.says("/3", page([5], "/4"))
    server.says("/4", page([6]))
    killed_at("/3", settings, server)
    assert landed(settings) == {}

    take(settings, server, marks)

    assert landed(settings) == {f"plays/{DAY}": [1, 2, 3, 4, 5, 6]}
    assert server.asked == [FIRST, "/2", "/3", "/3", "/4"]


def test_a_place_that_the_server_has_forgotten_is_begun_again(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says(FIRST, page([1], "/2?cursor=a"), page([1], "/2?cursor=b"))
    server.says("/2?cursor=a", Answer(b"", 410))
    server.says("/2?cursor=b", page([2]))
    killed_at("/2?cursor=a", settings, server)

    take(settings, server, marks)

    assert landed(settings) == {f"plays/{DAY}": [1, 2]}
    assert server.asked == [FIRST, "/2?cursor=a", "/2?cursor=a", FIRST, "/2?cursor=b"]
