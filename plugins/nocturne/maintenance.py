"""Station: what the lake no longer needs goes, and no row changes.

    merged      small files of one part of a table become one
    ordered     large days of silver that were written since stand in the order of their listeners: one listener's rows are read from a
                few groups of rows, and take less room
    removed     files that no version of the last `keep_hours` names: those of replaced dates and batches, and those of killed writers
    temporary   what killed processes left below `var/tmp` more than a day ago

Old versions of a table can be read (and restored) as long as their files stand. The warehouse finds out what differs from the files that
it loaded; where those are gone, it loads the whole date again when the date changes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from nocturne.datasets import DATASETS
from nocturne.keys import sweep_keys
from nocturne.lake import Connection, Layer, Table, duck, table
from nocturne.ledger import Marks
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

_LAYERS: Final[tuple[Layer, ...]] = ("bronze", "silver", "quarantine")
_LISTENER: Final = "listener_key"
_DAY_SECONDS: Final = 86_400


def tidy_lake(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Merge the small files of a tenant's tables, order its large ones, remove what no kept version names and what killed processes left.

    Reads the Delta logs; writes commits that change no row, and removes files. Neither marks nor rows depend on it: run again, or killed
    anywhere, it leaves the same tables. Raises TransientError if commits meet others every time.
    """
    started = datetime.now(UTC)
    with duck(settings) as connection:
        entries = [_tidied(connection, one, layer, settings.keep_hours) for layer, one in _tables(tenant, settings)]
    entries.append(Entry(name="temporary", counts={"removed": _sweep(settings.var / "tmp", time.time() - _DAY_SECONDS)}))
    return Receipt(
        tenant=tenant.slug,
        day=day,
        station="tidy_lake",
        started_at=started,
        finished_at=datetime.now(UTC),
        entries=tuple(entries),
    )


def _tables(tenant: Tenant, settings: Settings) -> Iterator[tuple[Layer, Table]]:
    """All that stand, those of datasets that the tenant no longer declares among them."""
    for layer in _LAYERS:
        for dataset in DATASETS.values():
            if (found := table(settings, tenant, layer, dataset)).exists():
                yield layer, found


def _tidied(connection: Connection, one: Table, layer: Layer, hours: int) -> Entry:
    before = len(one.files())
    one.optimise()
    merged = before - len(one.files())
    has_listeners = layer == "silver" and one.partition and _LISTENER in dict(one.columns)
    ordered = one.cluster(connection, _LISTENER) if has_listeners else 0
    removed = one.vacuum(hours)
    if layer == "bronze":
        sweep_keys(one)
    counts = {"merged": merged, "ordered": ordered, "removed": len(removed)}
    return Entry(name=f"{layer}/{one.path.name}", skipped=not any(counts.values()), counts=counts)


def _sweep(folder: Path, before: float) -> int:
    """Remove what was last changed before this instant, two levels below `folder`: a process at work keeps a folder of its own there."""
    removed = 0
    for place in folder.glob("*/*"):
        try:
            if _changed_at(place) >= before:
                continue
            shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
            removed += 1
        except FileNotFoundError:
            pass  # its process, or another tenant's task, was faster
    return removed


def _changed_at(place: Path) -> float:
    """When anything in it was last changed."""
    inside = place.rglob("*") if place.is_dir() and not place.is_symlink() else ()
    changed: float = max(path.lstat().st_mtime for path in (place, *inside))
    return changed
