"""The files that a tenant's sources of kind `files` declare, filled from its world.

Text is put together column by column in Arrow, never row by row: what few values share (all that a session says) is joined once and looked
up, so a line of a play costs some hundred nanoseconds. The same world gives the same bytes in every process.
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
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.datasets import DATASETS
from nocturne.errors import TenantError
from nocturne.settings import Settings
from nocturne.simulator.damage import IN_TEXT_ONLY
from nocturne.simulator.foreign import Foreign, foreign, iso
from nocturne.simulator.parameters import demo_worlds
from nocturne.simulator.world import Delivery, World
from nocturne.tenants import Source, Tenant

Text = Literal["ndjson", "csv"]
VERSION = "1"
"""Changes whenever the same parameters would give other bytes: files that an earlier version wrote are written again."""
_RECORD = ".simulator"
_CHUNK = 16_384
_NO_INSTANT = "2026-02-30T25:61:00"


# text ----------------------------------------------------------------------------------------------------------------------
@dataclass
class _Piece:
    """A part of every line: a constant, a column of texts, or texts that each row looks up."""

    constant: str = ""
    texts: pa.Array | None = None
    index: pa.Array | None = None

    def of(self, begin: int, length: int) -> pa.Array | str:
        if self.texts is None:
            return self.constant
        return self.texts.slice(begin, length) if self.index is None else self.texts.take(self.index.slice(begin, length))


def lines(columns: Sequence[tuple[str, pa.Array]], form: Text) -> Iterator[pa.Array]:
    """The rows as lines of text with their line end, in arrays of some ten thousand."""
    count = len(columns[0][1])
    pieces = _joined(_pieces(columns, form))
    for begin in range(0, count, _CHUNK):
        length = min(_CHUNK, count - begin)
        yield pc.binary_join_element_wise(*(piece.of(begin, length) for piece in pieces), "")


def header(columns: Sequence[str]) -> bytes:
    """The first line of a CSV file."""
    return (",".join(columns) + "\n").encode()


def _pieces(columns: Sequence[tuple[str, pa.Array]], form: Text) -> list[_Piece]:
    """The pieces of a line; neighbours among columns that look up by the same indices become one."""
    pieces: list[_Piece] = []
    for number, (name, values) in enumerate(_neighbours(columns) if form == "ndjson" else columns):
        before = "," if number else ""
        if form == "ndjson":
            before = ("," if number else "{") + json.dumps(name, ensure_ascii=False) + ":"
        pieces.append(_Piece(before))
        if isinstance(values, pa.DictionaryArray) and len(values.dictionary) <= len(values):
            texts, index = _texts(values.dictionary, form), values.indices
            if index.null_count:
                texts, index = pa.concat_arrays([texts, pa.array([_nothing(form)])]), pc.fill_null(index, len(texts))
            pieces.append(_Piece(texts=texts, index=index))
        else:
            plain = values.dictionary_decode() if isinstance(values, pa.DictionaryArray) else values
            pieces.append(_Piece(texts=_texts(plain, form)))
    pieces.append(_Piece("}\n" if form == "ndjson" else "\n"))
    return pieces


def _neighbours(columns: Sequence[tuple[str, pa.Array]]) -> list[tuple[str, pa.Array]]:
    """The columns, those that look up by the same indices beside each other."""
    groups: dict[object, list[tuple[str, pa.Array]]] = {}
    for name, values in columns:
        groups.setdefault(_indices_of(values) or name, []).append((name, values))
    return [column for group in groups.values() for column in group]


def _indices_of(values: pa.Array) -> tuple[int, int, int] | None:
    if not isinstance(values, pa.DictionaryArray) or values.indices.null_count:
        return None
    return values.indices.buffers()[1].address, values.indices.offset, len(values.dictionary)


def _joined(pieces: list[_Piece]) -> list[_Piece]:
    """Join constants with constants, and what is looked up by the same indices with the constants between, while it is still few."""
    done: list[_Piece] = []
    for piece in pieces:
        last = done[-1] if done else None
        before = done[-2] if len(done) > 1 else None
        if last and last.texts is None and piece.texts is None:
            done[-1] = _Piece(last.constant + piece.constant)
        elif last and before and last.texts is None and _same_index(before, piece):
            done[-2:] = [_Piece(texts=pc.binary_join_element_wise(before.texts, last.constant, piece.texts, ""), index=piece.index)]
        else:
            done.append(piece)
    return done


def _same_index(one: _Piece, other: _Piece) -> bool:
    if one.index is None or other.index is None or one.texts is None or other.texts is None or len(one.texts) != len(other.texts):
        return False
    same = one.index.buffers()[1].address == other.index.buffers()[1].address and one.index.offset == other.index.offset
    return same and len(one.index) == len(other.index) and one.index.type == other.index.type


def _nothing(form: Text) -> str:
    return "null" if form == "ndjson" else ""


def _texts(values: pa.Array, form: Text) -> pa.Array:
    """Each value as it stands in a line; NULL is `null` in JSON and nothing in CSV."""
    kind = values.type
    if pa.types.is_string(kind):
        texts = _quoted(values, form)
    elif pa.types.is_timestamp(kind):
        texts = _between_quotes(iso(values) if kind.tz else values.cast(pa.string()), form)
    elif pa.types.is_date(kind):
        texts = _between_quotes(values.cast(pa.string()), form)
    elif pa.types.is_decimal(kind):
        texts = pc.utf8_rtrim(pc.utf8_rtrim(values.cast(pa.string()), "0"), ".")
    else:
        texts = values.cast(pa.string())
    return pc.fill_null(texts, _nothing(form)) if texts.null_count else texts


def _between_quotes(values: pa.Array, form: Text) -> pa.Array:
    return values if form == "csv" else pc.binary_join_element_wise('"', values, '"', "")


def _quoted(values: pa.Array, form: Text) -> pa.Array:
    """Strings, escaped where they must be: the bytes are looked at once for all of them."""
    if not _needs_escapes(values, form):
        return _between_quotes(values, form)
    if form == "ndjson":
        return pa.array([None if value is None else json.dumps(value, ensure_ascii=False) for value in values.to_pylist()], pa.string())
    special = pc.match_substring_regex(values, '[",\r\n]')
    doubled = pc.binary_join_element_wise('"', pc.replace_substring(values, '"', '""'), '"', "")
    return pc.if_else(special, doubled, values)


def _needs_escapes(values: pa.Array, form: Text) -> bool:
    offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
    if len(values) == 0 or values.buffers()[2] is None:
        return False
    data = np.frombuffer(values.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    if form == "csv":
        return bool(np.isin(data, np.frombuffer(b'",\r\n', np.uint8)).any())
    return bool(((data < 32) | (data == 34) | (data == 92)).any())


# files ---------------------------------------------------------------------------------------------------------------------
def content(made: Foreign, delivery: Delivery, form: Text) -> Iterator[bytes | memoryview]:
    """The bytes of a delivery as lines of text, before compression."""
    if form == "csv":
        yield header([*made.constants, *(field.name for field in made.fields)])
    for batch in delivery.rows.to_batches():
        for text in lines(made.rows(batch), form) if len(batch) else ():
            yield _bytes(text)
    for flaw, rows in delivery.broken.items():
        columns = made.rows(rows)
        if flaw == "unreadable_instant":
            columns = [(name, pa.array([_NO_INSTANT] * len(rows)) if name == made.instant else values) for name, values in columns]
        for text in lines(columns, form):
            yield _bytes(text) if flaw != "unparsable_line" else b"".join(_cut(line, form) for line in text.to_pylist())


def _bytes(text: pa.Array) -> memoryview:
    return memoryview(text.buffers()[2])[: pc.sum(pc.binary_length(text)).as_py()]


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


def _jobs(tenant: Tenant, world: World, root: Path, days: Sequence[date], up_to: date) -> list[_Job]:
    shared: dict[str, list[Source]] = {}
    for source in tenant.sources:
        if source.kind == "files" and source.dataset in world.datasets:
            shared.setdefault(source.location, []).append(source)
    jobs = []
    for location, sources in shared.items():
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
            told = (VERSION, world.parameters.model_dump_json(), *(source.fingerprint for source in sources), str(day or f"as of {up_to}"))
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
    """A page of JSON as the source declares it: the bare array, or an object with its `records` (and `next_field`)."""
    array = b"[" + b",\n".join(rows) + b"]"
    if source.records is None:
        return array + b"\n"
    more = b"" if source.next_field is None else f",{json.dumps(source.next_field)}:{json.dumps(following)}".encode()
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
