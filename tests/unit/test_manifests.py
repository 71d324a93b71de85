"""Manifests: what a batch is, and that a reader sees a whole one or none."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from nocturne.errors import DeliveryError
from nocturne.manifests import MANIFEST, Delivered, Manifest, batch_id, folder_of, landing_folder, read_manifests, write_manifest
from nocturne.settings import Settings
from nocturne.tenants import Tenant

DAY = date(2026, 3, 1)
TENANT = Tenant.model_validate(
    {
        "slug": "acme",
        "name": "Acme",
        "time_zone": "Europe/Paris",
        "currency": "EUR",
        "begins_on": "2026-01-01",
        "sources": [{"name": "app", "dataset": "plays", "kind": "files", "location": "plays/{day}.ndjson"}],
    }
)


def manifest(day: date = DAY, source: str = "app", **changes: Any) -> Manifest:
    files = (Delivered(name="a.ndjson", sha256="0" * 64, bytes=3, origin="plays/a.ndjson"),)
    return Manifest(
        **{"tenant": "acme", "dataset": "plays", "source": source, "received_on": day, "files": files, "taken_at": datetime.now(UTC)}
        | changes
    )


def test_a_batch_is_called_after_its_source_and_its_day() -> None:
    assert manifest().batch == batch_id("app", DAY) == "app/2026-03-01"


def test_what_was_written_is_read_by_day_and_source(settings: Settings) -> None:
    written = [manifest(date(2026, 3, 2)), manifest(DAY, "web"), manifest(DAY, "app")]
    for one in written:
        write_manifest(settings, TENANT, one)
    found = read_manifests(settings, TENANT, "plays")
    assert list(found) == ["app/2026-03-01", "web/2026-03-01", "app/2026-03-02"]
    assert sorted(found.values(), key=repr) == sorted(written, key=repr)


def test_a_folder_without_a_manifest_is_no_batch(settings: Settings) -> None:
    folder = folder_of(settings, TENANT, manifest())
    folder.mkdir(parents=True)
    (folder / "a.ndjson").write_text("{}")
    assert read_manifests(settings, TENANT, "plays") == {}


def test_a_manifest_is_replaced_whole_and_leaves_nothing_beside_it(settings: Settings) -> None:
    write_manifest(settings, TENANT, manifest())
    path = write_manifest(settings, TENANT, manifest(files=()))
    assert read_manifests(settings, TENANT, "plays")["app/2026-03-01"].files == ()
    assert [file.name for file in path.parent.iterdir()] == [MANIFEST]


def test_the_fingerprint_tells_what_was_delivered_not_when_nor_from_where() -> None:
    elsewhere = (Delivered(name="a.ndjson", sha256="0" * 64, bytes=3, rows=1, origin="elsewhere"),)
    other = (Delivered(name="a.ndjson", sha256="1" * 64, bytes=3, origin="plays/a.ndjson"),)
    assert manifest().fingerprint == manifest(files=elsewhere, taken_at=datetime(2020, 1, 1, tzinfo=UTC)).fingerprint
    assert manifest().fingerprint != manifest(files=other).fingerprint
    assert manifest().fingerprint != manifest(source="web").fingerprint


@pytest.mark.parametrize("name", ["../a", "a/b", "", ".", "..", "a\0b", MANIFEST])
def test_a_delivered_file_cannot_lead_out_of_its_folder(name: str) -> None:
    with pytest.raises(ValidationError):
        Delivered(name=name, sha256="0" * 64, bytes=0, origin="x")


def test_files_are_sorted_and_stand_once() -> None:
    a, b = (Delivered(name=name, sha256="0" * 64, bytes=0, origin="x") for name in "ab")
    for files in ((b, a), (a, a)):
        with pytest.raises(ValidationError, match="sorted by name"):
            manifest(files=files)


@pytest.mark.parametrize("content", ["", "{", '{"tenant": "acme"}', "\0\xff"])
def test_a_broken_manifest_is_named(settings: Settings, content: str) -> None:
    path = write_manifest(settings, TENANT, manifest())
    path.write_text(content)
    with pytest.raises(DeliveryError, match="manifest.json cannot be read") as error:
        read_manifests(settings, TENANT, "plays")
    assert "Remove the folder" in str(error.value)


def test_a_manifest_that_speaks_of_another_batch_is_refused(settings: Settings) -> None:
    path = write_manifest(settings, TENANT, manifest())
    copied = landing_folder(settings, TENANT, "plays") / "received_on=2026-03-09" / "app"
    copied.mkdir(parents=True)
    Path(copied / MANIFEST).write_bytes(path.read_bytes())
    with pytest.raises(DeliveryError, match="speaks of acme, plays, app/2026-03-01"):
        read_manifests(settings, TENANT, "plays")
