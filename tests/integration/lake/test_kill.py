"""A night that is killed at any write, and run again, leaves what an undisturbed night leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from nocturne.settings import PROJECT


def test_a_killed_night_is_finished_by_the_next(tmp_path: Path) -> None:
    """SIGKILL after each write of bronze, silver, quarantine, marks and maintenance, and at random times."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.lake.killing", str(tmp_path)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": f"{PROJECT / 'plugins'}:{PROJECT}"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert [run for run in runs if not run["same"]] == []
    written = {str(run["killed"]) for run in runs}
    expected = {f"{verb} {layer} {dataset} of acme" for verb, layer, dataset in _WRITES}
    assert expected | {"marked", "wrote silver plays of acme in order"} <= written
    assert len(runs) > 20


_WRITES = (
    ("wrote", "bronze", "plays"),
    ("committed", "bronze", "plays"),
    ("deleted from", "bronze", "plays"),
    ("wrote", "quarantine", "plays"),
    ("committed", "quarantine", "plays"),
    ("wrote", "silver", "plays"),
    ("committed", "silver", "plays"),
    ("wrote", "bronze", "artists"),
    ("committed", "silver", "artists"),
    ("ordered", "silver", "plays"),
    ("merged files of", "bronze", "plays"),
    ("removed files of", "silver", "plays"),
)
