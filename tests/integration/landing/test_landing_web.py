"""One file a day at an address: taken once, asked for again cheaply, replaced when it changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from nocturne.errors import DeliveryError, SourceUnavailable
from nocturne.landing import Connection, Patience, land
from nocturne.ledger import MemoryMarks
from nocturne.settings import Settings
from tests.integration.landing.delivering import DAY, TOKEN, Answer, Server, tenant_of
from tests.integration.landing.test_landing_files import standing

EVE = DAY - timedelta(days=1)
PATH = f"/plays/{DAY}.ndjson"
QUICK = Patience(tries=3, first_pause_seconds=0.01, timeout_seconds=5)


def source(server: Server, **more: Any) -> dict[str, Any]:
    return {"location": f"{server.url}/plays/{{day}}.ndjson", **more}


def tagged(body: str, tag: str) -> Answer:
    return Answer(body.encode(), headers={"ETag": f'"{tag}"'})


def test_each_day_is_taken_once_and_asked_for_again_without_its_content(settings: Settings, server: Server) -> None:
    tenant, marks = tenant_of(source(server), begins_on=EVE), MemoryMarks()
    server.says(PATH, tagged("1", "a"))
    assert land(tenant, DAY, settings, marks, patience=QUICK).count("batches") == 1
    assert standing(settings, tenant) == {f"plays/{DAY}": {f"{server.url}{PATH}": "1"}}
    asked = len(server.asked)
    assert land(tenant, DAY, settings, marks, patience=QUICK).entries[0].skipped
    assert len(server.asked) == asked + 2  # a HEAD for each day


def test_a_changed_file_replaces_its_batch(settings: Settings, server: Server) -> None:
    tenant, marks = tenant_of(source(server)), MemoryMarks()
    server.says(PATH, tagged("old", "a"))
    land(tenant, DAY, settings, marks, patience=QUICK)
    server.says(PATH, tagged("new", "b"))
    land(tenant, DAY, settings, marks, patience=QUICK)
    assert standing(settings, tenant) == {f"plays/{DAY}": {f"{server.url}{PATH}": "new"}}


def test_a_server_that_tells_nothing_of_its_file_is_asked_for_it_again(settings: Settings, server: Server) -> None:
    tenant, marks = tenant_of(source(server)), MemoryMarks()
    for body in (b"old", b"old", b"new"):
        server.says(PATH, Answer(body))
        land(tenant, DAY, settings, marks, patience=QUICK)
        assert standing(settings, tenant) == {f"plays/{DAY}": {f"{server.url}{PATH}": body.decode()}}


def test_a_week_after_it_was_taken_a_day_is_left_alone(settings: Settings, server: Server) -> None:
    tenant, marks = tenant_of(source(server)), MemoryMarks()
    server.says(PATH, tagged("1", "a"))
    land(tenant, DAY, settings, marks, patience=QUICK)
    server.asked.clear()
    land(tenant, DAY + timedelta(days=8), settings, marks, patience=QUICK)
    assert PATH not in server.asked
    assert len(server.asked) == 8


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_run(settings: Settings, server: Server) -> None:
    tenant = tenant_of(source(server))
    server.says(PATH, tagged("1", "a"), tagged("2", "b"))
    receipt = land(tenant, DAY, settings, MemoryMarks(), patience=QUICK)
    assert "changed while it was read" in receipt.warnings[0]
    assert standing(settings, tenant) == {}


def test_what_may_pass_is_tried_again(settings: Settings, server: Server) -> None:
    tenant = tenant_of(source(server))
    half = Answer(b"1", headers={"ETag": '"a"'}, promises=100)
    whole = Answer(b"1" * 100, headers={"ETag": '"a"'})
    server.says(PATH, Answer(status=503), whole, half, whole)
    land(tenant, DAY, settings, MemoryMarks(), patience=QUICK)
    assert standing(settings, tenant) == {f"plays/{DAY}": {f"{server.url}{PATH}": "1" * 100}}
    server.says(PATH, Answer(status=503))
    with pytest.raises(SourceUnavailable, match="gave no file: 503"):
        land(tenant, DAY, settings, MemoryMarks(), patience=QUICK)


@pytest.mark.parametrize("status", [302, 401, 403, 400])
def test_what_a_person_must_mend_is_not_tried_again(settings: Settings, server: Server, status: int) -> None:
    server.says(PATH, Answer(status=status, headers={"Location": "/elsewhere"}))
    with pytest.raises(DeliveryError, match=f"answers {status} .*Next: Correct"):
        land(tenant_of(source(server)), DAY, settings, MemoryMarks(), patience=QUICK)
    assert server.asked == [PATH]


def test_the_secret_goes_to_its_own_host_alone(settings: Settings, server: Server) -> None:
    tenant = tenant_of(source(server, connection="shop"))
    server.says(PATH, tagged("1", "a"))
    land(tenant, DAY, settings, MemoryMarks(), server.connection, patience=QUICK)
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {TOKEN}"}
    server.asked.clear()
    with pytest.raises(DeliveryError, match="is another host than its connection's"):
        land(tenant, DAY, settings, MemoryMarks(), lambda _: Connection("https", "other.example", password=TOKEN), patience=QUICK)
    assert server.asked == []
