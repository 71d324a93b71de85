"""How long a service's whole report takes (PDF, workbook, pictures, HTML): the first of a process, a further one, one with nothing new.

It runs `render_reports` over published marts of the demo's size; baselines are kaleido's own way to draw the same charts (a page loaded
anew for each picture) and bare XlsxWriter with the same number of cells.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks import publish, start_database, throwaway_installation
from benchmarks.report_marts import MODELS, SERVICE, PublishedMarts, tenant_of
from nocturne.settings import Settings
from nocturne.tenants import Tenant

DAY = date(2026, 3, 1)
WIDE_ROWS = 20_000


def main() -> None:
    """Measure, and print one line of JSON."""
    with throwaway_installation() as settings:
        from nocturne.ledger import Ledger

        tenant = tenant_of(settings.var, "bench")
        start_database(settings, tenant)
        marts = PublishedMarts(DAY, days=120, scale=2_000, tracks=60)
        marts.publish(tenant, settings, (*SERVICE, *MODELS))
        marts.tell(tenant, Ledger(settings))
        results: dict[str, Any] = {"first_wall_seconds": render(tenant, DAY, settings)}
        cpu = time.process_time()
        results["next_wall_seconds"] = render(tenant, DAY - timedelta(days=1), settings)
        results["next_cpu_seconds_without_chromium"] = time.process_time() - cpu
        results["unchanged_wall_seconds"] = render(tenant, DAY, settings)
        results |= drawn(tenant, settings)
        results |= wide(tenant, settings)
        files = sorted((settings.reports_root / tenant.slug / DAY.isoformat()).iterdir())
        results |= {"files": len(files), "bytes": sum(path.stat().st_size for path in files), "content_sha256": content(files)}
    baselines = {name: results.pop(name) for name in ("kaleido_wall_seconds", "bare_xlsxwriter_cells_per_second")}
    publish(
        "report",
        params={"days": 120, "listeners": 2_000, "tracks": 60, "tier": tenant.tier.value, "wide_rows": WIDE_ROWS},
        results=results,
        baselines=baselines,
        ratios={
            "drawing_vs_kaleido": results["drawing_wall_seconds"] / baselines["kaleido_wall_seconds"],
            "xlsx_vs_bare_xlsxwriter": results["xlsx_cells_per_second"] / baselines["bare_xlsxwriter_cells_per_second"],
        },
    )


def render(tenant: Tenant, day: date, settings: Settings) -> float:
    """Wall seconds of one report; the first one of a process pays for the imports."""
    started = time.perf_counter()
    from nocturne.ledger import Ledger
    from nocturne.reports import render_reports

    render_reports(tenant, day, settings, Ledger(settings))
    return time.perf_counter() - started


def drawn(tenant: Tenant, settings: Settings) -> dict[str, Any]:
    """Wall seconds of the drawings alone, and of kaleido's own way to the same pictures."""
    import kaleido

    from nocturne.ledger import Ledger
    from nocturne.reports.chapters import compose
    from nocturne.reports.drawing import PNG_SCALE, draw
    from nocturne.reports.material import read

    charts = list(compose(tenant, read(tenant, DAY, settings, Ledger(settings))).charts())
    started = time.perf_counter()
    pictures = draw(charts, png=True)
    ours = time.perf_counter() - started

    async def theirs() -> int:
        count = 0
        async with kaleido.Kaleido(n=1, mathjax=False) as browser:
            for chart in charts:
                for kind, scale in (("svg", 1), ("png", PNG_SCALE)):
                    size = {"format": kind, "width": chart.width, "height": chart.height, "scale": scale}
                    count += bool(await browser.calc_fig(dict(chart.figure), opts=size))
        return count

    started = time.perf_counter()
    made = asyncio.run(theirs())
    if made != len(pictures):
        raise SystemExit(f"kaleido made {made} pictures, not {len(pictures)}")
    return {"pictures": made, "drawing_wall_seconds": ours, "kaleido_wall_seconds": time.perf_counter() - started}


def wide(tenant: Tenant, settings: Settings) -> dict[str, Any]:
    """Cells a second of a workbook with many tracks, and of XlsxWriter with as many numbers and nothing else."""
    import xlsxwriter

    from nocturne.ledger import Ledger
    from nocturne.reports.chapters import compose
    from nocturne.reports.material import read
    from nocturne.reports.workbook import write_workbook

    material = read(tenant, DAY, settings, Ledger(settings))
    tracks = material.rows("tracks")
    many = tuple(tracks[place % len(tracks)] | {"place": place + 1} for place in range(WIDE_ROWS))
    material = replace(material, subjects={**material.subjects, "tracks": many})
    document = compose(tenant, material)
    started = time.perf_counter()
    _, cells = write_workbook(tenant, material, document)
    ours = cells / (time.perf_counter() - started)
    started = time.perf_counter()
    book = xlsxwriter.Workbook(io.BytesIO(), {"in_memory": True})
    page = book.add_worksheet()
    for cell in range(cells):
        page.write_number(cell // 12, cell % 12, cell)
    book.close()
    return {"xlsx_cells": cells, "xlsx_cells_per_second": ours, "bare_xlsxwriter_cells_per_second": cells / (time.perf_counter() - started)}


def content(files: list[Path]) -> str:
    """One digest of all files, names and bytes."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
