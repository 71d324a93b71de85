"""Content: the tracks, artists, genres and territories of 28 days beside the 28 days before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nocturne.reports import charts, formats, palette
from nocturne.reports.charts import Bar
from nocturne.reports.document import Block, Chart, Column, Page, Table
from nocturne.reports.material import Material, Row, Rows
from nocturne.reports.windows import total
from nocturne.tenants import Tenant

TOP: Final = 10
RISING: Final = 5


def content(_tenant: Tenant, material: Material) -> Page | None:
    """The page of what is listened to; none without tracks, artists, genres and territories."""
    blocks: list[Block] = []
    if tracks := material.rows("tracks"):
        blocks.append(_top_tracks(tracks))
    if rising := [row for row in tracks if row["rising_place"] <= RISING and row["streams_7d"] > row["streams_7d_before"]]:
        blocks.append(_rising(sorted(rising, key=lambda row: int(row["rising_place"]))))
    if artists := material.rows("artists")[:TOP]:
        names = [str(row["artist_name"] or row["artist_id"]) for row in artists]
        blocks.append(_compared("artists", "Top artists by streams, 28 days", names, artists))
    if genres := material.rows("genres"):
        blocks.append(_genres(genres))
    if countries := material.rows("countries")[:TOP]:
        names = [str(row["country"] or "not known") for row in countries]
        blocks.append(_compared("countries", "Territories by streams, 28 days", names, countries, is_half=True))
    if not blocks:
        return None
    lead = "The last 28 days; changes are on the 28 days before them, and “new” had no streams then."
    return Page("content", "Content and artists", lead, tuple(blocks))


def _compared(name: str, title: str, labels: Sequence[str], rows: Sequence[Row], *, is_half: bool = False) -> Chart:
    bars = [
        Bar(
            label,
            float(row["streams_28d"]),
            f"{formats.short(row['streams_28d'])} ({formats.change(row['streams_28d'], row['streams_28d_before'])})",
        )
        for label, row in zip(labels, rows, strict=True)
    ]
    description = f"{title}: " + "; ".join(f"{bar.label} {bar.text}" for bar in bars) + "."
    return charts.ranking(name, title, description, bars, is_half=is_half)


def _genres(rows: Rows) -> Chart:
    now, before = total(rows, "streams_28d"), total(rows, "streams_28d_before")
    bars = []
    for row in rows[:TOP]:
        share = row["streams_28d"] / now
        moved = f" ({formats.points(share, row['streams_28d_before'] / before)})" if before else ""
        bars.append(Bar(str(row["genre"] or "not known"), float(row["streams_28d"]), f"{formats.percent(share)}{moved}"))
    description = "Genres by their share of streams: " + "; ".join(f"{bar.label} {bar.text}" for bar in bars) + "."
    return charts.ranking("genres", "Genres by share of streams, 28 days", description, bars, is_half=True, color=palette.TEAL)


def _top_tracks(rows: Rows) -> Table:
    has_skips = all(row["skips_28d"] is not None for row in rows)
    columns = (
        Column("", True, 4),
        Column("Track", width=29),
        Column("Artist", width=22),
        *(Column(title, True) for title in ("Streams", "Change", "7 days", *(["Skipped"] if has_skips else []))),
    )
    shown = [
        (
            str(row["place"]),
            formats.shortened(str(row["title"] or row["track_id"]), 64),
            formats.shortened(str(row["artist_name"] or formats.UNKNOWN), 48),
            formats.count(row["streams_28d"]),
            formats.change(row["streams_28d"], row["streams_28d_before"]),
            formats.count(row["streams_7d"]),
            *([formats.percent(row["skips_28d"] / row["plays_28d"])] if has_skips else []),
        )
        for row in rows
        if row["place"] <= TOP
    ]
    return Table("Top tracks, 28 days", columns, tuple(shown))


def _rising(rows: Sequence[Row]) -> Table:
    columns = (
        Column("Track", width=33),
        Column("Artist", width=22),
        *(Column(title, True) for title in ("7 days", "Before", "Gained", "Change")),
    )
    shown = [
        (
            formats.shortened(str(row["title"] or row["track_id"]), 64),
            formats.shortened(str(row["artist_name"] or formats.UNKNOWN), 48),
            formats.count(row["streams_7d"]),
            formats.count(row["streams_7d_before"]),
            formats.difference(row["streams_7d"], row["streams_7d_before"]),
            formats.change(row["streams_7d"], row["streams_7d_before"]),
        )
        for row in rows
    ]
    return Table("Rising: most streams gained in 7 days", columns, tuple(shown))
