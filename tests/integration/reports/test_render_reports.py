"""A night's report of real marts: every file, what it says, and when it is rendered again."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import openpyxl
import psycopg
import pypdf
import pytest

from benchmarks.report_marts import PublishedMarts, put
from nocturne.ledger import Ledger, MemoryMarks, Recorded
from nocturne.postgres import SQL, Identifier, connect, fetch
from nocturne.reports import render_reports
from nocturne.reports.drawing import draw
from nocturne.reports.material import Book
from nocturne.settings import Settings
from nocturne.tenants import Tenant
from tests.integration.reports.conftest import DAY, Rendered


class Unwritten(MemoryMarks):
    """A ledger in memory in which no station has left a receipt."""

    def receipts(self, *_: Any, **__: Any) -> dict[str, Recorded]:
        """None."""
        return {}


def texts(rendered: Rendered) -> list[str]:
    """The text of each sheet of the PDF, with ordinary spaces."""
    return _texts(rendered.folder / "nightly.pdf")


@cache
def _texts(path: Path) -> list[str]:
    sheets = pypdf.PdfReader(path).pages
    return [re.sub(r"[\s\u00a0\u202f]+", " ", sheet.extract_text()) for sheet in sheets]


# the files ---------------------------------------------------------------------------------------------------------------
def test_the_highest_tier_gets_every_format(service: Rendered) -> None:
    names = sorted(path.name for path in service.folder.iterdir())
    pictures = {name.removesuffix(".svg") for name in names if name.endswith(".svg")}
    assert len(pictures) > 15
    assert names == sorted(
        ["nightly.html", "nightly.pdf", "nightly.xlsx", *(f"{name}.{kind}" for name in pictures for kind in ("svg", "png"))]
    )
    assert [entry.name for entry in service.receipt.entries] == [*names, "printed plays", "printed streams", "printed net revenue"]
    assert service.receipt.warnings == ()


def test_the_receipt_keeps_what_is_printed_in_several_places(service: Rendered) -> None:
    streams = service.receipt.entry("printed streams")
    assert streams is not None
    assert set(streams.facts) == {"by day", "by hour", "by country", "by genre"}
    assert len(set(streams.facts.values())) == 1
    assert any("to the row and the cent: plays in marts = by day; streams" in text for text in texts(service))


def test_a_low_tier_gets_its_own_formats_only(reports: Settings, publish: Callable[..., tuple[Tenant, PublishedMarts]]) -> None:
    tenant, _ = publish("reports_free", ("activity_days", "mrr_days"), tier="free")
    render_reports(tenant, DAY, reports, Unwritten())
    kinds = {path.suffix for path in (reports.reports_root / tenant.slug / DAY.isoformat()).iterdir()}
    assert kinds == {".pdf", ".png"}


def test_pictures_are_twice_as_fine_and_drawings_are_whole(service: Rendered) -> None:
    for drawing in service.folder.glob("*.svg"):
        root = ElementTree.fromstring(drawing.read_bytes())
        width, height = int(root.attrib["width"]), int(root.attrib["height"])
        header = drawing.with_suffix(".png").read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", header[16:24]) == (2 * width, 2 * height)
        ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        fixed = re.sub("[^a-z0-9]", "", drawing.stem)
        assert ids
        assert all(fixed in each for each in ids), "an id that is random, or that another drawing of the page has too"


# the PDF -----------------------------------------------------------------------------------------------------------------
def test_the_pdf_of_a_service_has_its_chapters_in_order(service: Rendered) -> None:
    sheets = texts(service)
    titles = (
        "Listening", "Content and artists", "Audience and retention", "Subscriptions", "Revenue", "Models’ health",
        "Data quality and reconciliation", "What the numbers mean",
    )  # fmt: skip
    starts = [next(place for place, text in enumerate(sheets) if place and text.startswith(title)) for title in titles]
    assert starts == sorted(starts)
    assert not any(text.startswith("Royalties") for text in sheets)
    assert service.receipt.entry("nightly.pdf").counts["pages"] == len(sheets)  # type: ignore[union-attr]


def test_every_sheet_says_whose_it_is_of_which_day_and_its_number(service: Rendered) -> None:
    sheets = texts(service)
    assert "Aurora Streaming Nightly report · Sunday, 1 March 2026" in sheets[0]
    for number, text in enumerate(sheets[1:], 2):
        assert "Aurora Streaming · Nightly report · 2026-03-01" in text
        assert f"{number} / {len(sheets)}" in text


def test_no_sheet_is_empty(service: Rendered, label: Rendered) -> None:
    assert min(len(text) for text in (*texts(service), *texts(label))) > 200


def test_the_pdf_says_the_marts_own_numbers(service: Rendered) -> None:
    text = " ".join(texts(service))
    days = service.marts.rows["activity_days"]
    week, before = (sum(row[2] for row in days[first:last]) for first, last in ((-7, None), (-14, -7)))
    assert f"{week / 1_000:.1f} k" in text
    assert f"{100 * (week / before - 1):+.1f} %".replace("-", "−") in text
    assert f"{days[-1][2]:,} streams by {days[-1][3]:,} listeners".replace(",", " ") in text
    assert f"{service.marts.rows['mrr_days'][-1][7]:,.2f}".replace(",", " ") in text
    assert "Europe/Paris" in text
    assert "provisional" in text


def test_the_pdf_says_what_changed_what_was_refused_and_what_the_night_said(service: Rendered) -> None:
    text = " ".join(texts(service))
    for row in service.marts.rows["ml.insights"]:
        assert re.sub(r"\s+", " ", row[-1]) in text
    assert "listener_id is missing" in text
    assert "plays came an hour late" in text
    assert "train again (0.31, most in streams_28d)" in text
    assert "rows landed in 28 days add up" in text


def test_a_label_has_royalties_and_no_word_of_what_it_lacks(label: Rendered) -> None:
    text = " ".join(texts(label))
    assert "Royalties and rights" in text
    assert "Tracks that earned most, February 2026" in text
    assert "A market share cannot be said" in text
    for absent in ("MRR", "ARPPU", "Churn", "Net revenue"):
        assert absent not in text
    assert {path.suffix for path in label.folder.iterdir()} == {".pdf", ".png", ".svg", ".xlsx"}


def test_no_person_is_in_any_file(service: Rendered) -> None:
    keys = [row[0] for row in service.marts.rows["listener_facts"]]
    text = " ".join(texts(service)) + (service.folder / "nightly.html").read_text()
    book = openpyxl.load_workbook(service.folder / "nightly.xlsx", read_only=True)
    text += " ".join(str(cell) for sheet in book for row in sheet.iter_rows(values_only=True) for cell in row)
    assert not [key for key in keys if key in text]


# the workbook ------------------------------------------------------------------------------------------------------------
def test_the_workbooks_cells_are_the_marts_rows(service: Rendered) -> None:
    book = openpyxl.load_workbook(service.folder / "nightly.xlsx")
    activity = [list(row) for row in book["Activity"].iter_rows(min_row=2, values_only=True)]
    assert [row[0].date() for row in activity] == [row[0] for row in service.marts.rows["activity_days"]]
    assert [row[1] for row in activity] == [row[2] for row in service.marts.rows["activity_days"]]
    assert [row[8] for row in activity] == pytest.approx([row[7] for row in service.marts.rows["activity_days"]])
    closing = [row[7] for row in book["MRR"].iter_rows(min_row=2, values_only=True)]
    assert closing == pytest.approx([float(row[7]) for row in service.marts.rows["mrr_days"]])


def test_sums_in_the_workbook_are_those_of_plain_sql(service: Rendered, label: Rendered) -> None:
    tracks = fetch(
        service.settings,
        f"SELECT track_id, sum(stream_count) AS streams FROM {service.tenant.marts_schema}.track_days WHERE played_on > '2026-02-01'"
        " GROUP BY 1 ORDER BY 2 DESC, 1",
        role=service.tenant.owner_role,
    )
    book = openpyxl.load_workbook(service.folder / "nightly.xlsx")
    assert [(row[11], row[5]) for row in book["Tracks"].iter_rows(min_row=2, values_only=True)] == [
        (row["track_id"], row["streams"]) for row in tracks
    ]
    lines = label.marts.rows["statement_months"]
    read = openpyxl.load_workbook(label.folder / "nightly.xlsx")["Royalties"].iter_rows(min_row=2, values_only=True)
    assert sum(Decimal(str(row[3])) for row in read) == pytest.approx(sum(line[4] for line in lines))


# again and again ---------------------------------------------------------------------------------------------------------
def test_a_second_render_does_nothing(service: Rendered) -> None:
    before = {path: path.stat().st_mtime_ns for path in service.folder.iterdir()}
    again = render_reports(service.tenant, DAY, service.settings, Ledger(service.settings))
    assert all(entry.skipped for entry in again.entries)
    assert [entry.counts for entry in again.entries] == [entry.counts for entry in service.receipt.entries]
    assert {path: path.stat().st_mtime_ns for path in service.folder.iterdir()} == before


def test_the_same_input_gives_the_same_bytes_and_a_changed_row_other_ones(
    reports: Settings, publish: Callable[..., tuple[Tenant, PublishedMarts]]
) -> None:
    tenant, marts = publish("reports_again", ("activity_days", "plays", "ml.stream_forecasts", "ml.insights"))
    folder = reports.reports_root / tenant.slug / DAY.isoformat()
    contents = []
    for change in (None, None, 77_777):
        if change:
            *days, last = marts.rows["activity_days"]
            with connect(reports, role=tenant.owner_role) as connection:
                put(connection, tenant, "activity_days", [*days, (*last[:2], change, *last[3:])])
        render_reports(tenant, DAY, reports, Unwritten())
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    first, second, third = contents
    assert first == second
    assert {name for name in first if first[name] != third[name]} >= {
        "nightly.pdf",
        "nightly.html",
        "nightly.xlsx",
        "streams.svg",
        "streams.png",
    }
    assert first["hours.svg"] == third["hours.svg"]


def test_a_damaged_file_is_rendered_again(reports: Settings, publish: Callable[..., tuple[Tenant, PublishedMarts]]) -> None:
    tenant, _ = publish("reports_damaged", ("ml.insights",))
    ledger: Book = Unwritten()
    render_reports(tenant, DAY, reports, ledger)
    workbook = reports.reports_root / tenant.slug / DAY.isoformat() / "nightly.xlsx"
    whole = workbook.read_bytes()
    workbook.write_bytes(whole[:-100])
    assert not any(entry.skipped for entry in render_reports(tenant, DAY, reports, ledger).entries)
    assert workbook.read_bytes() == whole


# what may be missing -----------------------------------------------------------------------------------------------------
def test_a_mart_without_a_column_costs_its_pages_and_is_named(
    reports: Settings, publish: Callable[..., tuple[Tenant, PublishedMarts]]
) -> None:
    tenant, _ = publish("reports_older", ("ml.insights", "revenue_days"))
    with connect(reports, role=tenant.owner_role) as connection:
        connection.execute(SQL("ALTER TABLE {} DROP COLUMN net_amount").format(Identifier(tenant.marts_schema, "revenue_days")))
    receipt = render_reports(tenant, DAY, reports, Unwritten())
    assert receipt.warnings == tuple(
        f"{subject} is left out of the report: revenue_days has no net_amount" for subject in ("revenue", "revenue_countries")
    )


def test_marts_of_an_older_day_are_stamped_on_every_sheet(reports: Settings, publish: Callable[..., tuple[Tenant, PublishedMarts]]) -> None:
    tenant, marts = publish("reports_stale", ("ml.insights",))
    with connect(reports, role=tenant.owner_role) as connection:
        put(connection, tenant, "activity_days", [row for row in marts.rows["activity_days"] if row[0] < DAY][-3:])
    receipt = render_reports(tenant, DAY, reports, Unwritten())
    rendered = Rendered(tenant, marts, reports.reports_root / tenant.slug / DAY.isoformat(), receipt, reports)
    assert all("Not updated since 28 Feb 2026" in text for text in texts(rendered))


# tenants apart -----------------------------------------------------------------------------------------------------------
def test_a_report_is_read_as_its_tenant_and_cannot_reach_another(service: Rendered, label: Rendered) -> None:
    with connect(service.settings) as connection:
        others = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s)", (list(label.tenant.schemas),)
        ).fetchall()
    assert len(others) > 10
    for schema, table in others:
        with connect(service.settings, role=service.tenant.owner_role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(SQL("SELECT * FROM {} LIMIT 1").format(Identifier(schema, table)))


def test_asking_for_anothers_schema_gives_no_report(service: Rendered, label: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tenant, "marts_schema", label.tenant.marts_schema)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        render_reports(service.tenant, DAY, service.settings, Unwritten())


# kaleido -----------------------------------------------------------------------------------------------------------------
def test_pictures_are_those_that_kaleido_itself_would_make(service: Rendered) -> None:
    import asyncio

    import kaleido

    from nocturne.reports.chapters import compose
    from nocturne.reports.drawing import _same_ids
    from nocturne.reports.material import read

    document = compose(service.tenant, read(service.tenant, DAY, service.settings, Ledger(service.settings)))
    charts = [chart for chart in document.charts() if chart.name in {"streams", "hours", "mrr_bridge"}]

    async def theirs() -> dict[tuple[str, str], bytes]:
        async with kaleido.Kaleido(n=1, mathjax=False) as browser:
            made = {}
            for chart in charts:
                for kind in ("svg", "png"):
                    size = {"format": kind, "width": chart.width, "height": chart.height, "scale": 2 if kind == "png" else 1}
                    made[chart.name, kind] = await browser.calc_fig(dict(chart.figure), opts=size)
            return made

    made = asyncio.run(theirs())
    ours = draw(charts, png=True)
    assert ours == {key: _same_ids(key[0], picture.decode()) if key[1] == "svg" else picture for key, picture in made.items()}
