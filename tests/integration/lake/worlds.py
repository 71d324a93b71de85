"""A small world for bronze and silver: a tenant whose sources put files into landing, night after night, and what silver must hold then.

`Night` plays the rooms around ours: landing (files and manifest), the gate (lets everything pass, or not). `silver_of` is the oracle: the
stated rules in plain Python, over the rows as they were delivered.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from nocturne.bronze import load_bronze
from nocturne.lake import duck, table
from nocturne.ledger import Mark, Marks, MemoryMarks
from nocturne.manifests import Delivered, Manifest, batch_folder, write_manifest
from nocturne.receipts import Receipt
from nocturne.settings import Settings
from nocturne.silver import refine_silver
from nocturne.silver.pseudonyms import pseudonym, tenant_key
from nocturne.tenants import Tenant

Row = dict[str, Any]
FIRST = date(2026, 3, 1)
ZONE = "Europe/Paris"
PLAYS = {"name": "app", "dataset": "plays", "kind": "files", "location": "plays/{day}.ndjson"}
WEB = {**PLAYS, "name": "web", "location": "web/{day}.ndjson"}
ARTISTS = {"name": "artists", "dataset": "artists", "kind": "files", "location": "artists/*.ndjson"}


def tenant_with(*sources: Mapping[str, Any], **changes: Any) -> Tenant:
    declared = {"slug": "acme", "name": "Acme", "time_zone": ZONE, "currency": "EUR", "begins_on": FIRST.isoformat()}
    return Tenant.model_validate({**declared, "sources": list(sources), **changes})


def day(number: int) -> date:
    """The days of a world are counted from 0."""
    return FIRST + timedelta(days=number)


def play(key: str, number: int, seconds: int = 43_200, **changes: Any) -> Row:
    """A play at some second (UTC) of a day."""
    instant = datetime.combine(day(number), datetime.min.time(), UTC) + timedelta(seconds=seconds)
    return {"play_id": key, "played_at": instant.isoformat(), "listener_id": "l1", "track_id": "t1", "ms_played": 1_000, **changes}


def ndjson(rows: Iterable[Row | str]) -> bytes:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()


@dataclass
class Night:
    """One tenant's landing, bronze and silver."""

    settings: Settings
    tenant: Tenant
    marks: Marks = field(default_factory=MemoryMarks)
    newest: date = FIRST
    """The last day that anything was received on: the business day of the stations' runs."""

    # the rooms before ours
    def deliver(self, source: str, received_on: date, files: Mapping[str, bytes] | Sequence[Row | str]) -> str:
        """Put a batch into landing (a list of rows: as one NDJSON file); its id."""
        contents = files if isinstance(files, Mapping) else {"a.ndjson": ndjson(files)}
        dataset = next(one.dataset for one in self.tenant.sources if one.name == source)
        folder = batch_folder(self.settings, self.tenant, dataset, source, received_on)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        told = []
        for name, content in sorted(contents.items()):
            (folder / name).write_bytes(content)
            told.append(Delivered(name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), origin="test"))
        manifest = Manifest(
            tenant=self.tenant.slug,
            dataset=dataset,
            source=source,
            received_on=received_on,
            files=tuple(told),
            taken_at=datetime.now(UTC),
        )
        write_manifest(self.settings, self.tenant, manifest)
        self.newest = max(self.newest, received_on)
        return manifest.batch

    def withdraw(self, source: str, received_on: date) -> None:
        """Remove a batch from landing."""
        dataset = next(one.dataset for one in self.tenant.sources if one.name == source)
        shutil.rmtree(batch_folder(self.settings, self.tenant, dataset, source, received_on))

    def gate(self, *, stopped: Iterable[str] = ()) -> None:
        """Let every batch pass as it stands in bronze, but those `stopped`."""
        for dataset in self.tenant.datasets:
            bronze = self.marks.marks(self.tenant, "bronze", dataset.name)
            passed = {batch: mark for batch, mark in bronze.items() if batch not in set(stopped)}
            told = {
                batch: Mark(f"{mark.fingerprint}:suite", {"passed": True, "bronze": mark.fingerprint}) for batch, mark in passed.items()
            }
            self.marks.mark(self.tenant, "gate_bronze", dataset.name, told)
            self.marks.unmark(self.tenant, "gate_bronze", dataset.name, stopped)

    # our rooms
    def load(self, on: date | None = None) -> Receipt:
        """Run `load_bronze`, of the newest day if none is said."""
        return load_bronze(self.tenant, on or self.newest, self.settings, self.marks)

    def refine(self) -> Receipt:
        """Run `refine_silver`."""
        return refine_silver(self.tenant, self.newest, self.settings, self.marks)

    def run(self) -> tuple[Receipt, Receipt]:
        """Bronze, gate, silver."""
        loaded = self.load()
        self.gate()
        return loaded, self.refine()

    # what stands
    def rows(self, layer: Any, dataset: str = "plays", columns: str = "*", order: str = "ALL") -> list[Row]:
        """The rows of a table."""
        with duck(self.settings) as connection:
            given = table(self.settings, self.tenant, layer, dataset)
            result = connection.execute(f"SELECT {columns} FROM {given.scan()} ORDER BY {order}")
            names = [column[0] for column in result.description]
            return [dict(zip(names, values, strict=True)) for values in result.fetchall()]

    def marks_of(self, station: str, dataset: str = "plays") -> dict[str, Mark]:
        """The marks of a station."""
        return self.marks.marks(self.tenant, station, dataset)


# the oracle ----------------------------------------------------------------------------------------------------------------------
Delivery = tuple[date, Row]
"""(received on, a delivered play)."""


def is_good(received_on: date, row: Row) -> bool:
    """Whether a delivered play (of those that worlds make) is good."""
    return bool(row["play_id"]) and row["ms_played"] >= 0 and event_date(row) <= received_on + timedelta(days=1)


def event_date(row: Row) -> date:
    return datetime.fromisoformat(row["played_at"]).astimezone(ZoneInfo(ZONE)).date()


def candidates_of(deliveries: Iterable[Delivery]) -> dict[str, dict[str, date]]:
    """Of each key the contents that may win (as JSON), and when each arrived."""
    arrived: dict[str, dict[str, date]] = {}
    for received_on, row in deliveries:
        if is_good(received_on, row):
            contents = arrived.setdefault(row["play_id"], {})
            content = json.dumps(row, sort_keys=True)
            contents[content] = min(received_on, contents.get(content, received_on))
    last = {key: max(contents.values()) for key, contents in arrived.items()}
    return {key: {content: on for content, on in contents.items() if on == last[key]} for key, contents in arrived.items()}


def assert_silver_is_right(night: Night, deliveries: Sequence[Delivery]) -> None:
    """Silver holds each key once, with a content that wins by the stated rule, at its own date; the counts add up."""
    key = tenant_key(night.settings, night.tenant)
    candidates = candidates_of(deliveries)
    silver = night.rows("silver", order="play_id")
    assert [row["play_id"] for row in silver] == sorted(candidates)
    for row in silver:
        possible = [
            (received_on, event_date(content), pseudonym(key, content["listener_id"]), content["ms_played"], content["track_id"])
            for content, received_on in ((json.loads(text), on) for text, on in candidates[row["play_id"]].items())
        ]
        assert (row["received_on"], row["played_on"], row["listener_key"], row["ms_played"], row["track_id"]) in possible
    good = sum(is_good(*delivery) for delivery in deliveries)
    told = [mark.facts for mark in night.marks_of("silver").values()]
    assert sum(fact["rows"] for fact in told) == len(silver)
    assert sum(fact["rows"] + fact["duplicates"] for fact in told) == good
    assert len(night.rows("quarantine")) == len(deliveries) - good


def silver_hash(night: Night) -> str:
    """A hash of all rows of silver of all datasets, sorted."""
    rows = {dataset.name: night.rows("silver", dataset.name) for dataset in night.tenant.datasets}
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def everything(night: Night) -> dict[str, Any]:
    """All that our rooms leave: the rows of each table, and the marks."""
    found: dict[str, Any] = {}
    for name in (dataset.name for dataset in night.tenant.datasets):
        found |= {f"{layer} {name}": night.rows(layer, name) for layer in ("bronze", "silver", "quarantine")}
        found |= {f"marks {station} {name}": night.marks_of(station, name) for station in ("bronze", "shapes", "silver", "quarantine")}
    return found
