"""The workbook holds the rows themselves, typed."""

from __future__ import annotations

import io
import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import openpyxl
import pytest

from nocturne.reports.chapters import compose
from nocturne.reports.material import Material
from nocturne.reports.queries import QUERIES
from nocturne.reports.workbook import SHEETS, write_workbook
from nocturne.tenants import Tenant
from tests.unit.reports.rows import activity, bridge_days, deliveries, made

TRACK = {
    "place": 1, "title": "=cmd()|'x'!A1", "artist_name": None, "genre": "jazz", "released_on": date(2020, 2, 29), "track_id": "007",
    "streams_28d": 10, "streams_28d_before": 5, "streams_7d": 3, "streams_7d_before": 1, "plays_28d": 12, "skips_28d": None,
    "rising_place": 1,
}  # fmt: skip


@pytest.fixture
def material() -> Material:
    return made(activity=activity(), subscriptions=bridge_days(), tracks=[TRACK], reconciliation=deliveries())


def opened(tenant: Tenant, material: Material) -> Any:
    return openpyxl.load_workbook(io.BytesIO(write_workbook(tenant, material, compose(tenant, material))[0]))


def test_there_is_a_sheet_for_each_subject_that_has_rows(tenant: Tenant, material: Material) -> None:
    assert opened(tenant, material).sheetnames == ["Summary", "Activity", "Tracks", "MRR", "Reconciliation", "Definitions"]


def test_the_cells_are_the_rows(tenant: Tenant, material: Material) -> None:
    book = opened(tenant, material)
    for sheet in SHEETS:
        if not (rows := material.rows(sheet.subject)):
            continue
        read = list(book[sheet.name].iter_rows(values_only=True))
        assert list(read[0]) == [field.title for field in sheet.fields]
        assert len(read) == len(rows) + 1
        for cells, row in zip(read[1:], rows, strict=True):
            assert [_value(cell) for cell in cells] == [_value(row[field.column]) for field in sheet.fields]


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.date()
    return float(value) if isinstance(value, Decimal) else value


def test_cells_have_types_and_formats(tenant: Tenant, material: Material) -> None:
    book = opened(tenant, material)
    day, streams, skips = book["Activity"]["A2"], book["Activity"]["B2"], book["Activity"]["I2"]
    assert (day.is_date, day.number_format) == (True, "yyyy-mm-dd")
    assert (streams.data_type, streams.number_format) == ("n", "#,##0")
    assert skips.number_format == "0.0%"
    assert book["MRR"]["H2"].number_format == '#,##0.00 "EUR"'


def test_a_text_is_never_a_formula_nor_a_number_and_nothing_known_is_an_empty_cell(tenant: Tenant, material: Material) -> None:
    tracks = opened(tenant, material)["Tracks"]
    title, artist, track_id = tracks["B2"], tracks["C2"], tracks["L2"]
    assert (title.data_type, title.value) == ("s", TRACK["title"])
    assert (artist.value, tracks["K2"].value) == (None, None)
    assert (track_id.data_type, track_id.value) == ("s", "007")


def test_headers_stay_rows_can_be_filtered_and_subjects_have_native_charts(tenant: Tenant, material: Material) -> None:
    book = opened(tenant, material)
    for name in ("Activity", "Tracks", "MRR", "Reconciliation", "Definitions"):
        assert book[name].freeze_panes == "A2"
        assert book[name].auto_filter.ref.startswith("A1:")
    assert len(book["Activity"]._charts) == len(book["MRR"]._charts) == 1


def test_the_summary_says_who_when_and_against_what(tenant: Tenant, material: Material) -> None:
    rows = [row for row in opened(tenant, material)["Summary"].iter_rows(values_only=True) if any(row)]
    assert rows[0][0] == "Aurora Streaming"
    assert "1\u00a0March\u00a02026" in rows[1][0]
    assert "Europe/Paris" in rows[2][0]
    assert ("Streams, 7 days (provisional)", "7\u202f000", "+25.0\u202f%", "on the 7 days before") in rows


def test_the_same_rows_give_the_same_bytes(tenant: Tenant, material: Material) -> None:
    document = compose(tenant, material)
    first, cells = write_workbook(tenant, material, document)
    assert write_workbook(tenant, material, document) == (first, cells)
    assert cells > 28 * 12


def test_every_sheet_shows_a_subject_and_columns_that_are_read() -> None:
    queries = {query.subject: query.text for query in QUERIES}
    assert len({sheet.name for sheet in SHEETS}) == len(SHEETS)
    for sheet in SHEETS:
        assert len(sheet.name) <= 31
        assert [field.column for field in sheet.fields if not re.search(rf"\b{field.column}\b", queries[sheet.subject])] == []
