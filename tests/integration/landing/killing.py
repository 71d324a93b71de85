"""Kills a process before one of its writes to the file system, and starts the processes in which that is done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

WRITES = {"os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}


def killed_at(step: int, work: Callable[[Callable[[], int]], object]) -> bool:
    """Whether a child that does `work` was killed before its write number `step`; `work` is told how many writes were begun.

    The audit hook that sees the writes cannot be taken away again, so the calling process must not have one; it forks.
    """
    child = os.fork()
    if child == 0:
        seen = 0

        def watch(event: str, args: tuple[object, ...]) -> None:
            nonlocal seen
            opens = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
            if event in WRITES or opens:
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        work(lambda: seen)
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of its own that runs `code`."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code: str, *arguments: str) -> str:
    """What a process that runs `code` prints."""
    with start(code, *arguments) as child:
        printed, told = child.communicate(timeout=300)
    assert child.returncode == 0, told
    return printed
