"""Runs one night again and again, each time killed (SIGKILL) at another boundary of a write, and then run to its end.

    python -m tests.integration.lake.killing <folder>

It starts a process of its own for each run (forked before any work, so that the imports are paid once) and prints one JSON object a run:
{"killed": <after which write, or after how many milliseconds>, "same": <whether all is as without the kill>}.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow  # noqa: F401  (so that no run pays for the import)

from nocturne import lake
from nocturne.ledger import Mark
from nocturne.maintenance import tidy_lake
from nocturne.quality import Judgement
from nocturne.settings import load_settings
from nocturne.tenants import Tenant
from tests.integration.lake.worlds import ARTISTS, PLAYS, WEB, Night, day, everything, play, tenant_with

AT_ANY_TIME = 4


class FileMarks:
    """Marks in a file, replaced whole: what stands there outlives the process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _read(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = json.loads(self.path.read_text()) if self.path.exists() else {}
        return found

    def _write(self, kept: Mapping[str, Any]) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(kept))
        fresh.replace(self.path)
        lake.at_write("marked")

    def marks(self, tenant: Tenant, station: str, dataset: str) -> dict[str, Mark]:
        """All marks of a station and dataset."""
        return {part: Mark(*mark) for part, mark in self._read().get(f"{station}/{dataset}", {}).items()}

    def mark(self, tenant: Tenant, station: str, dataset: str, marks: Mapping[str, Mark]) -> None:
        """Write these marks."""
        kept = self._read()
        kept.setdefault(f"{station}/{dataset}", {}).update({part: (mark.fingerprint, dict(mark.facts)) for part, mark in marks.items()})
        self._write(kept)

    def unmark(self, tenant: Tenant, station: str, dataset: str, parts: Iterable[str]) -> None:
        """Forget these parts."""
        kept = self._read()
        for part in parts:
            kept.get(f"{station}/{dataset}", {}).pop(part, None)
        self._write(kept)

    def judge(self, tenant: Tenant, judgements: Iterable[Judgement]) -> None:
        """Keep what a gate found."""
        kept = self._read()
        found = {f"{one.table} {one.day} {one.part}": ("", one.facts) for one in judgements}
        kept.setdefault("judgements", {}).update(found)
        self._write(kept)


def night_in(folder: Path) -> Night:
    settings = load_settings(var=folder, master_key="5a" * 32, threads=1)
    return Night(settings, tenant_with(PLAYS, WEB, ARTISTS), FileMarks(folder / "marks.json"))


def prepare(folder: Path) -> None:
    """Two nights that ended well, and then a landing with a corrected, a new and a withdrawn batch, late and bad rows."""
    night = night_in(folder)
    night.deliver("app", day(0), [play("a", 0), play("b", 0), play("bad", 0, ms_played=-1)])
    night.deliver("web", day(1), [play("c", 1), play("a", 1, ms_played=2)])
    night.deliver("artists", day(0), [{"artist_id": "x", "artist_name": "X"}])
    night.run()
    night.deliver("app", day(0), [play("a", 0), play("b", 1, ms_played=3), play("bad", 0, ms_played=-2)])
    night.deliver("app", day(2), [play("d", 2), play("d", 2), play("b", 0, ms_played=4), play("worse", 0, ms_played="x")])
    night.deliver("artists", day(1), [{"artist_id": "x", "artist_name": "Y"}, {"artist_id": "", "artist_name": "Z"}])
    night.withdraw("web", day(1))


def night_and_tidying(folder: Path) -> None:
    """The work that is killed: all that writes to the lake but landing."""
    night = night_in(folder)
    night.run()
    with lake.duck(night.settings) as connection:  # as `tidy_lake` does with days that are larger than these
        lake.table(night.settings, night.tenant, "silver", "plays").cluster(connection, "listener_key", above=0)
    tidy_lake(night.tenant, day(2), night.settings.model_copy(update={"keep_hours": 0}), night.marks)


def state(folder: Path) -> str:
    return hashlib.sha256(repr(everything(night_in(folder))).encode()).hexdigest()


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a process of its own; how it ended."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_after(writes: int, folder: Path) -> Callable[[], None]:
    """A night that kills its process after so many writes; it notes in `last` what the last one was."""

    def work() -> None:
        done = 0

        def count(what: str) -> None:
            nonlocal done
            done += 1
            if done == writes:
                (folder / "last").write_text(what)
                os.kill(os.getpid(), signal.SIGKILL)

        lake.at_write = count
        night_and_tidying(folder)

    return work


def killed_at(seconds: float, folder: Path) -> Callable[[], None]:
    """A night whose process is killed at some time."""

    def work() -> None:
        def kill() -> None:
            time.sleep(seconds)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
        night_and_tidying(folder)

    return work


def left_after(folder: Path) -> str:
    """What stands after a night that ended, run in a process of its own."""

    def work() -> None:
        night_and_tidying(folder)
        (folder / "state").write_text(state(folder))

    if forked(work):
        raise SystemExit(f"The night after the kill failed in {folder}.")
    return (folder / "state").read_text()


def run(folder: Path) -> None:
    """Kill the night at each write, then at random times."""
    start, trial = folder / "start", folder / "trial"
    if forked(lambda: prepare(start)):
        raise SystemExit("The nights before failed.")

    def again() -> Path:
        shutil.rmtree(trial, ignore_errors=True)
        shutil.copytree(start, trial)
        return trial

    began = time.monotonic()
    expected = left_after(again())
    duration = time.monotonic() - began
    writes = 0
    while True:
        writes += 1
        ended = forked(killed_after(writes, again()))
        if ended == 0:
            break
        if ended != -signal.SIGKILL:
            raise SystemExit(f"The night failed before write {writes}.")
        what = (trial / "last").read_text()
        print(json.dumps({"killed": what, "same": left_after(trial) == expected}), flush=True)  # noqa: T201
    chance = random.Random(1)
    for _ in range(AT_ANY_TIME):
        seconds = chance.random() * duration
        forked(killed_at(seconds, again()))
        print(json.dumps({"killed": int(seconds * 1000), "same": left_after(trial) == expected}), flush=True)  # noqa: T201


if __name__ == "__main__":
    run(Path(sys.argv[1]))
