"""The batches of one source: which stand, how a new one is put there, and where half-taken ones wait.

A batch changes at one instant, when its manifest is replaced: files that the new manifest names are put into the folder under names that
the old one does not use, and those that it no longer names are removed afterwards. So whoever reads a manifest finds its files, and a kill
leaves either batch whole.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import ValidationError

from nocturne import at_rest
from nocturne.errors import DeliveryError, DiskFull, LeaseHeld
from nocturne.landing.drawers import Drawer, Step, drawers, last_steps, refusal_of
from nocturne.ledger import Mark
from nocturne.manifests import MANIFEST, Content, Delivered, Manifest, Range, batch_folder, batch_id, landing_folder, write_manifest
from nocturne.receipts import Entry
from nocturne.settings import Settings
from nocturne.tenants import Source, Tenant

_PREFIX = "received_on="
_TAKING = ".taking"
_CHUNK = 1 << 20
_SYNCED = 32 << 20
_WAIT_SECONDS = 60


@dataclass(frozen=True)
class Staged:
    """A file that was taken and waits beside the batch: its content's facts, and where it came from.

    `stood`: it stood in landing before, so its bytes are in the form in which they stand there.
    """

    path: Path
    name: str
    origin: str
    bytes: int
    sha256: str
    rows: int | None = None
    stood: bool = False

    @property
    def content(self) -> Content:
        """What it says."""
        return self.origin, self.sha256


@dataclass
class Taken:
    """What was taken: batches that are new or changed, what was read for them, what people should know, and the marks to write.

    `is_there`: the source has something for the night: a state, new or not, or a delivery of the business day.
    """

    batches: list[Manifest] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    is_there: bool = False
    warnings: list[str] = field(default_factory=list)
    marks: dict[str, Mark] = field(default_factory=dict)

    def add(self, manifest: Manifest, fresh: Sequence[Staged]) -> None:
        """Count a batch of which the `fresh` files were taken now."""
        self.batches.append(manifest)
        self.files += len(fresh)
        self.bytes += sum(file.bytes for file in fresh)


@dataclass(frozen=True)
class Shelf:
    """The batches of one source in landing."""

    settings: Settings
    tenant: Tenant
    source: Source

    def batch(self, day: date) -> str:
        """Id of the batch of a day."""
        return batch_id(self.source.name, day)

    def folder(self, day: date) -> Path:
        """Where the batch of a day stands."""
        return batch_folder(self.settings, self.tenant, self.source.dataset, self.source.name, day)

    def holds(self, day: date) -> bool:
        """Whether the batch of a day stands."""
        return (self.folder(day) / MANIFEST).exists()

    def days(self) -> list[date]:
        """The days of all batches that stand, ascending."""
        folder = landing_folder(self.settings, self.tenant, self.source.dataset)
        found = folder.glob(f"{_PREFIX}*/{self.source.name}/{MANIFEST}")
        return sorted(date.fromisoformat(path.parent.parent.name.removeprefix(_PREFIX)) for path in found)

    def manifest(self, day: date) -> Manifest | None:
        """The manifest of a day's batch; None if there is none. Raises DeliveryError if it cannot be read."""
        path = self.folder(day) / MANIFEST
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise DeliveryError(
                f"The manifest {path} cannot be read: {error.error_count()} of its fields are wrong.",
                next_step="Remove the folder that it stands in and run `land` again: it takes the batch anew.",
                tenant=self.tenant.slug,
                day=day,
            ) from error

    def put(self, day: date, fresh: Iterable[Staged], kept: Iterable[Delivered] = (), *, ranges: Iterable[Range] = ()) -> Manifest:
        """Make the batch of a day hold the `kept` files, which stand in it, and the `fresh` ones, which are moved into it.

        `ranges` say what was taken of a source that grows. The delivery that stood there before is kept in its drawer.

        Run again after a kill, with the same files, it leaves the same batch.
        """
        folder = self.folder(day)
        standing = self.manifest(day)
        files = {file.name: file for file in kept}
        taken = set(files) | {file.name for file in standing.files} if standing else set(files)
        folder.mkdir(parents=True, exist_ok=True)
        for file in fresh:
            name = _free(file.name, taken)
            taken.add(name)
            self._place(file, folder / name)
            files[name] = Delivered(name=name, sha256=file.sha256, bytes=file.bytes, rows=file.rows, origin=file.origin)
        manifest = Manifest(
            tenant=self.tenant.slug,
            dataset=self.source.dataset,
            source=self.source.name,
            received_on=day,
            files=tuple(files[name] for name in sorted(files)),
            taken_at=datetime.now(UTC),
            ranges=tuple(ranges),
        )
        if standing and standing.files and standing.contents != manifest.contents:
            self.drawer(day).keep(standing)
        self._sweep(folder, set(files) | taken)  # what a killed run put there for a manifest that it never wrote
        write_manifest(self.settings, self.tenant, manifest)
        self.sweep(manifest)
        return manifest

    def withdraw(self, day: date) -> None:
        """Let no batch stand for a day. Run again after a kill, it leaves the same."""
        (self.folder(day) / MANIFEST).unlink(missing_ok=True)
        self._sweep(self.folder(day), set())

    def drawer(self, day: date) -> Drawer:
        """What stood as the batch of a day before."""
        return Drawer(self.settings, self.tenant, self.source.dataset, self.source.name, day)

    def is_refused(self, day: date, offered: Iterable[Staged], taken: Taken) -> bool:
        """Whether what the source offers for a day is, as a whole, what somebody took back; says so.

        A state that was taken back is refused whatever the night, since the source offers it night after night.
        """
        asked = [self.drawer(day)] if self.source.is_daily else drawers(self.settings, self.tenant, self.source.dataset, self.source.name)
        step = refusal_of(frozenset(file.content for file in offered), asked)
        if step is not None:
            taken.warnings.append(f"{self.source.name}: what it offers for {day} {refused(step)}")
        return step is not None

    def steps_since(self, since: datetime) -> list[str]:
        """What people have done to this source's deliveries, for whoever wonders why a day's numbers are others."""
        found = last_steps(self.settings, self.tenant, self.source.dataset, self.source.name)
        return [
            f"{self.source.name}: of {day}, {'another' if step.to else 'no'} delivery stands since {step.at:%Y-%m-%d} ({step.reason})"
            for day, step in found.items()
            if step.at >= since
        ]

    def _place(self, file: Staged, place: Path) -> None:
        """Move a file to its place: sealed, if the tenant's files are encrypted, or if it would be taken for a sealed one."""
        key = at_rest.landing_key(self.settings, self.tenant) if self.tenant.encrypts_landing else None
        if file.stood or (key is None and not at_rest.is_sealed(file.path)):
            file.path.replace(place)
            return
        sealed = file.path.with_name(f".{file.path.name}.sealed")
        at_rest.seal(file.path, sealed, key, is_plain=True)
        sealed.replace(place)
        file.path.unlink()

    def sweep(self, manifest: Manifest) -> None:
        """Remove from a batch's folder what its manifest does not name."""
        self._sweep(self.folder(manifest.received_on), {file.name for file in manifest.files})

    def _sweep(self, folder: Path, named: set[str]) -> None:
        for path in folder.iterdir():
            if path.name != MANIFEST and path.name not in named:
                path.unlink()

    @contextmanager
    def taking(self, purpose: str, *, wait_seconds: float = _WAIT_SECONDS) -> Iterator[Path]:
        """A folder for what is half taken, ours alone while the block runs; what a killed run left there for the same `purpose` is still
        in it, what it left for others is removed. Raises what `alone` raises.
        """
        with alone(self.settings, self.tenant, self.source.name, wait_seconds=wait_seconds) as around:
            for other in around.iterdir():
                if other.is_dir() and other.name != purpose:
                    shutil.rmtree(other)
            folder = around / purpose
            folder.mkdir(exist_ok=True)
            yield folder
            shutil.rmtree(folder)


@contextmanager
def alone(settings: Settings, tenant: Tenant, source: str, *, wait_seconds: float = _WAIT_SECONDS) -> Iterator[Path]:
    """The folder of what is half taken from a source, while nobody else changes its batches.

    Raises LeaseHeld if another run takes from it for longer than `wait_seconds`, and DiskFull for whatever the block writes.
    """
    around = tenant.lake_folder(settings.lake_root) / "landing" / _TAKING / source
    with _diagnosed(tenant, around):
        around.mkdir(parents=True, exist_ok=True)
        lock = os.open(around / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _wait_for(lock, tenant, source, wait_seconds)
            yield around
        finally:
            os.close(lock)  # which gives the lock back, as the end of a killed process does


def in_turn(
    settings: Settings, tenant: Tenant, sources: Iterable[str], work: Callable[[str, Path], Iterable[Entry]], *, left: str
) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """Do `work` for each source, alone with it: (what came of it, warnings of sources being taken from, for which it is `left`)."""
    entries: list[Entry] = []
    warnings = []
    for source in sorted(sources):
        try:
            with alone(settings, tenant, source, wait_seconds=_WAIT_SECONDS) as around:
                entries += work(source, around)
        except LeaseHeld as held:
            warnings.append(f"{source}: {held.what} {left}")
    return tuple(entries), tuple(warnings)


def _wait_for(lock: int, tenant: Tenant, source: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LeaseHeld(
                    f"Another run is taking from source {source}, and still was after {seconds:.0f} s.",
                    next_step="Nothing: the task is tried again by itself when that run has finished.",
                    tenant=tenant.slug,
                ) from None
            time.sleep(0.1)
        else:
            return


@contextmanager
def _diagnosed(tenant: Tenant, folder: Path) -> Iterator[None]:
    """Turn a full disk into DiskFull."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise DiskFull(
            f"There is no space left below {folder}.",
            next_step="Make room there; the task is tried again by itself and goes on where it stopped.",
            tenant=tenant.slug,
        ) from error


def write(path: Path, chunks: Iterable[bytes]) -> tuple[int, str]:
    """Write `chunks` to `path`, which appears whole or not at all; (size, SHA-256)."""
    fresh = path.with_name(f".{path.name}")
    digest, size, synced_size = hashlib.sha256(), 0, 0
    with fresh.open("wb") as file, ThreadPoolExecutor(2) as beside:  # hashing and the disk each take longer than reading
        hashed, synced = beside.submit(digest.update, b""), beside.submit(os.fsync, file.fileno())
        for chunk in chunks:
            hashed.result()
            hashed = beside.submit(digest.update, chunk)
            file.write(chunk)
            size += len(chunk)
            if size - synced_size >= _SYNCED and synced.done():
                synced.result()
                synced, synced_size = beside.submit(os.fsync, file.fileno()), size
        hashed.result()
        synced.result()
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return size, digest.hexdigest()


def seal(path: Path) -> tuple[int, str]:
    """See that what was written to `path` is on the disk; (size, SHA-256)."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        os.fsync(file.fileno())
        for chunk in chunks_of(file.fileno()):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def chunks_of(descriptor: int) -> Iterator[bytes]:
    """The bytes of an open file."""
    while chunk := os.read(descriptor, _CHUNK):
        yield chunk


def refused(step: Step) -> str:
    """What to say of a delivery that was taken back."""
    return f"was taken back on {step.at:%Y-%m-%d} ({step.reason}) and is not taken again; `nocturne deliveries restore` does so"


def _free(name: str, taken: set[str]) -> str:
    """`name`, or the first of `2-name`, `3-name`, ... that is free."""
    wanted, version = name, 1
    while wanted in taken or wanted == MANIFEST:
        version += 1
        wanted = f"{version}-{name}"
    return wanted
