"""Pages become files for people: a PDF of real sheets (WeasyPrint) and one HTML page that needs nothing beside it.

Both come from one template. Nothing is fetched while a page is made: pictures are handed over in the page itself, fonts are the system's.
Texts from outside are escaped by the template.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from nocturne.errors import ToolMissing
from nocturne.reports import palette
from nocturne.reports.document import Block, Chart, Document

TEMPLATES: Final = Path(__file__).parent / "templates"


def print_pdf(document: Document, drawings: Mapping[str, bytes]) -> tuple[bytes, int]:
    """The report as a PDF, with the charts as vectors (`drawings`: SVG by chart's name), and how many sheets it has. The same
    document gives the same bytes.

    Raises ToolMissing if pango, which WeasyPrint sets text with, is not installed.
    """
    try:
        from weasyprint import HTML
        from weasyprint.urls import URLFetcher
    except OSError as error:
        raise ToolMissing(
            f"The PDF report needs pango, which cannot be loaded ({str(error).splitlines()[0]}).",
            next_step="Run `apt-get install libpango-1.0-0 libpangoft2-1.0-0`, then clear the task.",
        ) from error

    def picture(chart: Chart) -> Markup:
        encoded = base64.b64encode(drawings[chart.name]).decode()
        return Markup('<img alt="{}" src="data:image/svg+xml;base64,{}">').format(chart.description, encoded)

    text = _render(document, "print.css", picture, links=False)
    rendered = HTML(string=text, url_fetcher=URLFetcher(allowed_protocols={"data"})).render(pdf_tags=True)
    return bytes(rendered.write_pdf(pdf_tags=True, pdf_identifier=hashlib.sha256(text.encode()).digest()[:16])), len(rendered.pages)


def write_html(document: Document, drawings: Mapping[str, bytes]) -> bytes:
    """The report as one HTML page: the charts stand in it as vectors, and become interactive where scripts may run."""

    def picture(chart: Chart) -> Markup:
        return Markup('<div role="img" aria-label="{}">{}</div>').format(chart.description, _ours(drawings[chart.name].decode()))

    charts = list(document.charts())
    return _render(document, "screen.css", picture, _script(charts) if charts else "", links=True).encode()


def page(template: str, **told: object) -> str:
    """A page of another template, which has the same colours and filters."""
    return _environment().get_template(template).render(**told)


def _render(document: Document, style: str, picture: Callable[[Chart], Markup], ending: Markup | str = "", *, links: bool) -> str:
    environment = _environment()
    css = "\n".join(environment.get_template(name).render() for name in ("shared.css", style))
    told = {"document": document, "style": _ours(css), "picture": picture, "ending": ending, "links": links}
    return environment.get_template("nightly.html.j2").render(**told)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"spark_points": spark_points, "side_by_side": side_by_side}
    environment.globals["palette"] = palette
    return environment


def side_by_side(blocks: Sequence[Block]) -> list[tuple[Block, ...]]:
    """The blocks in groups of one; two half-wide charts that follow each other are a group of two."""
    groups: list[tuple[Block, ...]] = []
    for block in blocks:
        if groups and len(groups[-1]) == 1 and _is_half(block) and _is_half(groups[-1][0]):
            groups[-1] = (*groups[-1], block)
        else:
            groups.append((block,))
    return groups


def _is_half(block: Block) -> bool:
    return isinstance(block, Chart) and block.is_half


def spark_points(values: Sequence[float | None]) -> list[str]:
    """The course of values as points of polylines in a field of 100 x 24; a missing value cuts the line."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return []
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    parts: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            parts.append([])
        else:
            parts[-1].append(f"{place * 100 / (len(values) - 1):.2f},{22 - (value - low) / span * 20:.2f}")
    return [" ".join(part) for part in parts if len(part) > 1]


def _ours(text: str) -> Markup:
    """Text that stands in the page as it is: our own files, and drawings and JSON in which texts from outside are escaped already."""
    return Markup(text)  # noqa: S704


def _script(charts: Sequence[Chart]) -> Markup:
    """plotly.js (packed: it is a third of its size) and the figures; a browser that does not run it shows the drawings."""
    import plotly

    source = (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_bytes()
    packed = base64.b64encode(gzip.compress(source, mtime=0)).decode()
    figures = {chart.name: dict(chart.figure) for chart in charts}
    text = json.dumps(figures, ensure_ascii=True, sort_keys=True).replace("<", "\\u003c")
    program = (TEMPLATES / "interactive.js").read_text()
    return Markup(
        '<script type="application/json" id="figures">{}</script>\n<script type="text/plain" id="plotly">{}</script>\n<script>{}</script>'
    ).format(_ours(text), _ours(packed), _ours(program))
