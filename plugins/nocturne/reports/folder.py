"""The folder of one day's report: it holds a whole report or none, whenever the process that writes it may end."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nocturne.errors import DiskFull

at_write: Callable[[str], None] = lambda _what: None  # noqa: E731
"""Called with what was done at every boundary of a write. A test that kills the process at each of them puts itself here."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One renderer a tenant at a time; the lock goes with the process that holds it, however that ends."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder.parent / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace(folder: Path, files: Mapping[str, bytes]) -> None:
    """Let `folder` hold these files and no others: they are written beside it, then the folders change places by renaming.

    Whoever calls it is alone. What a killed run has left is removed first. Raises DiskFull.
    """
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        fresh.mkdir()
        for name, content in sorted(files.items()):
            (fresh / name).write_bytes(content)
            at_write(f"wrote {name}")
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise DiskFull(
            f"The report cannot be written to {fresh}: {error.strerror}.", next_step="Make room there; the task is tried again by itself."
        ) from error
    if folder.exists():
        folder.rename(old)
        at_write("put the earlier report aside")
    fresh.rename(folder)
    at_write("put the report in place")
    shutil.rmtree(old, ignore_errors=True)


def facts(content: bytes) -> dict[str, object]:
    """What is remembered of a file."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def stands(folder: Path, files: Mapping[str, Mapping[str, object]]) -> bool:
    """Whether the folder holds exactly these files (by their `facts`), unchanged."""
    try:
        there = {path.name: path for path in folder.iterdir()}
        return set(there) == set(files) and all(facts(path.read_bytes()) == dict(files[name]) for name, path in there.items())
    except OSError:
        return False
