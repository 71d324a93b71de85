"""What stands in landing: one batch a source and day, its raw files as they were delivered, and a manifest that names them.

    <lake>/<slug>/landing/<dataset>/received_on=<D>/<source>/
        <raw files as delivered>
        manifest.json           written last: a folder without it is no batch (yet)
    <lake>/<slug>/landing/<dataset>/.kept/      what stood there before (see `landing.drawers`)

`landing` writes this, `bronze` reads it; they meet here. The batch's id is `<source>/<D>`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from nocturne.errors import DeliveryError
from nocturne.settings import Settings
from nocturne.tenants import Tenant

MANIFEST = "manifest.json"
_PREFIX = "received_on="


Content = tuple[str, str]
"""What one raw file says: where it was taken from, and the SHA-256 of its bytes."""


class Delivered(BaseModel):
    """One raw file of a batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[^/\\\x00]+$", description="Its name in the batch's folder.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    rows: int | None = Field(None, ge=0, description="Rows, where the source itself says so; else bronze counts them.")
    origin: str = Field(description="Where it was taken from: a path or an address, without secrets.")

    @property
    def content(self) -> Content:
        """What it says."""
        return self.origin, self.sha256

    @model_validator(mode="after")
    def _plain(self) -> Self:
        if self.name in {".", "..", MANIFEST}:
            raise ValueError(f"a delivered file cannot be called {self.name!r}")
        return self


class Range(BaseModel):
    """What a batch took of a source that grows: all after `since` (None: from the beginning) up to and with `until`, as text.

    The next night goes on from `until`. `part` says of what: a field, a column, a partition (whose offsets are, as Kafka's own, those of
    the message that comes next). `lost`: of how much the source itself said that it was there, but could not give it any more. `ever`: how
    much the source said it had ever held at `until`, where it counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: str
    since: str | None = None
    until: str
    lost: int = Field(0, ge=0)
    ever: int | None = None


class Manifest(BaseModel):
    """One batch: what one source delivered for one day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: str
    dataset: str
    source: str
    received_on: date
    files: tuple[Delivered, ...]
    taken_at: AwareDatetime
    ranges: tuple[Range, ...] = Field((), description="Of a source that grows: what of it this batch took.")

    @model_validator(mode="after")
    def _sorted(self) -> Self:
        names = [file.name for file in self.files]
        if names != sorted(set(names)):
            raise ValueError("the files of a manifest are sorted by name, and none stands twice")
        return self

    @property
    def batch(self) -> str:
        """The batch's id."""
        return batch_id(self.source, self.received_on)

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(file.bytes for file in self.files)

    @property
    def contents(self) -> frozenset[Content]:
        """What was delivered, whatever its files are called here."""
        return frozenset(file.content for file in self.files)

    @cached_property
    def fingerprint(self) -> str:
        """What was delivered: names, sizes and contents of the files, not when or from where they were taken."""
        told = [self.tenant, self.dataset, self.batch, *((file.name, file.bytes, file.sha256) for file in self.files)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def batch_id(source: str, received_on: date) -> str:
    """Id of the batch that `source` delivered for a day."""
    return f"{source}/{received_on.isoformat()}"


def landing_folder(settings: Settings, tenant: Tenant, dataset: str) -> Path:
    """Where the batches of a dataset stand."""
    return tenant.lake_folder(settings.lake_root) / "landing" / dataset


def batch_folder(settings: Settings, tenant: Tenant, dataset: str, source: str, received_on: date) -> Path:
    """Where the files and the manifest of one batch stand."""
    return landing_folder(settings, tenant, dataset) / f"{_PREFIX}{received_on.isoformat()}" / source


def folder_of(settings: Settings, tenant: Tenant, manifest: Manifest) -> Path:
    """Where the files of this manifest stand."""
    return batch_folder(settings, tenant, manifest.dataset, manifest.source, manifest.received_on)


def write_manifest(settings: Settings, tenant: Tenant, manifest: Manifest) -> Path:
    """Write a batch's manifest into its folder at once (a reader sees the earlier one or this one, whole); its path.

    Writes one file. Run again, it writes the same. The raw files must stand, complete, before it is called.
    """
    folder = folder_of(settings, tenant, manifest)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MANIFEST
    write_whole(path, f"{manifest.model_dump_json(indent=1)}\n".encode())
    return path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of which a reader sees what stood before or this, whole. Run again, it writes the same."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read_manifests(settings: Settings, tenant: Tenant, dataset: str) -> dict[str, Manifest]:
    """Read the batches of a dataset, by id, sorted by day and source.

    Raises DeliveryError if a manifest is broken, or speaks of another batch than the one whose folder it stands in.
    """
    folder = landing_folder(settings, tenant, dataset)
    found = []
    for path in folder.glob(f"{_PREFIX}*/*/{MANIFEST}"):
        manifest = _read(path, tenant)
        if manifest.tenant != tenant.slug or path.parent != folder_of(settings, tenant, manifest):
            raise _broken(path, tenant, f"it speaks of {manifest.tenant}, {manifest.dataset}, {manifest.batch}")
        found.append(manifest)
    return {manifest.batch: manifest for manifest in _in_order(found)}


def _read(path: Path, tenant: Tenant) -> Manifest:
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise _broken(path, tenant, error.strerror or str(error)) from error
    except ValidationError as error:
        raise _broken(path, tenant, str(error.errors(include_input=False, include_url=False)[0]["msg"])) from error


def _broken(path: Path, tenant: Tenant, reason: str) -> DeliveryError:
    return DeliveryError(
        f"The manifest {path} cannot be read: {reason}.",
        next_step="Remove the folder that it stands in and run `land` again: it takes the batch anew.",
        tenant=tenant.slug,
    )


def _in_order(manifests: Iterable[Manifest]) -> list[Manifest]:
    return sorted(manifests, key=lambda manifest: (manifest.received_on, manifest.source))
