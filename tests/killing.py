"""Kills a station at one recorded write boundary of PostgreSQL after the other, and lets a test look at what stands after each kill.

    python -m tests.killing <tenant, JSON> <day> <"module:function" of the station> <"module:class" of its marks> <more arguments, JSON>

That process forks a child for each run, so that imports are paid once; the child is killed (SIGKILL) one boundary later than the one before.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from importlib import import_module
from typing import Any, Self

from nocturne.settings import PROJECT, Settings
from nocturne.tenants import Tenant


class Killer:
    """Iterates over the kills of a station, until a run is not killed any more; `count` is how many there were."""

    def __init__(self, settings: Settings, tenant: Tenant, day: date, station: str, *, marks: str, **more: Any) -> None:
        told = tenant.model_dump_json(by_alias=True)
        arguments = [sys.executable, "-m", "tests.killing", told, str(day), station, marks, json.dumps(more)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(arguments, env=environment(settings), cwd=PROJECT, text=True, **pipes)
        self._answer = "on\n"
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.__exit__(None, None, None)

    def __iter__(self) -> Iterator[int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        while self._process.stdout.readline() == "killed\n":
            self.count += 1
            yield self.count
            self._process.stdin.write(self._answer)
            self._process.stdin.flush()
            self._answer = "on\n"

    def begin_anew(self) -> None:
        """Kill the next run at its first boundary: what was done so far stays done, and it begins with what is left."""
        self._answer = "anew\n"


def environment(settings: Settings) -> dict[str, str]:
    """The variables by which a process of its own finds this installation."""
    assert settings.master_key is not None
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{PROJECT / 'plugins'}:{PROJECT}",
        "NOCTURNE_VAR": str(settings.var),
        "NOCTURNE_MASTER_KEY": settings.master_key.get_secret_value(),
        "NOCTURNE_POSTGRES_PORT": str(settings.postgres_port),
    }


def _named(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def _die_at(boundary: int) -> None:
    """From now on, the write boundary of this number is the end of this process."""
    from nocturne import postgres

    left, real = boundary, postgres.at_write

    def at_write(_: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    for module in list(sys.modules.values()):
        if getattr(module, "at_write", None) is real:
            module.at_write = at_write  # type: ignore[attr-defined]


def _kill_at_each_boundary() -> None:
    import pyarrow  # noqa: F401

    from nocturne.ledger import MemoryMarks
    from nocturne.settings import load_settings

    tenant, day = Tenant.model_validate_json(sys.argv[1]), date.fromisoformat(sys.argv[2])
    station, marks, more, settings = _named(sys.argv[3]), _named(sys.argv[4]), json.loads(sys.argv[5]), load_settings()
    boundary = 0
    while True:
        boundary += 1
        child = os.fork()
        if not child:
            _die_at(boundary)
            station(tenant, day, settings, marks() if marks is MemoryMarks else marks(settings), **more)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write("killed\n" if os.WIFSIGNALED(status) else "done\n")
        sys.stdout.flush()
        told = sys.stdin.readline()
        if not os.WIFSIGNALED(status) or not told:
            break
        if told == "anew\n":
            boundary = 0


if __name__ == "__main__":
    _kill_at_each_boundary()
