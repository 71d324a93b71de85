"""Station: what people get to read. Published marts, predictions, insights and the night's receipts -> `reports/<tenant>/<day>/`.

data flow: material (read once, one snapshot) -> chapters (what is said) -> drawing (pictures) -> printing (PDF, HTML) and workbook (XLSX).
Which formats: those of the tenant's tier. What the tenant does not have has no page, no sheet and no picture.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

from nocturne.ledger import Mark, utc_now
from nocturne.receipts import Entry, Receipt
from nocturne.reports.agreement import printed
from nocturne.reports.chapters import compose
from nocturne.reports.drawing import draw
from nocturne.reports.folder import alone, facts, replace, stands
from nocturne.reports.material import Book, Material, read
from nocturne.reports.printing import print_pdf, write_html
from nocturne.reports.workbook import write_workbook
from nocturne.settings import Settings
from nocturne.tenants import Tenant

STATION: Final = "reports"
NAME: Final = "nightly"
PDF, HTML, XLSX = f"{NAME}.pdf", f"{NAME}.html", f"{NAME}.xlsx"
_LIBRARIES: Final = ("kaleido", "plotly", "weasyprint", "xlsxwriter")


def render_reports(tenant: Tenant, day: date, settings: Settings, ledger: Book) -> Receipt:
    """Render the reports of a tenant's day in the formats of its tier.

    Reads published marts, predictions, insights and the ledger; writes `reports/<slug>/<day>/`, which appears whole or not at all, then a
    mark. A re-run whose input is the same and whose files all stand does nothing. Raises ToolMissing without Chromium or pango,
    TransientError if Chromium hangs, DatabaseUnavailable, DiskFull.
    """
    started = utc_now()
    folder = settings.reports_root / tenant.slug / day.isoformat()
    with alone(folder):
        material = read(tenant, day, settings, ledger)
        fingerprint = _fingerprint(tenant, material)
        mark = ledger.marks(tenant, STATION, NAME).get(day.isoformat())
        skipped = mark is not None and mark.fingerprint == fingerprint and stands(folder, mark.facts["files"])
        if mark is None or not skipped:
            files, counts = _render(tenant, material)
            replace(folder, files)
            mark = Mark(fingerprint, {"files": {name: facts(content) for name, content in files.items()}, "counts": counts})
            ledger.mark(tenant, STATION, NAME, {day.isoformat(): mark})
    sums = printed(material)
    return Receipt(
        tenant=tenant.slug,
        day=day,
        station="render_reports",
        started_at=started,
        finished_at=utc_now(),
        entries=(
            *(_entry(name, mark, skipped=skipped) for name in sorted(mark.facts["files"])),
            *(
                Entry(name=f"printed {one.what}", skipped=skipped, facts={place: f"{value:f}" for place, value in one.sums.items()})
                for one in sums
            ),
        ),
        warnings=(*material.warnings, *(f"The report contradicts itself, {one.told}" for one in sums if not one.agrees)),
    )


def _entry(name: str, mark: Mark, *, skipped: bool) -> Entry:
    file = mark.facts["files"][name]
    counts = {"bytes": file["bytes"], **mark.facts["counts"].get(name, {})}
    return Entry(name=name, fingerprint=mark.fingerprint, skipped=skipped, counts=counts, facts={"sha256": file["sha256"]})


def _render(tenant: Tenant, material: Material) -> tuple[dict[str, bytes], dict[str, dict[str, int]]]:
    """Every file of the report by its name, and what can be counted in some of them."""
    document = compose(tenant, material)
    kinds = tenant.limits.reports
    charts = list(document.charts())
    drawn = draw(charts, png="png" in kinds)
    vectors = {chart.name: drawn[chart.name, "svg"] for chart in charts}
    files = {f"{name}.{kind}": content for (name, kind), content in drawn.items() if kind in kinds}
    counts = {}
    if "pdf" in kinds:
        files[PDF], pages = print_pdf(document, vectors)
        counts[PDF] = {"pages": pages}
    if "html" in kinds:
        files[HTML] = write_html(document, vectors)
    if "xlsx" in kinds:
        files[XLSX], cells = write_workbook(tenant, material, document)
        counts[XLSX] = {"cells": cells}
    return files, counts


def _fingerprint(tenant: Tenant, material: Material) -> str:
    """Digest of everything that the files depend on: what was read, the tenant's declaration, our code and the libraries that draw."""
    text = json.dumps(
        [_code(), tenant.fingerprint, str(material.day), material.time_zone, str(material.marts_day), material.subjects, material.reasons,
         repr(material.quality), [[each.station, each.outcome, each.error, each.warnings] for each in material.outcomes]],
        default=str, sort_keys=True,
    )  # fmt: skip
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def _code() -> str:
    """Digest of this package's files and of the versions of the libraries that draw."""
    digest = hashlib.sha256(" ".join(version(name) for name in _LIBRARIES).encode())
    here = Path(__file__).parent
    for path in sorted(path for path in here.rglob("*") if path.suffix in {".py", ".j2", ".css", ".js"}):
        digest.update(path.relative_to(here).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
