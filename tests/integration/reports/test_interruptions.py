"""Whatever ends a render, the folder holds a whole report or none; and a browser that is missing or hangs is an error with a next step."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.report_marts import PublishedMarts, put
from nocturne.errors import ToolMissing, TransientError
from nocturne.ledger import Ledger
from nocturne.postgres import connect
from nocturne.reports import folder as report_folder
from nocturne.reports import render_reports
from nocturne.reports.charts import Bar, ranking
from nocturne.reports.drawing import draw
from nocturne.settings import Settings
from nocturne.tenants import Tenant
from tests.integration.reports.conftest import DAY

CHART = ranking("chart", "Chart", "…", [Bar("a", 1, "1")])


def killed_at(boundary: int, render: Callable[[], object]) -> bool:
    """Render in a child that kills itself at this write boundary; False if it had fewer and ended by itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads; the child needs none of them
        child = os.fork()
    if not child:
        passed = iter(range(boundary))

        def count(_what: str) -> None:
            if next(passed, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        report_folder.at_write = count
        try:
            render()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_kill_at_any_write_leaves_a_whole_report_or_none_and_a_rerun_the_new_one(
    reports: Settings, publish: Callable[..., tuple[Tenant, PublishedMarts]]
) -> None:
    tenant, marts = publish("reports_killed", ("ml.insights",))  # no charts: the browser is not what is tried here
    place = reports.reports_root / tenant.slug / DAY.isoformat()

    def render() -> object:
        return render_reports(tenant, DAY, reports, Ledger(reports))

    def change(text: str) -> None:
        with connect(reports, role=tenant.owner_role) as connection:
            put(connection, tenant, "ml.insights", [(*row[:-1], f"{text}: {row[-1]}") for row in marts.rows["ml.insights"]])

    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in place.iterdir()} if place.exists() else {}

    render()
    for boundary in range(100):
        before = contents()
        change(f"state {boundary}")
        killed = killed_at(boundary, render)
        after = contents()
        assert after == before or set(after) in (set(), {"nightly.pdf", "nightly.html", "nightly.xlsx"})
        render()
        assert set(contents()) == {"nightly.pdf", "nightly.html", "nightly.xlsx"}
        assert contents()["nightly.html"].count(f"state {boundary}:".encode()) == 2 * 4 - 4
        assert sorted(path.name for path in place.parent.iterdir()) == [".lock", DAY.isoformat()]
        if not killed:
            break
    assert boundary == 5  # three files, the earlier report aside, the new one in place, and nothing more


def test_without_a_browser_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chromium")
    with pytest.raises(ToolMissing, match="apt-get install chromium"):
        draw([CHART], png=False)


def test_a_report_without_charts_needs_no_browser(
    monkeypatch: pytest.MonkeyPatch, reports: Settings, publish: Callable[..., tuple[Tenant, PublishedMarts]]
) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chromium")
    tenant, _ = publish("reports_plain", ("ml.insights",))
    assert render_reports(tenant, DAY, reports, Ledger(reports)).entry("nightly.pdf")


@pytest.mark.parametrize("script", ["exec sleep 60", "exit 3"])
def test_a_browser_that_hangs_or_dies_is_ended_and_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    fake = tmp_path / "chromium"
    fake.write_text(f"#!/bin/sh\necho $$ > {tmp_path / 'pid'}\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(fake))
    started = time.monotonic()
    with pytest.raises(TransientError, match=r"Chromium (did not draw 1 charts within 2 s|ended before it had drawn the charts)"):
        draw([CHART], png=False, seconds=2)
    assert time.monotonic() - started < 20
    process = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/status")
    assert not process.exists() or "(zombie)" in process.read_text()
