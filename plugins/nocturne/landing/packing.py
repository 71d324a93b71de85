"""Station: raw files of landing stand packed, and encrypted where the tenant's file says so (`at_rest` says how)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from nocturne import at_rest
from nocturne.datasets import DATASETS
from nocturne.landing.batches import in_turn
from nocturne.landing.drawers import drawers
from nocturne.ledger import Marks, utc_now
from nocturne.manifests import Manifest, folder_of, read_manifests
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

_WORTH_PACKING: Final = 4096
"""Bytes: a smaller file takes a block of the disk either way."""
_SAVING: Final = 0.9

Stood = tuple[Manifest, Path]
"""What was delivered, and the folder of its files."""


def pack_landing(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Pack what was received more than `pack_days` before `day`, where that saves a tenth; of a tenant that encrypts, encrypt all.

    Reads manifests, of sources that are no longer declared and of deliveries that are kept too; replaces raw files, each at once, by the
    same content in another form. Neither manifests nor marks change. Run again, or killed anywhere, it does what is left. A source that is
    being taken from waits for the next run. Raises DeliveryError for a manifest that cannot be read, DiskFull.
    """
    started = utc_now()
    found: dict[str, list[Stood]] = defaultdict(list)
    for dataset in DATASETS:
        for manifest, folder in _standing(tenant, dataset, settings):
            if tenant.encrypts_landing or manifest.received_on < day - timedelta(days=settings.pack_days):
                found[manifest.source].append((manifest, folder))

    def pack(source: str, around: Path) -> list[Entry]:
        return [_packed(source, found[source], tenant, settings, around)]

    entries, warnings = in_turn(settings, tenant, found, pack, left="The next run packs it.")
    return Receipt(
        tenant=tenant.slug, day=day, station="pack_landing", started_at=started, finished_at=utc_now(),
        entries=entries, warnings=warnings,
    )  # fmt: skip


def _standing(tenant: Tenant, dataset: str, settings: Settings) -> Iterator[Stood]:
    """The batches of a dataset, and the deliveries that are kept."""
    for manifest in read_manifests(settings, tenant, dataset).values():
        yield manifest, folder_of(settings, tenant, manifest)
    for drawer in drawers(settings, tenant, dataset):
        for kept in drawer.deliveries():
            yield kept.manifest, drawer.files(kept.number)


def _packed(source: str, stood: Sequence[Stood], tenant: Tenant, settings: Settings, around: Path) -> Entry:
    key = at_rest.landing_key(settings, tenant) if tenant.encrypts_landing else None
    files, saved = 0, 0
    for manifest, folder in stood:
        for file in manifest.files:
            place = folder / file.name
            # What is not there any more, or not as that manifest says, was taken anew since: it is as it should be.
            if place.is_file() and at_rest.size_as_delivered(place) == file.bytes and _is_due(place, file.bytes, key):
                before = place.stat().st_size
                if _seal(place, around / "packing", key):
                    files, saved = files + 1, saved + before - place.stat().st_size
    return Entry(name=source, skipped=not files, counts={"files": files, "bytes_saved": saved})


def _is_due(place: Path, size: int, key: bytes | None) -> bool:
    if key:
        return not at_rest.is_encrypted(place)
    return size >= _WORTH_PACKING and not at_rest.is_sealed(place)


def _seal(place: Path, fresh: Path, key: bytes | None) -> bool:
    """Replace a file by its sealed form; without a key only if that is worth it."""
    at_rest.seal(place, fresh, key)
    if key is None and fresh.stat().st_size >= _SAVING * place.stat().st_size:
        fresh.unlink()
        return False
    fresh.replace(place)
    return True
