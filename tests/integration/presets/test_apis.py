"""The presets of APIs against a real HTTP server that answers as their documentation says, night after night."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from nocturne.errors import DeliveryError
from nocturne.landing import Connection, Patience, land
from nocturne.settings import Settings
from tests.integration.lake.worlds import Night, Row, tenant_with
from tests.integration.landing.delivering import Answer, Server

NIGHT = date(2026, 3, 2)
NOON = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp())
HASTY = Patience(tries=3, first_pause_seconds=0.02, longest_pause_seconds=0.1, all_pauses_seconds=2, timeout_seconds=20)


class Service(Server):
    """Answers every path with what `page` makes of its query."""

    def page(self, path: str, asked: dict[str, str]) -> Any:
        """The answer to a path and its parameters."""
        raise NotImplementedError

    def _answer(self, path: str) -> Answer:
        parts = urlsplit(path)
        return Answer(json.dumps(self.page(parts.path, {name: values[-1] for name, values in parse_qs(parts.query).items()})).encode())


class ListenBrainz(Service):
    """GET /1/user/<name>/listens: with `min_ts` those after it, oldest first, else the newest before `max_ts`; always told newest first."""

    MOST = 3

    def __init__(self, listens: Sequence[Row]) -> None:
        self.listens = list(listens)
        super().__init__()

    def page(self, path: str, asked: dict[str, str]) -> Any:
        """A page of listens."""
        assert path == "/1/user/alice/listens"
        count, least = min(int(asked.get("count", 25)), self.MOST), int(asked.get("min_ts", 0))
        most = int(asked.get("max_ts", 2**40))
        found = sorted((one for one in self.listens if least < one["listened_at"] < most), key=lambda one: int(one["listened_at"]))
        some = found[:count] if least else found[-count:]
        told = {"count": len(some), "user_id": "alice", "listens": some[::-1]}
        times = [one["listened_at"] for one in self.listens]
        return {"payload": {**told, "latest_listen_ts": max(times, default=0), "oldest_listen_ts": min(times, default=0)}}


class LastFm(Service):
    """GET ?method=user.getrecenttracks: newest first, what is playing now on top of each page; a single track stands there without array."""

    def __init__(self, scrobbles: Sequence[Row]) -> None:
        self.scrobbles, self.now_playing = list(scrobbles), False
        super().__init__()

    def page(self, path: str, asked: dict[str, str]) -> Any:
        """A page of scrobbles."""
        assert (path, asked["method"], asked["user"], asked["api_key"]) == ("/2.0/", "user.getrecenttracks", "alice", "k")
        found = [one for one in self.scrobbles if int(one["date"]["uts"]) > int(asked.get("from", 0))]
        size, page = min(int(asked["limit"]), 2), int(asked["page"])
        some = sorted(found, key=lambda one: -int(one["date"]["uts"]))[(page - 1) * size : page * size]
        if self.now_playing:
            some.insert(0, {**scrobble(0, "Now"), "@attr": {"nowplaying": "true"}})
            del some[0]["date"]
        told = {
            "user": "alice",
            "page": str(page),
            "perPage": str(size),
            "totalPages": str(-(-len(found) // size)),
            "total": str(len(found)),
        }
        return {"recenttracks": {"track": some[0] if len(some) == 1 else some, "@attr": told}}


def listen(seconds: int, track: str = "Jóga", **info: Any) -> Row:
    """One listen, as the API tells it."""
    about = {"artist_name": "Björk", "track_name": track, "release_name": "Homogenic", "additional_info": info}
    mapping = {"mbid_mapping": {"recording_mbid": "r-joga", "release_mbid": "x", "artist_mbids": ["a"]}} if track == "Jóga" else {}
    return {
        "listened_at": NOON + seconds, "recording_msid": f"m-{track}", "user_name": "alice", "inserted_at": NOON + seconds + 9,
        "track_metadata": {**about, **mapping},
    }  # fmt: skip


def scrobble(seconds: int, track: str = "Jóga", mbid: str = "") -> Row:
    """One scrobble, as the API tells it."""
    at = NOON + seconds
    return {
        "artist": {"mbid": mbid, "#text": "Björk"}, "streamable": "0", "image": [{"size": "small", "#text": "https://img/1.png"}], "mbid": "",
        "album": {"mbid": "", "#text": "Homogenic"}, "name": track, "url": "https://www.last.fm/music/x",
        "date": {"uts": str(at), "#text": datetime.fromtimestamp(at, UTC).strftime("%d %b %Y, %H:%M")},
    }  # fmt: skip


class Nights:
    """Nights of a tenant with one preset."""

    def __init__(self, settings: Settings, server: Server, connection: Connection, **source: Any) -> None:
        self.connection = connection
        self.night = Night(
            settings, tenant_with({"name": "s", "connection": "api", "requests_per_minute": None, **source}, time_zone="UTC")
        )

    def run(self, number: int = 0) -> None:
        """Land, load and refine one night."""
        day = NIGHT + timedelta(days=number)
        now = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC) + timedelta(hours=3)
        land(self.night.tenant, day, self.night.settings, self.night.marks, lambda _: self.connection, patience=HASTY, now=now)
        self.night.run()

    def accounted(self, dataset: str = "plays") -> tuple[int, int, int, int]:
        """(silver, duplicates, quarantined, left out), after proof that they are all the landed rows."""
        bronze = [mark.facts for mark in self.night.marks_of("bronze", dataset).values()]
        silver = [mark.facts for mark in self.night.marks_of("silver", dataset).values()]
        kept, twice = sum(fact["rows"] for fact in silver), sum(fact["duplicates"] for fact in silver)
        refused, left_out = len(self.night.rows("quarantine", dataset)), sum(fact["left_out"] for fact in bronze)
        assert sum(fact["rows"] for fact in bronze) == kept + twice + refused + left_out
        return kept, twice, refused, left_out


# ListenBrainz --------------------------------------------------------------------------------------------------------------------
HOUR = [listen(0), listen(100, duration_ms=305_000), listen(200, "Hunter", duration_played=42), listen(300, "Hunter"), listen(900)]


@pytest.fixture
def listenbrainz() -> Iterator[ListenBrainz]:
    server = ListenBrainz(HOUR)
    yield server
    server.stop()


def listens(settings: Settings, server: Server, **more: Any) -> Nights:
    connection = Connection.from_uri(f"http://:Token%20t@{urlsplit(server.url).netloc}?auth=header&name=Authorization")
    return Nights(settings, server, connection, preset="listenbrainz_api", location="1/user/alice/listens", **more)


def test_listens_are_taken_page_after_page(settings: Settings, listenbrainz: ListenBrainz) -> None:
    nights = listens(settings, listenbrainz)
    nights.run()
    assert (nights.accounted(), nights.accounted("tracks"), nights.accounted("artists")) == ((5, 0, 0, 0), (2, 1, 0, 2), (1, 0, 0, 4))
    assert {headers["Authorization"] for headers in listenbrainz.headers} == {"Token t"}
    assert len(listenbrainz.asked) == 3 * 3  # two pages and an empty one, for each of three parts
    plays = nights.night.rows("silver", columns="play_id, track_id, ms_played, is_estimated", order="played_at")
    assert [tuple(row.values()) for row in plays] == [
        (f"alice-{NOON}-m-Jóga", "r-joga", 100_000, True),  # until the next one
        (f"alice-{NOON + 100}-m-Jóga", "r-joga", 100_000, True),
        (f"alice-{NOON + 200}-m-Hunter", "m-Hunter", 42_000, False),
        (f"alice-{NOON + 300}-m-Hunter", "m-Hunter", 240_000, True),  # at most so long
        (f"alice-{NOON + 900}-m-Jóga", "r-joga", 240_000, True),
    ]


def test_the_next_night_asks_for_what_is_new_and_finds_what_was_imported_late(settings: Settings, listenbrainz: ListenBrainz) -> None:
    nights = listens(settings, listenbrainz, only=["plays"])
    nights.run()
    listenbrainz.asked.clear()
    listenbrainz.listens += [listen(90_000, "New"), listen(-3_600, "Imported")]
    nights.run(1)
    assert listenbrainz.asked[0] == f"/1/user/alice/listens?count=1000&min_ts={NOON + 900 - 604_800}"
    assert nights.accounted() == (7, 5, 0, 0)
    assert {row["track_id"] for row in nights.night.rows("silver")} == {"r-joga", "m-Hunter", "m-New", "m-Imported"}


def test_damaged_listens_are_refused_one_by_one(settings: Settings, listenbrainz: ListenBrainz) -> None:
    nameless = listen(400)
    del nameless["track_metadata"]["artist_name"]
    listenbrainz.listens += [{**listen(500), "user_name": None}, nameless, {**listen(600), "track_metadata": "?"}]
    nights = listens(settings, listenbrainz)
    nights.run()
    assert nights.accounted() == (6, 0, 2, 0)
    assert nights.accounted("artists") == (1, 0, 2, 5)


def test_a_page_of_another_kind_is_refused(settings: Settings, listenbrainz: ListenBrainz, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ListenBrainz, "page", lambda *_: {"code": 200, "listens": []})
    with pytest.raises(DeliveryError, match=r"has no field 'payload\.listens' with records; there is: code, listens"):
        listens(settings, listenbrainz, only=["plays"]).run()


# Last.fm -------------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def lastfm() -> Iterator[LastFm]:
    server = LastFm([scrobble(0), scrobble(100, "Hunter", "87c5dedd"), scrobble(400), scrobble(900, "Hunter"), scrobble(1_000)])
    yield server
    server.stop()


def scrobbles(settings: Settings, server: Server, **more: Any) -> Nights:
    connection = Connection.from_uri(f"http://:k@{urlsplit(server.url).netloc}/2.0?auth=query&name=api_key")
    location = "?method=user.getrecenttracks&user=alice&format=json"
    return Nights(settings, server, connection, preset="lastfm_api", location=location, map={"listener_id": "'alice'"}, **more)


def test_scrobbles_are_taken_page_after_page_without_what_is_playing(settings: Settings, lastfm: LastFm) -> None:
    lastfm.now_playing = True
    nights = scrobbles(settings, lastfm)
    nights.run()
    assert len(lastfm.asked) == 3 * 3
    assert nights.accounted() == (5, 0, 0, 3)
    assert nights.accounted("tracks") == (2, 1, 0, 5)
    assert nights.accounted("artists") == (2, 0, 0, 6)  # one has an identifier, and one only a name
    plays = nights.night.rows("silver", columns="played_at::VARCHAR AS instant, ms_played, is_estimated", order="instant LIMIT 2")
    assert [tuple(row.values()) for row in plays] == [
        ("2026-03-02 12:00:00+00", 100_000, True),
        ("2026-03-02 12:01:40+00", 240_000, True),
    ]


def test_a_page_with_one_scrobble_is_a_page(settings: Settings, lastfm: LastFm) -> None:
    nights = scrobbles(settings, lastfm, only=["plays"])
    nights.run()  # the last page holds one alone
    assert nights.accounted() == (5, 0, 0, 0)


def test_a_quiet_night_with_something_playing_takes_nothing(settings: Settings, lastfm: LastFm) -> None:
    lastfm.scrobbles, lastfm.now_playing = [], True
    nights = scrobbles(settings, lastfm, only=["plays"])
    nights.run()
    assert nights.accounted() == (0, 0, 0, 0)


def test_the_next_night_asks_from_two_weeks_before_the_newest(settings: Settings, lastfm: LastFm) -> None:
    nights = scrobbles(settings, lastfm, only=["plays"])
    nights.run()
    lastfm.asked.clear()
    lastfm.scrobbles += [scrobble(90_000, "New"), scrobble(-86_400, "Offline")]
    nights.run(1)
    assert f"from={NOON + 1_000 - 1_209_600}" in lastfm.asked[0]
    assert nights.accounted() == (7, 5, 0, 0)


def test_damaged_scrobbles_are_refused_one_by_one(settings: Settings, lastfm: LastFm) -> None:
    shuffled = dict(reversed(list(scrobble(500).items())))
    lastfm.scrobbles += [shuffled, {**scrobble(600), "name": None}, {**scrobble(700), "artist": None}]
    nights = scrobbles(settings, lastfm)
    nights.run()
    assert nights.accounted() == (6, 0, 2, 0)
    assert nights.accounted("tracks") == (2, 1, 2, 3)
    assert nights.accounted("artists") == (2, 0, 1, 5)
    assert {tuple(row["reasons"]) for row in nights.night.rows("quarantine")} == {("track_id: is missing",)}


def test_a_scrobble_is_the_same_play_as_in_an_export(settings: Settings, lastfm: LastFm) -> None:
    lastfm.scrobbles = [scrobble(0)]
    nights = scrobbles(settings, lastfm, only=["plays"])
    nights.run()
    (row,) = nights.night.rows("silver", columns="play_id, track_id")
    # The digests that lastfm_scrobbles makes of 1772452800,...,Björk,...,Jóga
    assert row == {"play_id": "ddf2ca825e8e0e4299d7d28d4c7dc2bf", "track_id": "20fac0a43cc41869e5e8f08c82a9cbc0"}
