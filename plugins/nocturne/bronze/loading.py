"""The station `load_bronze`."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from nocturne import at_rest
from nocturne.bronze import calendar, links
from nocturne.bronze.archives import scratch_of, without_archives
from nocturne.bronze.drift import Shapes
from nocturne.bronze.formats import FORMATS, Lacking, Opened
from nocturne.bronze.mapping import Plan, bronze_query, columns_read, kinds_query
from nocturne.bronze.reading import SEND_AGAIN, Batch, Reading
from nocturne.datasets import Dataset
from nocturne.errors import DeliveryError, NocturneError, PermanentError, TenantError, together
from nocturne.lake import Connection, QueryError, Table, Written, at_once, duck, limited, table
from nocturne.ledger import Mark, Marks
from nocturne.manifests import Manifest, folder_of, read_manifests
from nocturne.receipts import Entry, Receipt
from nocturne.rules import is_bad
from nocturne.settings import Settings
from nocturne.tenants import Source, Tenant

STATION: Final = "bronze"
DECLARED: Final = "declared"
"""Marks of this name hold each source's declaration as it last was."""
VERSION: Final = 2
"""Of what this code makes of a batch: a higher one loads all batches again."""

Loaded = tuple[Written, dict[str, dict[str, Any]]]
"""What was written of some batches, and the facts of each."""

_SECONDS: Final = 1_800
_CHUNK_BATCHES: Final = 64
_CHUNK_BYTES: Final = 8 << 20
"""Small batches are read together, because a pass costs more than their rows; a larger one alone, because all threads write one file, and
DuckDB takes twice the time to split rows by partition."""
_MARKED_ROWS: Final = 4_000_000
"""Batches are marked together, because the links of each are sought among the keys of all; a kill has these rows loaded again."""


def load_bronze(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Load every batch whose bytes or whose declaration differ from what bronze holds, and remove those that landing has no more.

    Reads landing; writes Delta `bronze/<dataset>` (a batch is replaced whole) and the marks `bronze`, each after its rows. Run again, it
    does what is left. Works through all datasets and batches, then raises DeliveryError (or what else failed) for those that failed; of a
    delivery that was received after `day` and cannot be read it only warns.
    """
    started = datetime.now(UTC)
    entries: list[Entry] = []
    failures: list[NocturneError] = []
    warnings: list[str] = []
    folder = tenant.lake_folder(settings.lake_root)
    with ExitStack() as stack:
        scratch = stack.enter_context(scratch_of(settings.var / "tmp" / "unpacked" / tenant.slug))
        connect = cache(lambda: stack.enter_context(duck(settings, only=[folder / "landing", folder / "bronze", scratch])))
        for dataset in tenant.datasets:
            load = _Load(tenant, dataset, day, settings, ledger, connect, scratch)
            try:
                load.run()
            except NocturneError as error:
                load.failures.append(error)
            entries.append(load.entry())
            failures += load.failures
            warnings += [*load.warnings, *load.shapes.warnings]
    if failures:
        raise together(failures)
    return Receipt(
        tenant=tenant.slug, day=day, station=STATION, started_at=started, finished_at=datetime.now(UTC),
        entries=tuple(entries), warnings=tuple(warnings),
    )  # fmt: skip


@dataclass
class _Load:
    """One dataset of one tenant."""

    tenant: Tenant
    dataset: Dataset
    day: date
    settings: Settings
    ledger: Marks
    connect: Callable[[], Connection]
    scratch: Path
    failures: list[NocturneError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    loaded: dict[str, Mark] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bronze: Table = table(self.settings, self.tenant, "bronze", self.dataset)
        self.marks = self.ledger.marks(self.tenant, STATION, self.dataset.name)
        self.rules = is_bad(self.dataset)
        self.shapes = Shapes(self.tenant, self.dataset, self.ledger, self.day, self.marks)
        self.declared: Mapping[str, Source] = {source.name: source for source in self.tenant.sources_of(self.dataset.name)}
        self.sources = dict(self.declared)
        self.key = partial(at_rest.landing_key, self.settings, self.tenant)

    def run(self) -> None:
        """Do what the marks do not say yet."""
        manifests = read_manifests(self.settings, self.tenant, self.dataset.name)
        self._remove(sorted(set(self.marks) - set(manifests)))
        self._remember_sources({manifest.source for manifest in manifests.values()})
        known = {batch: manifest for batch, manifest in manifests.items() if manifest.source in self.sources}
        offsets = self._offsets(known.values())
        wanted = {batch: self._fingerprint(manifest, offsets) for batch, manifest in known.items()}
        changed = [known[batch] for batch, mark in wanted.items() if batch not in self.marks or self.marks[batch].fingerprint != mark]
        if not changed:
            return
        connection = self.connect()
        loaded: dict[str, Mark] = {}
        for written, facts in self._all_written(connection, changed, offsets):
            self.bronze.commit(written, list(facts))
            loaded |= {batch: Mark(wanted[batch], told) for batch, told in facts.items()}
            if sum(int(mark.facts["rows"]) for mark in loaded.values()) >= _MARKED_ROWS:
                self._mark(connection, loaded)
                loaded = {}
        self._mark(connection, loaded)

    def entry(self) -> Entry:
        """What the receipt says of it."""
        facts = [mark.facts for mark in self.loaded.values()]
        counts = {name: sum(int(fact[name]) for fact in facts) for name in ("rows", "left_out", "problem_rows")}
        stand = sorted((batch, mark.fingerprint) for batch, mark in self.marks.items())
        return Entry(
            name=self.dataset.name,
            fingerprint=_digest(stand),
            skipped=not (self.loaded or self.removed or self.failures),
            counts={"batches": len(self.loaded), "removed": len(self.removed), **counts},
            event_dates=tuple(sorted({date.fromisoformat(day) for fact in facts for day in fact["dates"]})),
        )

    # what is to be done ----------------------------------------------------------------------------------------------------------
    def _offsets(self, manifests: Any) -> tuple[calendar.Offset, ...]:
        if not self._has_instants:
            return ((0, 0),)
        return calendar.offsets(self.tenant.time_zone, max((m.received_on for m in manifests), default=self.tenant.begins_on))

    @property
    def _has_instants(self) -> bool:
        """Whether event dates depend on time zones."""
        return self.dataset.instant is not None and self.dataset.instant != self.dataset.event_date

    def _fingerprint(self, manifest: Manifest, offsets: Sequence[calendar.Offset]) -> str:
        """All that decides what bronze holds of a batch."""
        columns = [(c.name, c.type, *([c.code.identity] if c.code else [])) for c in self.dataset.columns]
        shape = columns, self.dataset.key, self.dataset.instant
        zones = calendar.digest(offsets, manifest.received_on) if self._has_instants else ""
        return _digest([VERSION, shape, self.rules, manifest.fingerprint, self.sources[manifest.source].fingerprint, zones])

    def _remember_sources(self, landed: set[str]) -> None:
        """Note how sources are declared, and take those that are declared no more, but still stand in landing, as they last were.

        So what they delivered follows when a dataset's columns or rules change, as all other batches do.
        """
        noted = self.ledger.marks(self.tenant, DECLARED, self.dataset.name)
        new = {name: source for name, source in self.declared.items() if name not in noted or noted[name].fingerprint != source.fingerprint}
        told = {name: Mark(one.fingerprint, {"source": one.model_dump(mode="json", exclude_defaults=True)}) for name, one in new.items()}
        if told:
            self.ledger.mark(self.tenant, DECLARED, self.dataset.name, told)
        for name in sorted(landed - set(self.declared)):
            try:
                self.sources[name] = Source.model_validate(noted[name].facts["source"])
                stays = "its batches stay, as it was last declared"
            except (KeyError, ValueError):
                stays = "nothing tells how it was, so its batches stay in bronze as they were loaded"
            self.warnings.append(f"{self.dataset.name}: the source {name} is no longer declared; {stays}")
        forgotten = set(noted) - landed - set(self.declared)
        if forgotten:
            self.ledger.unmark(self.tenant, DECLARED, self.dataset.name, forgotten)

    def _remove(self, gone: list[str]) -> None:
        if not gone:
            return
        self.shapes.forget(gone)
        self.bronze.delete(gone)
        relinked = links.without(self.marks, gone)
        self.ledger.mark(self.tenant, STATION, self.dataset.name, relinked)
        self.ledger.unmark(self.tenant, STATION, self.dataset.name, gone)
        self.marks = {batch: mark for batch, mark in {**self.marks, **relinked}.items() if batch not in gone}
        self.removed = gone

    def _chunks(self, connection: Connection, changed: Sequence[Manifest]) -> Iterator[list[Batch]]:
        """The batches that can be read, in groups that one pass reads: of one source and one shape, and not too large.

        A batch of archives is a group of its own: what it unpacks to is gone before the next one is unpacked.
        """
        groups: dict[tuple[str, Hashable], list[Batch]] = defaultdict(list)
        for manifest in sorted(changed, key=lambda one: one.received_on):
            source = self.sources[manifest.source]
            batch = Batch(self.tenant, source, manifest, folder_of(self.settings, self.tenant, manifest), key=self.key)
            try:
                batch.check_files()
                batch = self._unpacked(batch)
                shape = FORMATS[source.format].shape(batch)
                with self._telling(connection, [batch]):
                    self.shapes.take(batch, FORMATS[source.format].check(connection, batch, columns_read(source, self.dataset)[0]))
            except Lacking as error:
                self._fail(batch, self.shapes.with_difference(batch, error))
            except NocturneError as error:
                self._fail(batch, error)
            else:
                if batch.places:
                    yield [batch]
                else:
                    groups[source.name, shape].append(batch)
        for batches in groups.values():
            yield from _sized(batches)

    def _unpacked(self, batch: Batch) -> Batch:
        shutil.rmtree(self.scratch)  # of the batch before, which is loaded or has failed
        self.scratch.mkdir()
        return without_archives(batch, self.scratch, plain=not FORMATS[batch.source.format].is_stream)

    def _fail(self, batch: Batch, error: NocturneError) -> None:
        """Fail for a batch, but not for a delivery of a later day: its own night fails for it, and alone looks at the source again."""
        received = batch.manifest.received_on
        if isinstance(error, DeliveryError) and received > self.day:
            self.warnings.append(f"{error.what} It was received on {received}, so this night goes on without it.")
        else:
            self.failures.append(error)

    # loading ---------------------------------------------------------------------------------------------------------------------
    def _all_written(self, connection: Connection, changed: Sequence[Manifest], offsets: Sequence[calendar.Offset]) -> Iterator[Loaded]:
        """Everything that can be read, written and awaiting its commit: batches of archives as they are unpacked, all others at once."""
        chunks: list[list[Batch]] = []
        for chunk in self._chunks(connection, changed):
            if chunk[0].places:
                yield from self._written_in_parts(connection, chunk, offsets)
            else:
                chunks.append(chunk)
        for written in at_once(connection, lambda own, chunk: self._written_in_parts(own, chunk, offsets), chunks):
            yield from written

    def _written_in_parts(self, connection: Connection, batches: Sequence[Batch], offsets: Sequence[calendar.Offset]) -> list[Loaded]:
        """Write batches together; if that fails, one by one, so that one that cannot be read holds no other back."""
        try:
            return [self._write(connection, batches, offsets)]
        except NocturneError as error:
            if len(batches) == 1:
                self._fail(batches[0], error)
                return []
            self.warnings.append(f"{self.dataset.name}: {len(batches)} batches could not be read together, so one by one: {error.what}")
        return [loaded for batch in batches for loaded in self._written_in_parts(connection, [batch], offsets)]

    def _write(self, connection: Connection, batches: Sequence[Batch], offsets: Sequence[calendar.Offset]) -> Loaded:
        """Write the rows of these batches; what was written, and the facts of each."""
        reading = Reading(batches)
        source = batches[0].source
        must, may = columns_read(source, self.dataset)
        with self._telling(connection, batches, reading):
            opened = FORMATS[source.format].open(connection, reading, must | may)
            plan = self._plan(connection, source, opened)
            received = {batch.id: batch.manifest.received_on.isoformat() for batch in batches}
            query = bronze_query(plan, opened.rows(plan), received, offsets)
            written = self.bronze.write(connection, query, list(received))
            try:
                return written, self._facts(connection, batches, written, opened.count())
            except Exception:
                written.discard()
                raise

    def _plan(self, connection: Connection, source: Source, opened: Opened) -> Plan:
        try:
            described = connection.execute(f"DESCRIBE {kinds_query(source, self.dataset, opened.found)}").fetchall()
        except QueryError as error:
            raise TenantError(
                f"The mapping of source {source.name} does not fit what it delivers: {str(error).strip().splitlines()[0]}.",
                next_step=f"Correct `map`, `where` or `columns` of source {source.name} in the tenant's file.",
                tenant=self.tenant.slug,
            ) from error
        return Plan(source, self.dataset, opened.found, {column: kind for column, kind, *_ in described})

    @contextmanager
    def _telling(self, connection: Connection, batches: Sequence[Batch], reading: Reading | None = None) -> Iterator[None]:
        """Limit the time, and turn what DuckDB says of a delivery into an error that names the delivery."""
        doing = f"Reading {', '.join(batch.id for batch in batches[:3])}{' and others' if len(batches) > 3 else ''}"
        try:
            with limited(connection, _SECONDS, doing=doing, tenant=self.tenant):
                yield
        except QueryError as said:
            if reading is not None and reading.failure is not None:
                raise reading.failure from said
            first, batch = str(said).strip().splitlines()[0], batches[0]
            raise batch.refuse(None, f"cannot be read as {batch.source.format}: {first}", SEND_AGAIN) from said

    def _facts(
        self, connection: Connection, batches: Sequence[Batch], written: Written, delivered: Mapping[str, int]
    ) -> dict[str, dict[str, Any]]:
        """What a mark tells of each batch; asked of the files that were written, before they count."""
        dates: dict[str, dict[str, int]] = defaultdict(dict)
        rows: dict[str, int] = defaultdict(int)
        problems: dict[str, int] = defaultdict(int)
        for batch_id, event_on, count, with_problems in self._counted(connection, written):
            rows[batch_id] += count
            problems[batch_id] += with_problems
            if event_on is not None:
                dates[batch_id][event_on] = count
        for batch in batches:
            if rows[batch.id] and rows[batch.id] == problems[batch.id]:
                self._refuse_binary(connection, batch, written)
        return {
            batch.id: {
                "received_on": batch.manifest.received_on.isoformat(),
                "rows": delivered.get(batch.id, 0),
                "left_out": _left_out(batch, delivered.get(batch.id, 0), rows[batch.id]),
                "problem_rows": problems[batch.id],
                "dates": dict(sorted(dates[batch.id].items())),
                **self.shapes.facts(batch.id),
            }
            for batch in batches
        }

    def _counted(self, connection: Connection, written: Written) -> list[tuple[str, str | None, int, int]]:
        """(batch, event date, rows, rows with problems); an event date that silver will refuse is told as None."""
        if not written.files:
            return []
        usable = "CASE WHEN _event_on <= _received_on + 1 THEN _event_on::VARCHAR END"
        return connection.execute(
            f"SELECT _batch, {usable}, count(*), count(*) FILTER (len(_problems) > 0) FROM {self.bronze.rows_of(written.files)}"
            " GROUP BY ALL ORDER BY ALL"
        ).fetchall()

    def _refuse_binary(self, connection: Connection, batch: Batch, written: Written) -> None:
        """A delivery of which no row can be read, and which is no text either, is no delivery of bad rows: it is something else."""
        ours = [file for file in written.files if file.part == batch.id]
        found = connection.execute(
            "SELECT first(_file ORDER BY _file, _line), first(_line ORDER BY _file, _line) FROM"
            f" {self.bronze.rows_of(ours)} HAVING bool_and(list_contains(_problems, 'row: is no JSON object') OR"
            " list_contains(_problems, 'row: is no UTF-8')) AND bool_or(list_contains(_problems, 'row: is no UTF-8') OR"
            " contains(_delivered, chr(0)))"
        ).fetchall()
        for file, line in found:
            raise batch.refuse(file, f"holds nothing that can be read as {batch.source.format} (from line {line} on)", SEND_AGAIN)

    def _mark(self, connection: Connection, changed: dict[str, Mark]) -> None:
        if not changed:
            return
        found: list[links.Link] = []
        if self.dataset.kind == "event":
            rows = sum(int(mark.facts["rows"]) for mark in changed.values())
            found = links.find_links(connection, self.bronze, changed, rows)
        marks = links.with_links(self.marks, changed, found)
        self.ledger.mark(self.tenant, STATION, self.dataset.name, marks)
        self.marks.update(marks)
        self.loaded.update({batch: self.marks[batch] for batch in changed})


def _left_out(batch: Batch, delivered: int, kept: int) -> int:
    """Rows that the condition or `once` leaves out. Raises PermanentError if rows are missing, or too many, without one."""
    told = [file.rows for file in batch.manifest.files if file.rows is not None]
    if told and len(told) == len(batch.manifest.files) and sum(told) != delivered:
        raise PermanentError(
            f"{batch.manifest.dataset}: the source says that batch {batch.id} has {sum(told)} rows, {delivered} were read.",
            next_step="Report this: no row may be lost or made. Bronze still holds what it held of this batch.",
            tenant=batch.tenant.slug,
        )
    if kept > delivered or (kept < delivered and not (batch.source.where or batch.source.once)):
        raise PermanentError(
            f"{batch.manifest.dataset}: of {delivered} rows of batch {batch.id}, {kept} came to stand in bronze.",
            next_step="Report this: no row may be lost or made. Bronze still holds what it held of this batch.",
            tenant=batch.tenant.slug,
        )
    return delivered - kept


def _sized(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    chunk: list[Batch] = []
    size = 0
    for batch in batches:
        if chunk and (len(chunk) >= _CHUNK_BATCHES or size + batch.manifest.bytes > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(batch)
        size += batch.manifest.bytes
    if chunk:
        yield chunk


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]
