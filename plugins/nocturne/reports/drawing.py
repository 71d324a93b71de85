"""Charts become pictures: one Chromium, driven by kaleido, for all charts of a report.

kaleido loads its page anew for each picture, which costs more than the picture: here all charts are drawn in the page that it has
opened, and the PNG is made from the SVG, as plotly.js itself makes it. A test holds both equal to kaleido's own.

Chromium gets no network: its proxy is an address where nobody answers, and plotly.js comes from the installed package. It may hang, when
memory is short for example, and kaleido's own time limits do not cover its start and its end: a watchdog kills the browser's process
group when the time is over, which ends every wait for it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from nocturne.errors import PermanentError, ToolMissing, TransientError
from nocturne.reports.document import Chart

PNG_SCALE: Final = 2
_PROGRAM: Final = Path(__file__).parent / "templates" / "draw.js"
_NOWHERE: Final = "127.0.0.1:9"  # the discard port: whatever Chromium asks for from outside is refused at once
_REFERENCE = re.compile(r"""((?:id|class|href|xlink:href|clip-path|style|fill|mask|filter)=)("[^"]*"|'[^']*')""")


def draw(charts: Sequence[Chart], *, png: bool, seconds: float = 120) -> dict[tuple[str, str], bytes]:
    """The bytes of each chart as SVG and, with `png`, as PNG, by (chart's name, `svg` or `png`).

    The same charts give the same bytes. Raises ToolMissing without a Chromium or Chrome, TransientError if it does not start, or does
    not draw everything within `seconds`.
    """
    if not charts:
        return {}
    import kaleido
    from choreographer.errors import BrowserClosedError, BrowserFailedError, ChannelClosedError, ChromeNotFoundError

    try:
        browser = kaleido.Kaleido(n=1, timeout=seconds, mathjax=False, proxy_server=_NOWHERE)
    except ChromeNotFoundError as error:
        raise ToolMissing(
            "The report's charts need Chromium or Chrome, and neither is installed.",
            next_step="Run `apt-get install chromium` (or set BROWSER_PATH to the program of another one), then clear the task.",
        ) from error
    with _quiet(), _watched(browser, seconds) as expired:
        try:
            return asyncio.run(_draw(browser, charts, PNG_SCALE if png else None))
        except (BrowserClosedError, BrowserFailedError, ChannelClosedError, TimeoutError) as error:
            what = (
                f"did not draw {len(charts)} charts within {seconds:.0f} s" if expired.is_set() else "ended before it had drawn the charts"
            )
            raise TransientError(
                f"Chromium {what} ({type(error).__name__}).",
                next_step="Nothing at first: the task is tried again by itself. If it happens again, give the worker more memory, and "
                "try `chromium --headless --no-sandbox --dump-dom about:blank` there.",
            ) from error


async def _draw(browser: Any, charts: Sequence[Chart], scale: int | None) -> dict[tuple[str, str], bytes]:
    drawn = {}
    async with browser:
        page = browser.get_tab()
        await _evaluate(page, _PROGRAM.read_text())
        for chart in charts:
            figure = json.dumps(chart.figure, allow_nan=False)
            pictures = await _evaluate(page, f"drawFigure({figure}, {chart.width}, {chart.height}, {json.dumps(scale)})")
            drawn[chart.name, "svg"] = _same_ids(chart.name, pictures["svg"])
            if scale:
                drawn[chart.name, "png"] = base64.b64decode(pictures["png"])
    return drawn


async def _evaluate(page: Any, program: str) -> Mapping[str, str]:
    answer = await page.send_command("Runtime.evaluate", {"expression": program, "awaitPromise": True, "returnByValue": True})
    result = answer.get("result", answer)
    if failure := result.get("exceptionDetails") or answer.get("error"):
        said = failure.get("exception", failure).get("description") or failure.get("message") or failure.get("text")
        raise PermanentError(
            f"plotly.js could not draw a chart: {said}.", next_step="This is a defect of ours: report it with this message."
        )
    value: Mapping[str, str] = result["result"].get("value", {})
    return value


@contextlib.contextmanager
def _watched(browser: Any, seconds: float) -> Iterator[threading.Event]:
    """Kill the browser's process group when `seconds` are over; the event says that this happened."""
    expired = threading.Event()

    def kill() -> None:
        expired.set()
        if process := getattr(browser, "subprocess", None):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # choreographer starts it as the leader of a session of its own

    watchdog = threading.Timer(seconds, kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield expired
    finally:
        watchdog.cancel()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Chromium's own chatter out of the log, and its farewell, which choreographer logs as an error of its protocol."""
    before = {logger: logger.level for logger in map(logging.getLogger, ("choreographer", "kaleido", "browser_proc"))}
    for logger in before:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


def _same_ids(name: str, picture: str) -> bytes:
    """The SVG with plotly's random identifier of the drawing replaced by the chart's name: stable, and unique in a page of many.

    Only ids and references to them are rewritten: the six hexadecimal digits may occur in data too.
    """
    found = re.search(r'id="defs-([0-9a-f]{6})"', picture)
    if found is not None:
        token, fixed = found.group(1), re.sub(r"[^a-z0-9]", "", name)
        picture = _REFERENCE.sub(lambda match: match.group(1) + match.group(2).replace(token, fixed), picture)
    return picture.encode()
