"""The files that a tenant's sources of kind `files` declare, filled from its world.

The same world gives the same bytes in every process. A file stands whole or not at all, and what stands already is not written again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import pyarrow as pa

from nocturne.asking import NextUrl
from nocturne.datasets import DATASETS
from nocturne.errors import TenantError
from nocturne.settings import Settings
from nocturne.simulator.damage import IN_TEXT_ONLY
from nocturne.simulator.foreign import Foreign, foreign
from nocturne.simulator.parameters import demo_worlds
from nocturne.simulator.text import Text, as_bytes, header, lines
from nocturne.simulator.world import Delivery, World
from nocturne.tenants import Source, Tenant

_RECORD = ".simulator"
_NO_INSTANT = "2026-02-30T25:61:00"


def content(made: Foreign, delivery: Delivery, form: Text) -> Iterator[bytes | memoryview]:
    """The bytes of a delivery as lines of text, before compression."""
    if form == "csv":
        yield header([*made.constants, *(field.name for field in made.fields)])
    for batch in delivery.rows.to_batches():
        for text in lines(made.rows(batch), form) if len(batch) else ():
            yield as_bytes(text)
    for flaw, rows in delivery.broken.items():
        columns = made.rows(rows)
        if flaw == "unreadable_instant":
            columns = [(name, pa.array([_NO_INSTANT] * len(rows)) if name == made.instant else values) for name, values in columns]
        for text in lines(columns, form):
            yield as_bytes(text) if flaw != "unparsable_line" else b"".join(_cut(line, form) for line in text.to_pylist())


def _cut(line: str, form: Text) -> bytes:
    """A line that ends too early: in the middle of its JSON, or after its second column."""
    part = ",".join(line.split(",")[:2]) if form == "csv" else line[: len(line) // 2]
    return part.encode() + b"\n"


def typed(made: Foreign, delivery: Delivery) -> pa.Table:
    """A delivery as a table in the source's columns, for formats that carry types: instants and lines that could not be read are NULL."""
    broken = (_without_instant(rows, made.instant_of) if flaw in IN_TEXT_ONLY else rows for flaw, rows in delivery.broken.items())
    tables = [_table(made.rows(batch)) for rows in (delivery.rows, *broken) for batch in rows.to_batches()]
    return pa.concat_tables(tables) if tables else _table(made.rows(delivery.rows.combine_chunks()))


def _table(columns: Sequence[tuple[str, pa.Array]]) -> pa.Table:
    plain = [values.dictionary_decode() if isinstance(values, pa.DictionaryArray) else values for _, values in columns]
    return pa.table(plain, names=[name for name, _ in columns])


def _without_instant(rows: pa.Table, instant: str | None) -> pa.Table:
    at = rows.schema.get_field_index(instant)
    return rows.set_column(at, rows.schema.field(at), pa.nulls(len(rows), rows.schema.field(at).type))


@dataclass(frozen=True)
class Written:
    """What a call wrote: files, rows and bytes (as they stand on disk), and the files that stood already."""

    files: int = 0
    rows: int = 0
    bytes: int = 0
    kept: int = 0

    def __add__(self, other: Written) -> Written:
        return Written(self.files + other.files, self.rows + other.rows, self.bytes + other.bytes, self.kept + other.kept)


@dataclass(frozen=True)
class _Job:
    """One file to write: its path, the sources that share it, and the day that it is for (None: the state as of `up_to`)."""

    path: Path
    sources: tuple[tuple[Source, Foreign], ...]
    day: date | None
    fingerprint: str


def write_sources(
    tenant: Tenant, world: World, root: Path, *, up_to: date | None = None, days: Iterable[date] | None = None, threads: int = 2
) -> Written:
    """Write what the tenant's sources of kind `files` deliver on `days` (default: all of the world's up to `up_to`).

    A reference source with `{day}` delivers what changed that day, one without it the state as of `up_to`; a day without rows has no file.
    A `*` in a location becomes `0`. Reads nothing but the record of what it wrote; writes below `root`, each file whole or not at all. A
    re-run writes what is missing or belongs to other parameters. Raises TenantError for a mapping that it cannot invert.
    """
    up_to = min(up_to or world.parameters.last_day, world.parameters.last_day)
    wanted = [day for day in (world.days if days is None else sorted(set(days))) if day <= up_to]
    record = _Record(root / _RECORD / f"{tenant.slug}.json")
    planned = _jobs(tenant, world, root, wanted, up_to)
    jobs = [job for job in planned if not record.holds(job)]
    if not jobs:
        return Written(kept=len(planned))
    world.prepare()
    total = Written(kept=len(planned) - len(jobs))
    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="sources") as pool:
        for begin in range(0, len(jobs), 64):
            part = jobs[begin : begin + 64]
            done = list(pool.map(lambda job: _write(world, job, up_to), part))
            record.add(part)
            total = sum(done, total)
    return total


def write_demo_sources(tenant: Tenant, settings: Settings) -> Written:
    """Write all sources of a demo tenant below the installation's sources. Raises TenantError if it has no demo world."""
    worlds = demo_worlds()
    if tenant.slug not in worlds:
        raise TenantError("This tenant has no demo world.", next_step=f"There are {', '.join(worlds)}.", tenant=tenant.slug)
    return write_sources(tenant, World(worlds[tenant.slug]), settings.sources_root)


@cache
def _code() -> str:
    """Digest of the simulator's own code: what an earlier version of it wrote is written again."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _jobs(tenant: Tenant, world: World, root: Path, days: Sequence[date], up_to: date) -> list[_Job]:
    shared: dict[str, list[Source]] = {}
    for source in tenant.sources:
        if source.kind == "files" and source.dataset in world.datasets:
            shared.setdefault(source.location, []).append(source)
    jobs = []
    for location, sources in shared.items():
        if Path(location).is_absolute():
            raise TenantError(
                f"{location} stands outside of {root}.", next_step="Name a place below the sources' root.", tenant=tenant.slug
            )
        if len(sources) > 1 and any(source.format != "ndjson" for source in sources):
            raise TenantError(
                f"The sources {', '.join(s.name for s in sources)} share {location}.",
                next_step="Only NDJSON is shared.",
                tenant=tenant.slug,
            )
        made = tuple((source, foreign(tenant, source)) for source in sources)
        which: list[date | None] = [*days] if sources[0].is_daily else [None]
        for day in which:
            path = root / location.replace("{day}", (day or up_to).isoformat()).replace("*", "0")
            told = (_code(), world.parameters.model_dump_json(), *(source.fingerprint for source in sources), str(day or f"as of {up_to}"))
            jobs.append(_Job(path, made, day, hashlib.sha256("\x1f".join(told).encode()).hexdigest()[:32]))
    return sorted(jobs, key=lambda job: (job.day or up_to, str(job.path)))  # what the sources of a day share is then made once


def _write(world: World, job: _Job, up_to: date) -> Written:
    deliveries = [(made, _delivery(world, source.dataset, job.day, up_to)) for source, made in job.sources]
    rows = sum(len(delivery) for _, delivery in deliveries)
    if rows == 0:
        job.path.unlink(missing_ok=True)
        return Written()
    job.path.parent.mkdir(parents=True, exist_ok=True)
    fresh = job.path.with_name(f".{job.path.name}.{os.getpid()}.tmp")
    try:
        _put(job.sources[0][0], deliveries, fresh, compressed=job.path.suffix == ".gz")
        size = fresh.stat().st_size
        fresh.replace(job.path)
    finally:
        fresh.unlink(missing_ok=True)
    return Written(1, rows, size)


def _delivery(world: World, dataset: str, day: date | None, up_to: date) -> Delivery:
    if day is not None:
        return world.delivered(dataset, day)
    if DATASETS[dataset].kind == "reference":
        rows = world.reference(dataset, up_to)
        return Delivery(rows, {"first": len(rows)})
    rows = pa.concat_tables([world.delivered(dataset, on).rows for on in world.days if on <= up_to])
    return Delivery(rows, {"first": len(rows)})


def _put(source: Source, deliveries: Sequence[tuple[Foreign, Delivery]], path: Path, *, compressed: bool) -> None:
    if source.format == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(typed(*deliveries[0]), path, compression="zstd")
        return
    with path.open("wb") as raw:
        # level 1, and neither name nor time in the header: the same bytes every time
        out = gzip.GzipFile("", "wb", 1, raw, mtime=0) if compressed else raw
        if source.format == "json":
            out.write(page(records(typed(*deliveries[0])), source))
        else:
            for made, delivery in deliveries:
                for part in content(made, delivery, "csv" if source.format == "csv" else "ndjson"):
                    out.write(part)
        if out is not raw:
            out.close()


def page(rows: Sequence[bytes], source: Source, following: str | None = None) -> bytes:
    """A page of JSON as the source declares it: the bare array, or an object with its `records` (and the next page's address)."""
    array = b"[" + b",\n".join(rows) + b"]"
    if source.records is None:
        return array + b"\n"
    more = f",{json.dumps(source.paging.field)}:{json.dumps(following)}".encode() if isinstance(source.paging, NextUrl) else b""
    return b"{" + json.dumps(source.records).encode() + b":" + array + more + b"}\n"


def records(rows: pa.Table) -> list[bytes]:
    """Each row of a typed table as one JSON object."""
    columns = [(name, rows[name].combine_chunks()) for name in rows.column_names]
    return [line[:-1].encode() for text in (lines(columns, "ndjson") if len(rows) else ()) for line in text.to_pylist()]


class _Record:
    """What was written from what: a file beside the sources, so that a re-run writes nothing that is there already."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._known: dict[str, list[str | int]] = json.loads(path.read_text())
        except (OSError, ValueError):
            self._known = {}

    def holds(self, job: _Job) -> bool:
        """Whether the job's file stands as it was written, or was found to be empty."""
        fingerprint, size = self._known.get(str(job.path), ("", -1))
        return fingerprint == job.fingerprint and (job.path.stat().st_size if job.path.exists() else 0) == size

    def add(self, jobs: Sequence[_Job]) -> None:
        """Remember these jobs' files."""
        self._known |= {str(job.path): [job.fingerprint, job.path.stat().st_size if job.path.exists() else 0] for job in jobs}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(self._known, indent=0, sort_keys=True))
        fresh.replace(self.path)


__all__ = ["Written", "content", "lines", "records", "typed", "write_demo_sources", "write_sources"]
