"""The report's numbers as an Excel workbook: a sheet for each subject, typed cells, native charts, and what each number means.

Cells hold the marts' own values (never texts of numbers); formats only dress them. Texts from outside are written as texts, so that one
that begins with `=` is no formula. The same material gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Final, Literal

import xlsxwriter

from nocturne.reports import formats, palette
from nocturne.reports.definitions import definitions
from nocturne.reports.document import Document, KeyFigures
from nocturne.reports.material import Material, Rows
from nocturne.tenants import Tenant

Kind = Literal["text", "date", "month", "count", "number", "ratio", "money", "flag", "milliseconds"]
_WIDTHS: Final[Mapping[Kind, int]] = {
    "text": 24, "date": 12, "month": 12, "count": 13, "number": 12, "ratio": 12, "money": 15, "flag": 9, "milliseconds": 18
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One column of a sheet: the row's column that it shows, its heading, and what kind of value it holds."""

    column: str
    title: str
    kind: Kind = "count"


@dataclass(frozen=True)
class Picture:
    """A native chart beside the rows: its kind, the column of its axis and those of its series."""

    kind: Literal["line", "column", "bar"]
    title: str
    axis: str
    series: tuple[str, ...]
    first: int | None = None  # only the first rows: a ranking


@dataclass(frozen=True)
class Sheet:
    """One subject as a sheet. `scale` names the columns whose cells are shaded by their value."""

    name: str
    subject: str
    fields: tuple[Field, ...]
    picture: Picture | None = None
    scale: tuple[str, ...] = ()


_STREAMS: Final = (Field("streams_28d", "Streams 28 days"), Field("streams_28d_before", "28 days before"))
_COMPARED: Final = ("streams_28d", "streams_28d_before")
SHEETS: Final = (
    Sheet(
        "Activity",
        "activity",
        (
            Field("played_on", "Day", "date"), Field("stream_count", "Streams"), Field("play_count", "Plays"),
            Field("listeners_1d", "Listeners 1 day"), Field("listeners_7d", "Listeners 7 days"),
            Field("listeners_28d", "Listeners 28 days"), Field("new_listener_count", "New listeners"),
            Field("stickiness_ratio", "Stickiness", "ratio"), Field("skip_ratio", "Skip rate", "ratio"),
            Field("completion_ratio", "Completion rate", "ratio"), Field("play_time_ms", "Play time (ms)", "milliseconds"),
            Field("is_final", "Final", "flag"),
        ),
        Picture("line", "Streams a day", "played_on", ("stream_count",)),
    ),
    Sheet(
        "Forecast",
        "forecasts",
        (
            Field("metric", "Metric", "text"), Field("target_on", "Day", "date"), Field("value", "Forecast", "number"),
            Field("low", "Low", "number"), Field("high", "High", "number"), Field("forecast_on", "Made on", "date"),
            Field("model_version", "Model version", "text"),
        ),
    ),
    Sheet(
        "Tracks",
        "tracks",
        (
            Field("place", "Place"), Field("title", "Track", "text"), Field("artist_name", "Artist", "text"),
            Field("genre", "Genre", "text"), Field("released_on", "Released", "date"), *_STREAMS,
            Field("streams_7d", "Streams 7 days"), Field("streams_7d_before", "7 days before"), Field("plays_28d", "Plays 28 days"),
            Field("skips_28d", "Skips 28 days"), Field("track_id", "Track id", "text"),
        ),
        Picture("bar", "Top 15 tracks by streams, 28 days", "title", ("streams_28d",), first=15),
    ),
    Sheet(
        "Artists",
        "artists",
        (Field("artist_name", "Artist", "text"), *_STREAMS, Field("artist_id", "Artist id", "text")),
        Picture("bar", "Top 15 artists by streams, 28 days", "artist_name", _COMPARED, first=15),
    ),
    Sheet("Genres", "genres", (Field("genre", "Genre", "text"), *_STREAMS), Picture("column", "Streams by genre", "genre", _COMPARED)),
    Sheet(
        "Territories",
        "countries",
        (Field("country", "Territory", "text"), *_STREAMS),
        Picture("bar", "Top 15 territories by streams, 28 days", "country", _COMPARED, first=15),
    ),
    Sheet(
        "Retention",
        "retention",
        (
            Field("cohort_on", "Cohort (first week)", "date"), Field("week", "Week"), Field("listener_count", "Listeners"),
            Field("retained_count", "Retained"), Field("retention_ratio", "Retention", "ratio"),
        ),
        scale=("retention_ratio",),
    ),
    Sheet(
        "MRR",
        "subscriptions",
        (
            Field("day", "Day", "date"), Field("opening_amount", "Opening", "money"), Field("new_amount", "New", "money"),
            Field("expansion_amount", "Expansion", "money"), Field("contraction_amount", "Contraction", "money"),
            Field("churn_amount", "Churn", "money"), Field("reactivation_amount", "Reactivation", "money"),
            Field("closing_amount", "Closing", "money"), Field("payer_count", "Paying listeners"), Field("arppu_amount", "ARPPU", "money"),
        ),
        Picture("line", "MRR at the end of the day", "day", ("closing_amount",)),
    ),
    Sheet(
        "Churn risk",
        "churn",
        (
            Field("tenth", "Tenth of probability"), Field("listener_count", "Payers due to renew"),
            Field("expected_count", "Expected to leave", "number"), Field("horizon_days", "Horizon (days)"),
            Field("predicted_on", "Predicted on", "date"), Field("model_version", "Model version", "text"),
        ),
        Picture("column", "Payers due to renew, by risk", "tenth", ("listener_count",)),
    ),
    Sheet(
        "Revenue",
        "revenue",
        (
            Field("day", "Day", "date"), Field("stream_of_revenue", "From", "text"), Field("gross_amount", "Gross", "money"),
            Field("net_amount", "Net", "money"),
        ),
    ),
    Sheet(
        "Revenue by territory",
        "revenue_countries",
        (
            Field("country", "Territory", "text"), Field("net_amount", "Net 28 days", "money"),
            Field("net_amount_before", "28 days before", "money"),
        ),
        Picture("bar", "Net revenue, 28 days", "country", ("net_amount",), first=15),
    ),
    Sheet(
        "Royalties",
        "statements",
        (
            Field("month", "Month", "month"), Field("service", "Service", "text"), Field("stream_count", "Streams reported"),
            Field("net_amount", "Net amount", "money"),
        ),
    ),
    Sheet(
        "Royalties by track",
        "statement_tracks",
        (
            Field("month", "Month", "month"), Field("title", "Track", "text"), Field("artist_name", "Artist", "text"),
            Field("stream_count", "Streams reported"), Field("net_amount", "Net amount", "money"), Field("track_id", "Track id", "text"),
        ),
        Picture("bar", "Top 15 tracks by net amount", "title", ("net_amount",), first=15),
    ),
    Sheet(
        "Rights holders",
        "holders",
        (
            Field("holder_name", "Holder", "text"), Field("holder_id", "Holder id", "text"),
            Field("stream_count", "Streams by share, 28 days", "number"), Field("part_ratio", "Part of the streams seen", "ratio"),
            Field("is_market_share", "Is a market share", "flag"),
        ),
    ),
    Sheet(
        "What changed",
        "insights",
        (
            Field("rank", "Rank"), Field("severity", "Severity", "text"), Field("metric", "Metric", "text"),
            Field("dimension", "Dimension", "text"), Field("member_name", "Member", "text"), Field("value", "Value", "number"),
            Field("expected", "Expected", "number"), Field("change_ratio", "Change", "ratio"), Field("text", "What changed", "text"),
        ),
    ),
    Sheet(
        "Reconciliation",
        "reconciliation",
        (
            Field("dataset", "Dataset", "text"), Field("received_on", "Received", "date"), Field("delivered_count", "Landed"),
            Field("left_out_count", "Left out"), Field("valid_count", "Kept"), Field("quarantined_count", "Quarantined"),
            Field("held_batch_count", "Deliveries held by the gate"), Field("difference_count", "Difference"),
        ),
    ),
    Sheet(
        "Lake to marts",
        "layers",
        (
            Field("dataset", "Dataset", "text"), Field("silver_count", "Lake"), Field("duplicate_count", "Duplicates"),
            Field("warehouse_count", "Warehouse"), Field("mart_count", "Marts"), Field("joined_count", "Joined resumes"),
            Field("zero_length_count", "Never sounded"), Field("difference_count", "Difference"),
        ),
    ),
)  # fmt: skip
"""The sheets of subjects, in their order; one whose subject has no rows is left out."""


def write_workbook(tenant: Tenant, material: Material, document: Document) -> tuple[bytes, int]:
    """The workbook's bytes, and how many cells it holds."""
    target = io.BytesIO()
    book = xlsxwriter.Workbook(
        target, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    )
    book.set_properties(
        {
            "title": f"{document.title} {document.day}", "author": "Nocturne", "company": tenant.name,
            "created": datetime.combine(material.day, time()),
        }
    )  # fmt: skip
    styles = _styles(book, tenant.currency)
    cells = _summary(book, styles, tenant, material, document)
    for sheet in SHEETS:
        if rows := material.rows(sheet.subject):
            cells += _subject(book, styles, sheet, rows)
    cells += _definitions(book, styles, tenant, material)
    book.close()
    return target.getvalue(), cells


def _styles(book: Any, currency: str) -> dict[str, Any]:
    font = {"font_name": "Arial", "font_size": 10, "valign": "top"}
    money = "#,##0" + ("." + "0" * formats.decimals(currency) if formats.decimals(currency) else "")
    numbers = {
        "date": "yyyy-mm-dd", "month": "yyyy-mm", "count": "#,##0", "number": "#,##0.0", "ratio": "0.0%", "money": f'{money} "{currency}"',
        "milliseconds": "#,##0", "text": "@", "flag": "General",
    }  # fmt: skip
    styles = {kind: book.add_format(font | {"num_format": pattern}) for kind, pattern in numbers.items()}
    styles["header"] = book.add_format(
        font | {"bold": True, "font_color": palette.PAPER, "bg_color": palette.INDIGO, "text_wrap": True, "bottom": 1, "valign": "vcenter"}
    )
    styles["title"] = book.add_format({"font_name": "Arial", "font_size": 16, "bold": True, "font_color": palette.INDIGO})
    styles["quiet"] = book.add_format(font | {"font_color": palette.GREY})
    styles["warning"] = book.add_format(font | {"bold": True, "font_color": palette.BAD})
    styles["wrapped"] = book.add_format(font | {"text_wrap": True})
    return styles


def _summary(book: Any, styles: Mapping[str, Any], tenant: Tenant, material: Material, document: Document) -> int:
    page = book.add_worksheet("Summary")
    page.hide_gridlines(2)
    page.set_column(0, 0, 30)
    page.set_column(1, 3, 22)
    page.set_tab_color(palette.INDIGO)
    page.write_string(0, 0, tenant.name, styles["title"])
    page.write_string(1, 0, f"{document.title}, {document.subtitle}", styles["quiet"])
    page.write_string(2, 0, f"Days are calendar days in {material.time_zone}; amounts in {tenant.currency}.", styles["quiet"])
    for place, stamp in enumerate(document.stamps):
        page.write_string(3 + place, 0, stamp, styles["warning"])
    top = 4 + len(document.stamps)
    for place, title in enumerate(("Key figure", "Value", "Change", "Against")):
        page.write_string(top, place, title, styles["header"])
    figures = [figure for block in document.cover if isinstance(block, KeyFigures) for figure in block.figures]
    for place, figure in enumerate(figures, top + 1):
        label = figure.label + (" (provisional)" if figure.is_provisional else "")
        for column, text in enumerate((label, figure.value, figure.change, figure.against)):
            page.write_string(place, column, text, styles["text"])
    return 3 + len(document.stamps) + 4 * (1 + len(figures))


def _subject(book: Any, styles: Mapping[str, Any], sheet: Sheet, rows: Rows) -> int:
    page = book.add_worksheet(sheet.name)
    page.freeze_panes(1, 0)
    page.set_row(0, 30)
    for place, field in enumerate(sheet.fields):
        page.set_column(place, place, _width(field, rows))
        page.write_string(0, place, field.title, styles["header"])
    writers = [(place, field.column, _writer(page, field.kind), styles[field.kind]) for place, field in enumerate(sheet.fields)]
    for line, row in enumerate(rows, 1):
        for place, column, write, style in writers:
            write(line, place, row[column], style)
    page.autofilter(0, 0, len(rows), len(sheet.fields) - 1)
    for column in sheet.scale:
        place = _place(sheet, column)
        page.conditional_format(
            1, place, len(rows), place, {"type": "2_color_scale", "min_color": palette.SCALE[0][1], "max_color": palette.SCALE[2][1]}
        )
    if sheet.picture:
        _draw(book, page, sheet, sheet.picture, len(rows))
    return (len(rows) + 1) * len(sheet.fields)


def _width(field: Field, rows: Rows) -> int:
    if field.kind != "text":
        return _WIDTHS[field.kind]
    longest = max((len(str(row[field.column] or "")) for row in rows), default=0)
    return min(60, max(len(field.title) + 4, longest + 2))


def _writer(page: Any, kind: Kind) -> Callable[[int, int, Any, Any], Any]:
    """The function that writes a value of this kind; None stays an empty cell, never 0."""

    def write(line: int, place: int, value: Any, style: Any) -> None:
        if value is None:
            page.write_blank(line, place, None, style)
        elif kind == "text":
            page.write_string(line, place, str(value), style)
        elif kind == "flag":
            page.write_boolean(line, place, bool(value), style)
        elif isinstance(value, date):
            page.write_datetime(line, place, value, style)
        else:
            page.write_number(line, place, float(value), style)

    return write


def _draw(book: Any, page: Any, sheet: Sheet, picture: Picture, rows: int) -> None:
    last = min(rows, picture.first or rows)
    axis = _place(sheet, picture.axis)
    chart = book.add_chart({"type": picture.kind})
    for color, column in zip(palette.SERIES, picture.series, strict=False):
        place = _place(sheet, column)
        look: dict[str, Any] = {"line": {"color": color, "width": 2}} if picture.kind == "line" else {"fill": {"color": color}, "gap": 60}
        cells = {
            "name": [sheet.name, 0, place],
            "categories": [sheet.name, 1, axis, last, axis],
            "values": [sheet.name, 1, place, last, place],
        }
        chart.add_series(cells | look)
    by_day: dict[str, Any] = {"date_axis": True, "num_format": "d mmm"} if sheet.fields[axis].kind == "date" else {}
    first_on_top: dict[str, Any] = {"reverse": True} if picture.kind == "bar" else {}
    grid: dict[str, Any] = {"visible": True, "line": {"color": palette.LINE}}
    chart.set_x_axis({"num_font": {"size": 9}} | by_day | first_on_top)
    chart.set_y_axis({"num_font": {"size": 9}, "major_gridlines": grid})
    chart.set_title({"name": picture.title, "name_font": {"size": 12}, "overlay": False})
    chart.set_legend({"position": "none" if len(picture.series) == 1 else "bottom"})
    chart.set_size({"width": 640, "height": 420 if picture.kind == "bar" else 320})
    page.insert_chart(1, len(sheet.fields) + 1, chart, {"description": picture.title})


def _definitions(book: Any, styles: Mapping[str, Any], tenant: Tenant, material: Material) -> int:
    found = definitions(tenant, material.day, [subject for subject in material.subjects if material.has(subject)])
    page = book.add_worksheet("Definitions")
    page.freeze_panes(1, 0)
    for place, (title, width) in enumerate((("Term", 24), ("What it is", 80), ("How it is computed", 60))):
        page.set_column(place, place, width)
        page.write_string(0, place, title, styles["header"])
    for line, each in enumerate(found, 1):
        for place, text in enumerate((each.term, each.meaning, each.formula)):
            page.write_string(line, place, text, styles["wrapped"])
    page.autofilter(0, 0, len(found), 2)
    return 3 * (len(found) + 1)


def _place(sheet: Sheet, column: str) -> int:
    return next(place for place, field in enumerate(sheet.fields) if field.column == column)
