"""Programs that are no Python packages: a Chromium for pictures, pango for PDFs. Found, installed where we may, or named."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from nocturne.errors import ToolMissing

_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@dataclass(frozen=True)
class Tool:
    """One program or library: how it is found, and Debian's packages of it."""

    name: str
    purpose: str
    packages: tuple[str, ...]
    find: Callable[[], str | None]


def find_chromium() -> str | None:
    """The path of a Chromium or Chrome, or None. BROWSER_PATH goes first, as kaleido reads it too."""
    given = os.environ.get("BROWSER_PATH")
    return given if given and os.access(given, os.X_OK) else next(filter(None, map(shutil.which, _CHROMIUMS)), None)


TOOLS = (
    Tool("Chromium", "pictures of charts", ("chromium", "fonts-dejavu-core"), find_chromium),
    Tool("pango", "PDF reports", ("libpango-1.0-0", "libpangoft2-1.0-0"), lambda: ctypes.util.find_library("pangoft2-1.0")),
)


def ensure_tools(say: Callable[[str], None]) -> None:
    """Find every tool; as root on a Debian, install what is missing. Raises ToolMissing with the command to run otherwise."""
    missing = [tool for tool in TOOLS if tool.find() is None]
    if not missing:
        return
    packages = [package for tool in missing for package in tool.packages]
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    names = " and ".join(f"{tool.name} (for {tool.purpose})" for tool in missing)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ToolMissing(
            f"{names} is missing.", next_step=f"Run `sudo {' '.join(command)}` (or your system's like of it), then this again."
        )
    say(f"installing {names}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["apt-get", "update", "-q"], command):
        done = subprocess.run(step, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise ToolMissing(
                f"{names} is missing, and `{' '.join(step)}` failed: {done.stderr.strip()[-400:]}",
                next_step=f"Install {', '.join(packages)} by hand, then run this again.",
            )
    still = [tool.name for tool in missing if tool.find() is None]
    if still:
        raise ToolMissing(f"{', '.join(still)} cannot be found though installed.", next_step="Set BROWSER_PATH to the browser's program.")
