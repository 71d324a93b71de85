"""Each preset on a delivery of its kind, through landing, bronze and silver, and on a damaged copy: rows in = rows kept + left out + refused.

Real deliveries are read where they stand; those of services that give out no samples are written here as their makers document them.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from nocturne.errors import DeliveryError
from nocturne.gates import gate_bronze
from nocturne.landing import land
from nocturne.settings import PROJECT, Settings
from tests.integration.lake.worlds import Night, Row, tenant_with

REAL = PROJECT.parent / "shared" / "data"
NIGHT = date(2026, 3, 2)
ALICE = {"listener_id": "'alice'"}
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real samples are not here")


def taken(settings: Settings, name: str, files: Mapping[str, bytes], **more: Any) -> Night:
    """A night that takes these files through one preset."""
    for path, content in files.items():
        where = settings.sources_root / "in" / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(content)
    night = Night(settings, tenant_with({"name": "s", "preset": name, "location": "in/**/*", **more}, time_zone="UTC"), newest=NIGHT)
    land(night.tenant, NIGHT, settings, night.marks, now=datetime(2026, 3, 3, 3, tzinfo=UTC))
    night.run()
    return night


def accounted(night: Night, rows: int) -> dict[str, tuple[int, int, int, int]]:
    """(silver, duplicates, quarantined, left out) of each dataset, after proof that they are all the delivered rows."""
    found = {}
    for source in night.tenant.sources:
        delivered = [mark.facts for mark in night.marks_of("bronze", source.dataset).values()]
        silver = [mark.facts for mark in night.marks_of("silver", source.dataset).values()]
        left_out = sum(fact["left_out"] for fact in delivered)
        kept, duplicates = sum(fact["rows"] for fact in silver), sum(fact["duplicates"] for fact in silver)
        refused = len(night.rows("quarantine", source.dataset))
        assert sum(fact["rows"] for fact in delivered) == rows == kept + duplicates + refused + left_out, source.dataset
        found[source.dataset] = (kept, duplicates, refused, left_out)
    return found


def unpacked(archive: str, *endings: str) -> dict[str, bytes]:
    """Files of a real archive. They are unpacked here: landing does not unpack tar yet."""
    files = {}
    with tarfile.open(REAL / archive) as packed:
        for member in packed.getmembers():
            content = packed.extractfile(member) if member.name.endswith(endings) else None
            if content is not None:
                files[Path(member.name).name] = content.read()
    return files


# Spotify -------------------------------------------------------------------------------------------------------------------------
def stream(ts: str, ms: int, track: str | None = "7qiZfU4dY1lWllzX7mPBI3", **more: Any) -> Row:
    """One element of a Streaming_History_Audio file."""
    return {
        "ts": ts, "platform": "ios", "ms_played": ms, "conn_country": "FR", "ip_addr": "192.0.2.1",
        "master_metadata_track_name": "Shape of You" if track else None,
        "master_metadata_album_artist_name": "Ed Sheeran" if track else None,
        "master_metadata_album_album_name": "Divide" if track else None,
        "spotify_track_uri": f"spotify:track:{track}" if track else None,
        "episode_name": None if track else "E", "episode_show_name": None if track else "S",
        "spotify_episode_uri": None if track else "spotify:episode:1", "reason_start": "trackdone", "reason_end": "trackdone",
        "shuffle": False, "skipped": False, "offline": False, "offline_timestamp": None, "incognito_mode": False, **more,
    }  # fmt: skip


STREAMS = [
    stream("2026-01-01T00:03:00Z", 233_000),
    stream("2026-01-01T00:05:00Z", 12_000, "6PCUP3dWmTjcTtXY02oFdT", reason_end="fwdbtn", offline=True),
    stream("2026-01-01T00:09:00Z", 60_000, None),
]


def test_spotify_extended(settings: Settings) -> None:
    night = taken(settings, "spotify_extended", {"Streaming_History_Audio_2026_0.json": json.dumps(STREAMS).encode()}, map=ALICE)
    assert accounted(night, 3) == {"plays": (2, 0, 0, 1), "tracks": (2, 0, 0, 1), "artists": (1, 0, 0, 2)}
    rows = night.rows(
        "silver", columns="played_at::VARCHAR AS instant, played_on, track_id, ms_played, reason_end, is_offline", order="instant"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("2025-12-31 23:59:07+00", date(2025, 12, 31), "7qiZfU4dY1lWllzX7mPBI3", 233_000, "track_done", False),
        ("2026-01-01 00:04:48+00", date(2026, 1, 1), "6PCUP3dWmTjcTtXY02oFdT", 12_000, "forward", True),
    ]


def test_what_plays_tell_of_a_catalogue_again_and_again_passes_the_gate(settings: Settings) -> None:
    again = [stream(f"2026-01-01T00:{minute:02}:00Z", 20_000) for minute in range(30)]
    night = taken(settings, "spotify_extended", {"a.json": json.dumps(again).encode()}, map=ALICE)
    assert accounted(night, 30) == {"plays": (30, 0, 0, 0), "tracks": (1, 0, 0, 29), "artists": (1, 0, 0, 29)}
    receipt = gate_bronze(night.tenant, NIGHT, settings, night.marks)
    assert receipt.count("batches") == 3


def test_spotify_extended_damaged(settings: Settings) -> None:
    shuffled = dict(reversed(list(stream("2026-01-01T01:00:00Z", 5_000).items())))
    bad = [stream("yesterday", 1_000), stream("2026-01-01T00:03:00Z", -5), shuffled, 7]
    night = taken(settings, "spotify_extended", {"a.json": json.dumps([*STREAMS, *bad]).encode()}, map=ALICE, only=["plays"])
    assert accounted(night, 7) == {"plays": (3, 0, 3, 1)}


def test_spotify_account(settings: Settings) -> None:
    one = {"endTime": "2026-01-01 00:01", "artistName": "Ed Sheeran", "trackName": "Shape of You", "msPlayed": 90_000}
    rows = [one, {**one, "endTime": "2026-01-01 00:05"}, one, {**one, "endTime": "1 January"}, {**one, "msPlayed": None}]
    night = taken(settings, "spotify_account", {"StreamingHistory_music_0.json": json.dumps(rows).encode()}, map=ALICE)
    found = accounted(night, 5)
    assert found["plays"] == (2, 1, 2, 0)
    assert (found["tracks"], found["artists"]) == ((1, 0, 0, 4), (1, 0, 0, 4))
    assert [row["instant"] for row in night.rows("silver", columns="played_at::VARCHAR AS instant")] == [
        "2025-12-31 23:59:30+00",
        "2026-01-01 00:03:30+00",
    ]


# ListenBrainz and Last.fm ----------------------------------------------------------------------------------------------------------
def listen(user: int, at: int, **info: Any) -> Row:
    """One line of a .listens file."""
    about = {"artist_name": "Björk", "track_name": "Jóga", "release_name": "Homogenic", "additional_info": info}
    return {"user_id": user, "user_name": f"u{user}", "timestamp": at, "recording_msid": "m-1", "track_metadata": about}


def test_listenbrainz_dump_whole_and_damaged(settings: Settings) -> None:
    listens = [
        listen(1, 1_767_225_600, recording_mbid="r-1", duration_ms=305_000),
        listen(1, 1_767_225_700),
        listen(2, 1_767_225_600, duration_played=42),
    ]
    text = "\n".join(json.dumps(row) for row in listens)
    damaged = text + "\n" + json.dumps({**listen(1, 0), "timestamp": "soon"}) + "\n" + text[:50]
    night = taken(settings, "listenbrainz_dump", {"listens/1/2026.listens": damaged.encode()})
    found = accounted(night, 5)
    assert found["plays"] == (3, 0, 2, 0)
    assert found["artists"] == (1, 0, 1, 3)
    plays = night.rows("silver", columns="play_id, track_id, ms_played, is_estimated", order="play_id")
    assert [tuple(row.values()) for row in plays] == [
        ("1-1767225600-m-1", "r-1", 100_000, True),  # until the user's next listen
        ("1-1767225700-m-1", "m-1", 240_000, True),  # no next one: the longest that is assumed
        ("2-1767225600-m-1", "m-1", 42_000, False),
    ]


def test_lastfm_scrobbles_whole_and_damaged(settings: Settings) -> None:
    head = "uts,utc_time,artist,artist_mbid,album,album_mbid,track,track_mbid\n"
    rows = (
        '1767225600,"01 Jan 2026, 00:00",Björk,87c5dedd,Homogenic,,Jóga,\n'
        '1767225660,"01 Jan 2026, 00:01","Crosby, Stills & Nash",,,,"Judy",\n'
        "now,,Björk,,,,Jóga,\n"
        "1767225700,cut\n"
    )
    night = taken(settings, "lastfm_scrobbles", {"scrobbles.csv": (head + rows).encode()}, map=ALICE)
    assert accounted(night, 4)["plays"] == (2, 0, 2, 0)
    plays = night.rows("silver", columns="ms_played, is_estimated", order="played_at")
    assert [tuple(row.values()) for row in plays] == [(60_000, True), (240_000, True)]


# charts, features, churn, event logs: real ---------------------------------------------------------------------------------------
@needs_real
def test_the_weekly_chart_with_streams(settings: Settings) -> None:
    content = (REAL / "charts" / "global_weekly_top200_2017_2019.csv.gz").read_bytes()
    night = taken(settings, "chart_weekly_streams", {"top200.csv.gz": content})
    rows = gzip.decompress(content).count(b"\n") - 1
    kept, _, refused, _ = accounted(night, rows)["chart_entries"]
    refusals = {row["_line"]: row["reasons"] for row in night.rows("quarantine", "chart_entries")}
    assert "position: Position 'Position' is no whole number" in refusals.pop(4002)  # the header, repeated in the middle
    assert set(refusals) == {5006, 5012, 5032, 5042, 8234}  # positions without a title
    assert all(reasons == ["track_name: is missing"] for reasons in refusals.values())
    assert (refused, kept > 27_000) == (6, True)
    (top,) = night.rows("silver", "chart_entries", order="charted_on, position LIMIT 1")
    assert (top["charted_on"], top["track_name"], top["stream_count"], top["track_id"]) == (
        date(2017, 1, 6), "Shape of You", 51_095_759, "7qiZfU4dY1lWllzX7mPBI3",
    )  # fmt: skip


@needs_real
def test_the_weekly_chart_of_positions(settings: Settings) -> None:
    files = unpacked("charts/us_weekly_hot100_1997_2021.tar.xz", ".csv")
    assert len(files) == 25
    night = taken(settings, "chart_hot_100", files)
    records = sum(len(list(csv.reader(io.StringIO(content.decode())))) - 1 for content in files.values())
    kept, _, refused, _ = accounted(night, records)["chart_entries"]
    assert (kept, refused) == (125_371, 29)
    reasons = {tuple(row["reasons"]) for row in night.rows("quarantine", "chart_entries")}
    assert reasons == {("row: has 8 values, the header has 7",)}  # quotes within quotes, and a comma behind them
    (top,) = night.rows("silver", "chart_entries", order="charted_on DESC, position LIMIT 1")
    first = next(csv.DictReader(io.StringIO(files["hot-100-2021.csv"].decode())))
    assert (top["charted_on"].isoformat(), top["track_name"], top["artist_name"]) == (first["date"], first["title"], first["artist"])
    assert (top["position"], top["country"]) == (1, "US")


def test_damaged_charts_are_refused_line_by_line(settings: Settings) -> None:
    head = "weeks,artist,date,current,title\n"
    rows = (
        '1,"Paul, Ali",2005-12-31,1,"Run It!"\n1,A,2005-02-31,2,T\n1,A,2005-12-31,two,T\n1,A,2005-12-31,0,T\n1,A,2005-12-31,3,\n1,A,2005\n'
    )
    night = taken(settings, "chart_hot_100", {"hot-100-2005.csv": (head + rows).encode()})
    assert accounted(night, 6) == {"chart_entries": (1, 0, 5, 0)}
    (row,) = night.rows("silver", "chart_entries")
    assert (row["position"], row["track_name"], row["artist_name"], row["charted_on"]) == (1, "Run It!", "Paul, Ali", date(2005, 12, 31))


@needs_real
def test_damaged_features_are_refused_line_by_line(settings: Settings) -> None:
    lines = gzip.decompress((REAL / "track_features" / "spotify_songs.csv.gz").read_bytes()).decode().splitlines()
    rows = list(csv.DictReader(lines[:4]))
    rows[1]["energy"], rows[2]["duration_ms"] = "loud", "-1"
    out = io.StringIO()
    shuffled = csv.DictWriter(out, sorted(rows[0]), lineterminator="\n")
    shuffled.writeheader()
    shuffled.writerows(rows)
    night = taken(settings, "track_features", {"songs.csv": (out.getvalue() + "0.5,cut\n").encode()})
    found = accounted(night, 4)
    assert found["tracks"] == (1, 0, 3, 0)
    assert [row["track_id"] for row in night.rows("silver", "tracks")] == [rows[0]["track_id"]]


@needs_real
def test_track_features(settings: Settings) -> None:
    content = (REAL / "track_features" / "spotify_songs.csv.gz").read_bytes()
    night = taken(settings, "track_features", {"songs.csv.gz": content})
    found = accounted(night, 32_833)
    assert found["tracks"][0] + found["tracks"][2] >= 28_352
    (row,) = night.rows("silver", "tracks", order="track_id LIMIT 1", columns="* EXCLUDE received_on")
    source = {one["track_id"]: one for one in csv.DictReader(io.StringIO(gzip.decompress(content).decode()))}[row["track_id"]]
    assert (row["title"], row["duration_ms"], row["energy"]) == (source["track_name"], int(source["duration_ms"]), float(source["energy"]))


@needs_real
def test_the_churn_table(settings: Settings) -> None:
    content = (REAL / "churn_table" / "Telco-Customer-Churn.csv").read_bytes()
    night = taken(settings, "churn_table", {"churn.csv": content + b"cut,Female"})
    assert accounted(night, 7_044) == {"listeners": (7_043, 0, 1, 0)}


@needs_real
def test_the_event_log(settings: Settings) -> None:
    files = unpacked("event_logs/music_app_events_2018_11.tar.xz", "-events.json")
    assert len(files) == 30
    rows = [json.loads(line) for content in files.values() for line in content.splitlines() if line.strip()]
    night = taken(settings, "app_event_log", files)
    found = accounted(night, len(rows))
    songs = sum(row["page"] == "NextSong" and row["userId"] != "" for row in rows)
    assert found["plays"] == (songs, 0, 0, len(rows) - songs)
    assert sum(found["interactions"][:3]) == sum(row["page"] != "NextSong" for row in rows)


@needs_real
def test_the_songs_of_the_event_log(settings: Settings) -> None:
    files = {name: content for name, content in unpacked("event_logs/music_app_events_2018_11.tar.xz", ".json").items() if name[0] == "T"}
    assert files
    night = taken(settings, "app_event_songs", {**files, "cut.json": b'{"artist_id": "A", "ti'})
    found = accounted(night, len(files) + 1)
    assert found["tracks"][2] == found["artists"][2] == 1


@needs_real
def test_a_delivery_without_a_column_is_refused_whole(settings: Settings) -> None:
    content = gzip.decompress((REAL / "track_features" / "spotify_songs.csv.gz").read_bytes()).replace(b"danceability", b"dance", 1)
    with pytest.raises(DeliveryError, match="lacks the column danceability"):
        taken(settings, "track_features", {"songs.csv": content}, only=["tracks"])


# royalty statements ----------------------------------------------------------------------------------------------------------------
DISTROKID = (
    "Reporting Date,Sale Month,Store,Artist,Title,ISRC,UPC,Quantity,Team Percentage,Song/Album,Country of Sale,"
    "Songwriter Royalties Withheld,Earnings (USD)\n"
    "2026-02-10,2026-01,Spotify,Björk,Jóga,GB-AAA-97-00001,5016958000000,120,100,Song,FR,0,0.431\n"
    "2026-02-10,2026-01,Apple Music,Björk,Jóga,GBAAA9700001,5016958000000,7,100,Song,GB,0,0.0525\n"
)
OTHER = (
    "Sales Period;Store Name;Track Title;ISRC Code;Units Sold;Net Revenue;Territory\n2026/01/31;Deezer;Jóga;GBAAA9700001;3;1,000.5;France\n"
)


def test_royalty_statements_of_two_distributors_are_read_by_one_preset(settings: Settings) -> None:
    files = {"a.csv": DISTROKID.encode(), "b.csv": OTHER.encode()}
    night = taken(settings, "royalty_statement", files, map={"currency": "'USD'"})
    assert accounted(night, 3) == {"statements": (3, 0, 0, 0)}
    columns = "period_ends_on, statement_id, service, isrc, country, stream_count, net_amount::VARCHAR AS amount"
    assert [tuple(row.values()) for row in night.rows("silver", "statements", columns, order="service")] == [
        (date(2026, 1, 31), "2026-02-10", "Apple Music", "GBAAA9700001", "GB", 7, "0.052500"),
        (date(2026, 1, 31), "2026/01/31", "Deezer", "GBAAA9700001", None, 3, "1000.500000"),
        (date(2026, 1, 31), "2026-02-10", "Spotify", "GBAAA9700001", "FR", 120, "0.431000"),
    ]


def test_a_damaged_statement_is_refused_line_by_line(settings: Settings) -> None:
    shuffled = (
        "Earnings (USD),ISRC,Sale Month\n0.5,GBAAA9700001,2026-01\nfree,GBAAA9700001,2026-01\n0.5,none,2026-01\n0.5,GBAAA9700001,13\n0.5\n"
    )
    night = taken(settings, "royalty_statement", {"a.csv": shuffled.encode()}, map={"currency": "'USD'"})
    assert accounted(night, 5) == {"statements": (1, 0, 4, 0)}
    assert sum("isrc" in " ".join(row["reasons"]) for row in night.rows("quarantine", "statements")) == 1


def test_a_statement_without_an_amount_is_refused_whole(settings: Settings) -> None:
    with pytest.raises(DeliveryError, match="lacks the column amount, which the mapping reads; it has .*isrc"):
        taken(settings, "royalty_statement", {"a.csv": b"Sale Month,ISRC\n2026-01,GBAAA9700001\n"}, map={"currency": "'USD'"})
