"""The library costs seconds to import: only what asks a question pays for it."""

from __future__ import annotations

import subprocess
import sys

from nocturne.settings import PROJECT

PROGRAM = """
import sys
from nocturne.gates import gate_bronze, gate_marts
from nocturne.gates.suites import load_suite
from nocturne.settings import load_settings
load_suite(load_settings().expectations, "plays")
print([name for name in ("great_expectations", "pandas", "sqlalchemy") if name in sys.modules])
"""


def test_neither_the_station_nor_its_suites_import_the_library() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=PROJECT / "plugins", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
