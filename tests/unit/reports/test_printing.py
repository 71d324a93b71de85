"""One template, two media: what stands in the page, and how it is arranged."""

from __future__ import annotations

import re
from dataclasses import replace

from nocturne.reports.chapters import compose
from nocturne.reports.chapters.data import QUALITY_PAGES
from nocturne.reports.document import Column, Document, Link, Notes, Page, Table
from nocturne.reports.printing import side_by_side, spark_points, write_html
from nocturne.reports.quality import FOLDER, INDEX
from nocturne.tenants import Tenant
from tests.unit.reports.rows import DAY, activity, made

NASTY = '<script>alert("x")</script> & {{ 7 * 7 }}'


def html(document: Document) -> str:
    drawings = {chart.name: f'<svg xmlns="http://www.w3.org/2000/svg" id="{chart.name}"/>'.encode() for chart in document.charts()}
    return write_html(document, drawings).decode()


def test_texts_from_outside_are_escaped_and_no_template() -> None:
    table = Table(NASTY, (Column(NASTY),), ((NASTY,),), NASTY)
    page = Page("nasty", NASTY, NASTY, (table, Notes(NASTY, (NASTY,))))
    text = html(Document(NASTY, "aurora", DAY, "Nightly report", NASTY, (NASTY,), (), (page,)))
    assert "<script>alert" not in text
    assert "49" not in re.sub(r"#[0-9A-F]{6}", "", text.split("</style>")[1])
    assert text.count("&lt;script&gt;") >= 9


def test_a_page_needs_nothing_beside_it(tenant: Tenant) -> None:
    text = html(compose(tenant, made(activity=activity())))
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", text)
    assert "url(" not in text.split("<body>")[0]
    assert 'id="plotly"' in text


def test_a_figure_cannot_end_the_script_that_it_stands_in(tenant: Tenant) -> None:
    document = compose(tenant, made(activity=activity()))
    listening = document.pages[0]
    chart = next(document.charts())
    evil = replace(chart, figure={**chart.figure, "name": "</script><script>alert(1)"})
    text = html(replace(document, pages=(replace(listening, blocks=(evil,)),)))
    assert "</script><script>alert(1)" not in text


def test_half_wide_charts_stand_side_by_side(tenant: Tenant) -> None:
    blocks = compose(tenant, made(activity=activity())).pages[0].blocks
    groups = side_by_side(blocks)
    assert [block for group in groups for block in group] == list(blocks)
    assert [[getattr(block, "name", "") for block in group] for group in groups if len(group) == 2] == [["engagement", "stickiness"]]


def test_a_sparkline_is_cut_where_a_value_is_missing() -> None:
    assert spark_points([1, 2, None, 3, 1]) == ["0.00,22.00 25.00,12.00", "75.00,2.00 100.00,22.00"]
    assert spark_points([None, 1]) == []
    assert spark_points([5, 5]) == ["0.00,22.00 100.00,22.00"]


def test_a_link_leads_from_the_reports_folder_to_the_quality_pages() -> None:
    assert f"../{FOLDER}/{INDEX}" == QUALITY_PAGES
    page = Page("data", "Data", "", (Link("Every check", QUALITY_PAGES),))
    text = html(Document("A label", "aurora", DAY, "Nightly report", "", (), (), (page,)))
    assert '<a href="../quality/index.html">Every check</a>' in text
