"""Sources of kind `api`, against a real HTTP server: pages, patience, refusals, secrets, and a kill in the middle."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from nocturne.errors import DeliveryError, PermanentError, SourceAwaited, SourceMissing, SourceUnavailable
from nocturne.landing import Connection, Patience, land
from nocturne.landing.batches import Shelf
from nocturne.ledger import MemoryMarks
from nocturne.manifests import read_manifests
from nocturne.receipts import Receipt
from nocturne.settings import Settings
from tests.integration.landing.delivering import DAY, TOKEN, Answer, Server, page, tenant_of

API = {
    "kind": "api",
    "connection": "demo",
    "location": "plays?day={day}",
    "records": "data",
    "paging": {"kind": "next_url", "field": "next"},
}
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
    land(
        tenant_of(API),
        DAY,
        settings,
        marks,
        lambda _: Connection.from_uri(server.url.replace("//", "//me:pass@") + "/v1/x/"),
        patience=HASTY,
    )
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


# ways to number pages ------------------------------------------------------------------------------------------------------------
def counted(rows: list[Any], **more: Any) -> Answer:
    return Answer(json.dumps({"data": rows} | more).encode())


def paged(source: dict[str, Any] = API, **paging: Any) -> dict[str, Any]:
    return source | {"paging": paging}


WAYS: dict[str, tuple[dict[str, Any], dict[str, Answer]]] = {
    "link_header": (
        paged(kind="link_header", size={"parameter": "per_page", "rows": 2}),
        {
            f"{FIRST}&per_page=2": Answer(b'{"data": [1, 2]}', headers={"Link": '</plays?at=2>; rel="next", </plays?at=9>; rel="last"'}),
            "/plays?at=2": Answer(b'{"data": [3]}', headers={"Link": "</plays?at=3>; rel=next"}),
            "/plays?at=3": Answer(b'{"data": [4]}', headers={"Link": '</plays>; rel="first"'}),
        },
    ),
    "cursor": (
        paged(kind="cursor", field="meta.next", parameter="after"),
        {
            FIRST: counted([1, 2], meta={"next": "b/c"}),
            f"{FIRST}&after=b%2Fc": counted([3], meta={"next": "d"}),
            f"{FIRST}&after=d": counted([4], meta={"next": None}),
        },
    ),
    "page": (
        paged(kind="page"),
        {
            f"{FIRST}&page=1": counted([1, 2]),
            f"{FIRST}&page=2": counted([3]),
            f"{FIRST}&page=3": counted([4]),
            f"{FIRST}&page=4": counted([]),
        },
    ),
    "offset": (
        paged(kind="offset", size={"parameter": "limit", "rows": 2}, total="count"),
        {
            f"{FIRST}&limit=2&offset=0": counted([1, 2], count=4),
            f"{FIRST}&limit=2&offset=2": counted([3], count=4),
            f"{FIRST}&limit=2&offset=3": counted([4], count=4),
        },
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_number_pages_is_followed_to_the_end(settings: Settings, server: Server, marks: MemoryMarks, way: str) -> None:
    source, answers = WAYS[way]
    for path, answer in answers.items():
        server.says(path, answer)
    take(settings, server, marks, source)
    assert landed(settings, source) == {f"plays/{DAY}": [1, 2, 3, 4]}
    assert server.asked == list(answers)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_number_pages_is_continued_after_a_kill(settings: Settings, server: Server, marks: MemoryMarks, way: str) -> None:
    source, answers = WAYS[way]
    for path, answer in answers.items():
        server.says(path, answer)
    killed_at(list(answers)[2], settings, server, source)
    assert landed(settings, source) == {}
    take(settings, server, marks, source)
    assert landed(settings, source) == {f"plays/{DAY}": [1, 2, 3, 4]}
    assert server.asked == [*list(answers)[:3], *list(answers)[2:]], "what had arrived was asked for again"


def test_a_service_that_does_not_hear_the_number_is_no_endless_book(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says(f"{FIRST}&page=1", counted([1]))
    server.says(f"{FIRST}&page=2", counted([1]))
    with pytest.raises(DeliveryError, match="gives the same page again"):
        take(settings, server, marks, paged(kind="page"))
    assert landed(settings) == {}


def test_no_more_is_asked_than_the_budget_allows(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    for number in range(1, 7):
        server.says(f"{FIRST}&page={number}", counted([number] if number < 6 else []))
    started = time.monotonic()
    take(settings, server, marks, paged(kind="page") | {"requests_per_minute": 300})
    assert time.monotonic() - started >= 1.0  # six requests, a fifth of a second between them


# what is new ---------------------------------------------------------------------------------------------------------------------
NEW = STATE | {"since": {"parameter": "from", "field": "at", "overlap": 60}}


def at(*minutes: int) -> list[dict[str, str]]:
    return [{"at": f"2026-03-29T00:{minute:02}:00Z"} for minute in minutes]


def asked_for(server: Server) -> list[str]:
    return [path.partition("from=")[2].replace("%3A", ":") for path in server.asked]


def from_minute(minute: int) -> str:
    return f"/tracks?from=2026-03-29T00%3A{minute:02}%3A00Z"


NIGHTS = [DAY + timedelta(days=count) for count in range(4)]


def test_each_night_asks_for_what_is_new_with_an_overlap(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says("/tracks", counted(at(2, 5), next="/tracks?page=2"))
    server.says("/tracks?page=2", counted(at(3)))
    server.says(from_minute(4), counted(at(5, 9)))
    server.says(from_minute(8), counted([]), counted(at(10)))
    server.says(from_minute(9), counted(at(10)))
    taken = [take(settings, server, marks, NEW, day=night) for night in NIGHTS[:3]]
    assert [receipt.count("batches") for receipt in taken] == [1, 1, 0]
    assert taken[2].warnings == (), "nothing new is nothing to warn of"
    assert taken[2].entries[0].facts["is_there"] is False
    take(settings, server, marks, NEW, day=NIGHTS[3])
    assert landed(settings, NEW) == {f"plays/{NIGHTS[0]}": at(2, 5, 3), f"plays/{NIGHTS[1]}": at(5, 9), f"plays/{NIGHTS[3]}": at(10)}
    ranges = [manifest.ranges for manifest in read_manifests(settings, tenant_of(NEW), "tracks").values()]
    assert [(one.part, one.since, one.until) for (one,) in ranges] == [
        ("at", None, at(5)[0]["at"]),
        ("at", at(5)[0]["at"], at(9)[0]["at"]),
        ("at", at(9)[0]["at"], at(10)[0]["at"]),
    ]


def test_a_night_that_is_taken_again_asks_for_the_same_range(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says("/tracks", counted(at(2)))
    server.says(from_minute(1), counted(at(5)))
    server.says(from_minute(4), counted(at(8)))
    for night in NIGHTS[:3]:
        take(settings, server, marks, NEW, day=night)
    before = read_manifests(settings, tenant_of(NEW), "tracks")
    server.asked.clear()
    for night in NIGHTS[:3]:
        assert take(settings, server, marks, NEW, day=night).entries[0].skipped
    assert server.asked == []

    shutil.rmtree(Shelf(settings, tenant_of(NEW), tenant_of(NEW).sources[0]).folder(NIGHTS[1]))
    take(settings, server, marks, NEW, day=NIGHTS[1])
    again = read_manifests(settings, tenant_of(NEW), "tracks")
    assert server.asked == [from_minute(1)]
    assert [manifest.ranges for manifest in again.values()] == [manifest.ranges for manifest in before.values()]
    assert landed(settings, NEW)[f"plays/{NIGHTS[1]}"] == at(5)


def test_a_night_before_one_that_was_taken_has_nothing_left_to_take(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says("/tracks", counted(at(2)))
    take(settings, server, marks, NEW, day=NIGHTS[1])
    assert take(settings, server, marks, NEW, day=NIGHTS[0]).count("batches") == 0
    assert len(server.asked) == 1


def test_a_kill_amid_what_is_new_is_continued(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    source = NEW | {"since": NEW["since"] | {"start": "2026-03-29T00:00:00Z"}}
    server.says(from_minute(0), counted(at(7), next="/2"))
    server.says("/2", counted(at(3), next="/3"))
    server.says("/3", counted(at(1)))
    killed_at("/3", settings, server, source)
    take(settings, server, marks, source)
    assert landed(settings, source) == {f"plays/{DAY}": at(7, 3, 1)}
    assert server.asked == [from_minute(0), "/2", "/3", "/3"]
    (manifest,) = read_manifests(settings, tenant_of(source), "tracks").values()
    assert manifest.ranges[0].until == at(7)[0]["at"], "the greatest value stood on a page that had arrived before the kill"


def test_a_clock_that_goes_wrong_at_the_source_hides_nothing_that_comes_after(
    settings: Settings, server: Server, marks: MemoryMarks
) -> None:
    server.says("/tracks", counted([{"at": "2199-01-01T00:00:00Z"}]))
    started = datetime.now(UTC)
    take(settings, server, marks, NEW)
    (manifest,) = read_manifests(settings, tenant_of(NEW), "tracks").values()
    assert started <= datetime.fromisoformat(manifest.ranges[0].until) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("record", "told"), [({"at": 7}, "has a record whose at is no instant"), ({"on": "x"}, "no record with a field 'at'")]
)
def test_a_record_that_does_not_say_when_is_told(
    settings: Settings, server: Server, marks: MemoryMarks, record: dict[str, Any], told: str
) -> None:
    server.says("/tracks", counted([record]))
    with pytest.raises(DeliveryError, match=told):
        take(settings, server, marks, NEW)


def test_nothing_new_is_waited_for_and_missed_like_any_delivery(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says("/tracks", counted([]), counted([]), counted(at(1)))
    source = NEW | {"required": True, "deadline": "05:00"}
    due = datetime(2026, 3, 30, 3, 0, tzinfo=UTC)
    with pytest.raises(SourceAwaited):
        take(settings, server, marks, source, now=due - timedelta(hours=1))
    with pytest.raises(SourceMissing):
        take(settings, server, marks, source, now=due)
    assert take(settings, server, marks, source, now=due).count("batches") == 1
    assert take(settings, server, marks, source, now=due).entries[0].facts["is_there"] is True


# how it knows us -----------------------------------------------------------------------------------------------------------------
def open_with(server: Server, login: str | None, password: str, **extra: Any) -> Callable[[str], Connection]:
    return lambda _: replace(server.connection(""), login=login, password=password, extra=extra)


def everything_kept(settings: Settings) -> str:
    return "".join(path.read_text() for path in settings.lake_root.rglob("*") if path.is_file())


def test_a_key_travels_in_a_header_of_any_name(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says(FIRST, page([1]))
    land(tenant_of(API), DAY, settings, marks, open_with(server, None, "hush", auth="header", name="X-Api-Key"), patience=HASTY)
    assert server.headers[0]["X-Api-Key"] == "hush"


def test_a_key_in_the_query_is_on_the_wire_alone(
    settings: Settings, server: Server, marks: MemoryMarks, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "nocturne")
    connections = open_with(server, None, "hush/hush", auth="query", name="code")
    server.says(f"{FIRST}&code=hush%2Fhush", page([1], "/plays?page=2&code=hush%2Fhush"))
    server.says("/plays?page=2&code=hush%2Fhush", Answer(b"", 404))
    with pytest.raises(DeliveryError, match=r"/plays\?page=2 answers 404") as caught:
        land(tenant_of(API), DAY, settings, marks, connections, patience=HASTY)
    server.says("/plays?page=2&code=hush%2Fhush", page([2]))
    land(tenant_of(API), DAY, settings, marks, connections, patience=HASTY)
    kept = "".join(path.read_text() for path in settings.lake_root.rglob("manifest.json"))
    for said in (str(caught.value), caplog.text, kept):
        assert "hush" not in said
    assert landed(settings) == {f"plays/{DAY}": [1, 2]}


def test_a_token_is_fetched_kept_and_refreshed_when_it_expires(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    connections = open_with(server, "me", "hush", auth="oauth2", token_url=f"{server.url}/token", scope="plays:read")
    server.says("/token", Answer(b'{"access_token": "one", "expires_in": 3600}'), Answer(b'{"access_token": "two", "expires_in": 0.9}'))
    server.says(FIRST, page([1], "/2"))
    server.says("/2", Answer(b"", 401), page([2], "/3"))
    server.says("/3", Answer(b"", 429, {"Retry-After": "1"}), page([3]))

    land(tenant_of(API), DAY, settings, marks, connections, patience=HASTY)

    assert landed(settings) == {f"plays/{DAY}": [1, 2, 3]}
    told = list(zip(server.asked, (headers["Authorization"] for headers in server.headers), strict=True))
    basic = "Basic bWU6aHVzaA=="
    assert told == [
        ("/token", basic), (FIRST, "Bearer one"), ("/2", "Bearer one"), ("/token", basic), ("/2", "Bearer two"), ("/3", "Bearer two"),
        ("/token", basic), ("/3", "Bearer two"),
    ]  # fmt: skip
    assert server.posted[0] == "scope=plays%3Aread&grant_type=client_credentials"
    assert "hush" not in everything_kept(settings)


def test_a_client_may_say_its_secret_in_the_body(settings: Settings, server: Server, marks: MemoryMarks) -> None:
    server.says("/token", Answer(b'{"access_token": "one"}'))
    server.says(FIRST, page([1]))
    connections = open_with(server, "me", "hush", auth="oauth2", token_url=f"{server.url}/token", client_auth="body")
    land(tenant_of(API), DAY, settings, marks, connections, patience=HASTY)
    assert server.posted == ["grant_type=client_credentials&client_id=me&client_secret=hush"]
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (Answer(b"", 400), DeliveryError, "the token's server .*/token answers 400 Bad Request. Next: Correct login, password"),
        (Answer(b"{}"), DeliveryError, "answers 200 without an `access_token`"),
        (Answer(b"hush"), DeliveryError, "answers 200 without an `access_token`"),
        (Answer(b"", 503), SourceUnavailable, "asked 4 times: the token's server .* answers 503"),
    ],
)
def test_a_token_that_is_not_given_is_told(
    settings: Settings, server: Server, marks: MemoryMarks, answer: Answer, kind: type[Exception], told: str
) -> None:
    server.says("/token", answer)
    with pytest.raises(kind, match=told) as caught:
        land(
            tenant_of(API), DAY, settings, marks, open_with(server, "me", "hush", auth="oauth2", token_url=f"{server.url}/token"),
            patience=HASTY,
        )  # fmt: skip
    assert "hush" not in str(caught.value)
    assert FIRST not in server.asked


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
    connection = Connection.from_uri(server.url)
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
import json, sys
from pathlib import Path
from tests.integration.landing.delivering import DAY, TOKEN, tenant_of
from nocturne.landing import Connection, land
from nocturne.ledger import MemoryMarks
from nocturne.settings import load_settings
source = json.loads(sys.argv[3])
settings = load_settings(var=Path(sys.argv[1]), master_key="5a" * 32)
land(tenant_of(source), DAY, settings, MemoryMarks(), lambda _: Connection.from_uri(sys.argv[2].replace("//", f"//:{TOKEN}@")))
"""


def killed_at(path: str, settings: Settings, server: Server, source: dict[str, Any] = API) -> None:
    """Land in another process, and kill that while it waits for `path`."""
    server.silent_at = path
    process = subprocess.Popen(
        [sys.executable, "-c", LANDING, str(settings.var), server.url, json.dumps(source)],
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
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
