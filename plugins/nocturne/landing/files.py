"""Sources of kind `files`: patterns of paths below the sources' root.

What is left for a later run, because it may still be being written: hidden files; names that end in .part, .partial, .tmp, .temp,
.crdownload, .filepart or ~; empty files younger than a minute; files that change while they are read. A file that was taken and is gone
from the source stays in the batch of its day; of a source without `{day}` the batch is what is there that night.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

from nocturne.errors import DeliveryError, SourceUnavailable
from nocturne.landing.batches import Shelf, Staged, Taken, chunks_of, refused, write
from nocturne.landing.drawers import Step
from nocturne.ledger import Mark
from nocturne.manifests import MANIFEST, Content, Manifest

_DAY = "{day}"
_DAY_PATTERN = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".filepart", "~")
_EMPTY_SECONDS = 60
_LONGEST_NAME = 150  # bytes; file systems allow 255
_LET_GO = 16 << 20


@dataclass(frozen=True)
class Seen:
    """A file at the source as it stood when we looked: enough to tell at a glance whether it is still the same."""

    path: str
    name: str
    origin: str
    size: int
    modified_ns: int

    @property
    def look(self) -> tuple[int, int]:
        """What changes when the file does."""
        return self.size, self.modified_ns


class Store(Protocol):
    """Where files stand."""

    def names(self) -> Iterator[str]:
        """The paths that the location's pattern matches, sorted."""

    def see(self, name: str) -> Seen | None:
        """The file as it stands; None if it is none, or may still be being written."""

    def stage(self, seen: Seen, folder: Path, taken: Taken) -> Staged | None:
        """Copy a file beside its batch and learn its content; None, with a warning, if it changed while it was read or went away."""


class Folder:
    """The sources' root, as a store."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._root = shelf.settings.sources_root
        self._real_root = self._root.resolve()

    def names(self) -> Iterator[str]:
        """The paths below the root that the location's pattern matches, sorted."""
        pattern = self._shelf.source.location.replace(_DAY, _DAY_PATTERN)
        yield from sorted(glob.iglob(pattern, root_dir=self._root, recursive=True))  # noqa: PTH207 (Path.glob would also find hidden files)

    def see(self, name: str) -> Seen | None:
        """The file as it stands; None if it is none, or may still be being written. Raises DeliveryError if it leads out of the root."""
        return _see(self._shelf, self._root, self._real_root, name)

    def stage(self, seen: Seen, folder: Path, taken: Taken) -> Staged | None:
        """Copy a file beside its batch and learn its content; None, with a warning, if it changed while it was read or went away."""
        return _stage(self._shelf, seen, folder, taken)


def take_files(shelf: Shelf, store: Store, begins_on: date, day: date, marks: Mapping[str, Mark]) -> Iterator[Taken]:
    """Take what the source offers in `store` and is not taken yet; yields what each batch brought.

    Reads the store; writes batches. Run again, it takes what has changed since. Raises DeliveryError for a
    path that leads out of the root or cannot be read, SourceUnavailable if the storage fails.
    """
    offered = _offered(shelf, store, begins_on, day)
    if shelf.source.is_daily:
        for its_day in sorted(offered):
            yield _take_day(shelf, store, its_day, offered[its_day], marks.get(shelf.batch(its_day)))
    elif offered:
        yield _take_state(shelf, store, day, offered[day], marks)


def _take_day(shelf: Shelf, store: Store, day: date, offered: list[Seen], mark: Mark | None) -> Taken:
    """The batch of a day: files that are new or changed are taken, the others kept."""
    taken = Taken()
    looks = _looks(mark)
    if shelf.holds(day) and all(looks.get(seen.origin) == seen.look for seen in offered):
        return taken
    with shelf.taking("files") as folder:
        manifest = shelf.manifest(day)
        standing = {file.origin: file for file in manifest.files} if manifest else {}
        refusals = _refusals(shelf, day)
        fresh: list[Staged] = []
        withheld: list[tuple[Staged, Step]] = []
        for seen in offered:
            if seen.origin in standing and looks.get(seen.origin) == seen.look:
                continue
            looks.pop(seen.origin, None)
            staged = store.stage(seen, folder, taken)
            if staged is None:
                continue
            looks[seen.origin] = seen.look
            if step := refusals.get(staged.content):
                withheld.append((staged, step))
            elif seen.origin not in standing or standing[seen.origin].sha256 != staged.sha256:
                fresh.append(staged)
        fresh += _taken_after_all(shelf, fresh, withheld, taken)
        if fresh:
            replaced = {file.origin for file in fresh}
            manifest = shelf.put(day, fresh, [file for file in standing.values() if file.origin not in replaced])
            taken.add(manifest, fresh)
        elif manifest:
            shelf.sweep(manifest)
    if manifest:
        taken.marks = _marked(manifest, looks)
    return taken


def _refusals(shelf: Shelf, day: date) -> dict[Content, Step]:
    """The files of a day that somebody took back: all of a delivery that he withdrew, else those that he brought others instead of."""
    found = shelf.drawer(day).refusals()
    return {content: refusal.step for refusal in found for content in refusal.contents - refusal.instead}


def _taken_after_all(shelf: Shelf, fresh: Sequence[Staged], withheld: Sequence[tuple[Staged, Step]], taken: Taken) -> list[Staged]:
    """Of the files that were taken back, those that are right now: a withdrawn delivery of which one file was mended is another one."""
    again = [staged for staged, step in withheld if fresh and step.to is None]
    taken.warnings += [f"{shelf.source.name}: {staged.origin} {refused(step)}" for staged, step in withheld if staged not in again]
    return again


def _take_state(shelf: Shelf, store: Store, day: date, offered: list[Seen], marks: Mapping[str, Mark]) -> Taken:
    """The batch of a night: what is there now, unless the newest batch already says the same."""
    taken = Taken(is_there=True)
    looks = {seen.origin: seen.look for seen in offered}
    with shelf.taking("files") as folder:
        newest = max(shelf.days(), default=None)
        if newest and newest > day:
            return taken  # the state of that night is gone; what is there now belongs to a later one
        if newest and _looks(marks.get(shelf.batch(newest))) == looks:
            return taken
        fresh = [staged for seen in offered if (staged := store.stage(seen, folder, taken))]
        if len(fresh) < len(offered):
            return taken  # half a state would say that the rest is gone
        if shelf.is_refused(day, fresh, taken):
            return taken
        manifest = shelf.manifest(newest) if newest else None
        if manifest is None or manifest.contents != frozenset(file.content for file in fresh):
            manifest = shelf.put(day, fresh)
            taken.add(manifest, fresh)
        else:
            shelf.sweep(manifest)
    taken.marks = _marked(manifest, looks)
    return taken


def _marked(manifest: Manifest, looks: Mapping[str, tuple[int, int]]) -> dict[str, Mark]:
    facts = {"received_on": manifest.received_on.isoformat(), "looks": {origin: list(look) for origin, look in sorted(looks.items())}}
    return {manifest.batch: Mark(manifest.fingerprint, facts)}


def _looks(mark: Mark | None) -> dict[str, tuple[int, int]]:
    return {origin: (size, modified) for origin, (size, modified) in mark.facts.get("looks", {}).items()} if mark else {}


def _offered(shelf: Shelf, store: Store, begins_on: date, day: date) -> dict[date, list[Seen]]:
    """What the source offers by day, up to `day`, from one walk over its folders."""
    found: dict[date, list[Seen]] = {}
    day_of = _day_reader(shelf.source.location.partition("://")[2] or shelf.source.location)
    for name in store.names():
        its_day = day_of(name) if shelf.source.is_daily else day
        if its_day is None or not begins_on <= its_day <= day:
            continue
        seen = store.see(name)
        if seen is not None:
            found.setdefault(its_day, []).append(seen)
    return found


def path_reader(location: str) -> Callable[[str], bool]:
    """Says whether a path is one that the location's pattern means."""
    pattern = re.compile(r"\d{4}-\d\d-\d\d".join(_regular(part) for part in location.split(_DAY)), re.DOTALL)
    return lambda path: pattern.fullmatch(path) is not None


def fixed_part(location: str) -> str:
    """The folders of a location before the first that is a pattern."""
    return "/".join(itertools.takewhile(lambda part: not glob.has_magic(part) and _DAY not in part, location.split("/")[:-1]))


def _day_reader(location: str) -> Callable[[str], date | None]:
    """Reads the day out of a path that the location's pattern matched; None if it is no day, or two."""
    first, *others = (_regular(part) for part in location.split(_DAY))
    pattern = re.compile(first + "".join(rf"(\d{{4}}-\d\d-\d\d){part}" for part in others), re.DOTALL)

    def read(name: str) -> date | None:
        match = pattern.fullmatch(name)
        days = set(match.groups()) if match else set()
        try:
            return date.fromisoformat(days.pop()) if len(days) == 1 else None
        except ValueError:
            return None

    return read


def _regular(pattern: str) -> str:
    """A regular expression for a piece of a glob pattern."""
    put = {"**/": r"(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]/]+\])", pattern)
    return "".join(
        put.get(piece) or (piece.replace("[!", "[^") if piece.startswith("[") and len(piece) > 1 else re.escape(piece)) for piece in pieces
    )


def _see(shelf: Shelf, root: Path, real_root: Path, name: str) -> Seen | None:
    """The file as it stands; None if it is none, or may still be being written. Raises DeliveryError if it leads out of the root."""
    path = root / name
    if name.lower().endswith(UNFINISHED):
        return None
    try:
        real = Path(os.path.realpath(path, strict=True))
        if not real.is_relative_to(real_root):
            raise DeliveryError(
                f"Source {shelf.source.name}: {path} leads out of the sources' root, to {real}.",
                next_step="Put the file itself there instead of a link.",
                tenant=shelf.tenant.slug,
            )
        facts = real.stat()
    except FileNotFoundError:
        return None  # gone since it was listed, or a link to nothing
    except OSError as error:
        raise _unreadable(shelf, path, error) from error
    is_unfinished = facts.st_size == 0 and time.time() - facts.st_mtime < _EMPTY_SECONDS
    if not stat.S_ISREG(facts.st_mode) or is_unfinished:
        return None
    return Seen(
        str(real), name_in_batch(shelf.source.location, _text(name)), _text(os.path.relpath(path, root)), facts.st_size, facts.st_mtime_ns
    )


def _stage(shelf: Shelf, seen: Seen, folder: Path, taken: Taken) -> Staged | None:
    """Copy a file beside its batch and learn its content; None, with a warning, if it changed while it was read or went away."""
    path = folder / hashlib.sha256(seen.origin.encode()).hexdigest()[:32]
    try:
        # No link is followed that was put there since we looked, and no pipe is waited for.
        descriptor = os.open(seen.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        descriptor = -1
    except OSError as error:
        raise _unreadable(shelf, seen.path, error) from error
    if descriptor >= 0:
        try:
            size, sha256 = write(path, _reading(shelf, seen, descriptor))
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if (after.st_size, after.st_mtime_ns) == seen.look and size == seen.size:
            return Staged(path, seen.name, seen.origin, size, sha256)
        path.unlink()
    taken.warnings.append(f"{shelf.source.name}: {seen.origin} changed while it was read; the next run takes it")
    return None


def _reading(shelf: Shelf, seen: Seen, descriptor: int) -> Iterable[bytes]:
    """The bytes of an open file. The system need not keep in memory what was read: it makes room there for what is written, and neither
    pushes out what others, such as the database, keep there.
    """
    chunks, read, let_go = chunks_of(descriptor), 0, 0
    while True:
        try:
            chunk = next(chunks, None)
        except OSError as error:
            raise _unreadable(shelf, seen.path, error) from error
        if chunk is None or read - let_go >= _LET_GO:
            os.posix_fadvise(descriptor, let_go, read - let_go, os.POSIX_FADV_DONTNEED)
            let_go = read
        if chunk is None:
            return
        read += len(chunk)
        yield chunk


def _unreadable(shelf: Shelf, path: Path | str, error: OSError) -> DeliveryError | SourceUnavailable:
    what = f"Source {shelf.source.name}: {path} cannot be read: {error.strerror or error}."
    if isinstance(error, PermissionError):
        return DeliveryError(what, next_step="Let this process's user read it, and its folders.", tenant=shelf.tenant.slug)
    return SourceUnavailable(what, next_step="Look after that storage; the task is tried again by itself.", tenant=shelf.tenant.slug)


def name_in_batch(location: str, path: str) -> str:
    """The file's name in the batch: its path from the first part of the location that is a pattern on, so that `a/x` and `b/x` differ."""
    fixed = 0
    parts = location.split("/")
    while fixed < len(parts) - 1 and not glob.has_magic(parts[fixed]) and _DAY not in parts[fixed]:
        fixed += 1
    whole = re.sub(r"[\x00-\x1f\x7f\\]", "_", "__".join(path.split("/")[fixed:]))
    name = whole.encode()[-_LONGEST_NAME:].decode(errors="ignore")
    return f"_{name}" if name in {MANIFEST, ".", ".."} else name


def _text(path: str) -> str:
    """The path as text: a name on disk may be any bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
