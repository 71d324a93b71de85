"""Landing: what sources deliver, taken as it is.

    files       patterns of paths below the sources' root, or in a store
    objects     S3, Google's and Azure's stores
    web         one file a day at an address
    api         JSON over HTTP, page after page (`paging`: which page follows; `access`: how it knows us)
    databases   the rows of a table or query, all or those after a watermark
    topics      the messages of a topic or stream between two nights (`brokers`: what `kafka` and `redis_streams` share; `messages`: lines)
    ranges      where a night begins and ends with a source that grows
    batches     the batches of one source, and how one is put there at one instant
    drawers     what stood before, of one batch
    deliveries  takes a delivery back, and brings it again
    packing     packs and encrypts what stands in landing
    connections where a source is and how it knows us

Data flow: a tenant's sources -> `<lake>/<slug>/landing/<dataset>/received_on=<D>/<source>/`, raw bytes and a manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from nocturne.errors import DeliveryError, NocturneError, PermanentError, SourceAwaited, SourceMissing, SourceUnavailable
from nocturne.landing.batches import Shelf, Taken
from nocturne.landing.connections import Connection, Connections, Patience, environment_connection
from nocturne.landing.deliveries import list_deliveries, steer_deliveries, trim_deliveries
from nocturne.landing.packing import pack_landing
from nocturne.ledger import Mark, Marks, utc_now
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Source, Tenant

if TYPE_CHECKING:
    from nocturne.landing.files import Store

__all__ = [
    "Connection", "Connections", "Patience", "environment_connection",
    "land", "list_deliveries", "pack_landing", "steer_deliveries", "trim_deliveries",
]  # fmt: skip

STATION = "landing"
_SOURCES_AT_ONCE = 4
_BATCHES_A_MARK = 50
_STEPS_TOLD_FOR = timedelta(days=7)


def land(
    tenant: Tenant,
    day: date,
    settings: Settings,
    ledger: Marks,
    connections: Connections = environment_connection,
    *,
    patience: Patience | None = None,
    now: datetime | None = None,
) -> Receipt:
    """Take what every source of the tenant offers: of a source with `{day}` each day up to `day`, of another the state of the night.

    Reads files below the sources' root and APIs; writes batches (raw bytes, then the manifest) and, after them, marks. Run again, or after
    a kill, it takes what is missing or has changed and leaves the rest. One source's failure keeps no other from being taken; then one
    error names them all: a PermanentError if a person must act on any of them, else a TransientError. SourceMissing: a required source has
    nothing for `day`. SourceAwaited: a source has nothing yet, and at `now` (default: this instant) its deadline is still ahead.
    """
    started = utc_now()
    # Whoever finds connections may speak over one pipe with his supervisor: he is asked here, not in the threads.
    found = {source.name: _find(tenant, source, connections) for source in tenant.sources}
    with ThreadPoolExecutor(min(_SOURCES_AT_ONCE, len(tenant.sources)), "landing") as pool:
        turns = [
            _Turn(tenant, day, settings, ledger, source, found[source.name], patience or Patience(), now or started)
            for source in tenant.sources
        ]
        outcomes = list(pool.map(_Turn.run, turns))
    failures = [outcome for outcome in outcomes if isinstance(outcome, NocturneError)]
    if failures:
        raise _together(failures, tenant, day, of=len(turns))
    done = [outcome for outcome in outcomes if isinstance(outcome, Taken)]
    return Receipt(
        tenant=tenant.slug,
        day=day,
        station=STATION,
        started_at=started,
        finished_at=utc_now(),
        entries=tuple(_entry(source, taken) for source, taken in zip(tenant.sources, done, strict=True)),
        warnings=tuple(warning for taken in done for warning in taken.warnings),
    )


@dataclass(frozen=True)
class _Turn:
    """One source's turn in a night."""

    tenant: Tenant
    day: date
    settings: Settings
    ledger: Marks
    source: Source
    connection: Connection | NocturneError | None
    patience: Patience
    now: datetime

    def run(self) -> Taken | NocturneError:
        """What was taken, or why it was not."""
        shelf = Shelf(self.settings, self.tenant, self.source)
        total = Taken()
        try:
            for taken in self._take(shelf):
                total.batches += taken.batches
                total.files += taken.files
                total.bytes += taken.bytes
                total.warnings += taken.warnings
                total.is_there |= taken.is_there
                total.marks |= taken.marks
                if len(total.marks) >= _BATCHES_A_MARK:
                    self._mark(total)
            self._mark(total)
            total.warnings += shelf.steps_since(self.now - _STEPS_TOLD_FOR)
            self._miss(shelf, total)
        except NocturneError as error:
            self._mark(total)
            return error
        return total

    def _take(self, shelf: Shelf) -> Iterator[Taken]:
        # A batch is known by its source's name alone, so a mark stands under the source's dataset and that name.
        marks = self.ledger.marks(self.tenant, STATION, self.source.dataset)
        if self.source.kind == "files":
            from nocturne.landing.files import Folder, take_files

            if self.source.store in {"https", "http"}:
                return self._take_from_address(shelf, marks)
            store: Store = Folder(shelf) if self.source.store is None else self._objects(shelf)
            return take_files(shelf, store, self.tenant.begins_on, self.day, marks)
        if not isinstance(self.connection, Connection):
            raise self.connection or AssertionError(f"a source of kind {self.source.kind} names a connection")
        if self.source.kind == "database":
            from nocturne.landing.databases import take_database

            return take_database(shelf, self.day, marks, self.connection)
        if self.source.kind == "topic":
            from nocturne.landing.topics import take_topic

            return take_topic(shelf, self.day, marks, self.connection, self.patience)
        # httpx takes longer to import than most nights take to land: only a tenant with an API pays for it.
        from nocturne.landing.api import take_api

        return take_api(shelf, self.tenant.begins_on, self.day, marks, self.connection, self.patience)

    def _objects(self, shelf: Shelf) -> Store:
        from nocturne.landing.objects import Objects

        return Objects(shelf, self._opening, self.patience)

    def _take_from_address(self, shelf: Shelf, marks: Mapping[str, Mark]) -> Iterator[Taken]:
        from nocturne.landing.files import take_files
        from nocturne.landing.web import Address

        with Address(shelf, self._opening, self.patience, self.tenant.begins_on, self.day) as store:
            yield from take_files(shelf, store, self.tenant.begins_on, self.day, marks)

    @property
    def _opening(self) -> Connection | None:
        """The connection that a store may have."""
        if isinstance(self.connection, NocturneError):
            raise self.connection
        return self.connection

    def _mark(self, total: Taken) -> None:
        marks: dict[str, Mark] = total.marks
        self.ledger.mark(self.tenant, STATION, self.source.dataset, marks)
        total.marks = {}

    def _miss(self, shelf: Shelf, total: Taken) -> None:
        """Say that nothing came for this day: by an error while the night waits or must stop, else by a warning or the entry alone."""
        if self.source.is_daily:
            total.is_there = shelf.holds(self.day)
        if total.is_there:
            return
        deadline = self._deadline()
        what = f"Source {self.source.name} has nothing for {self.day} at {self.source.place.replace('{day}', self.day.isoformat())}"
        if deadline is not None and self.now < deadline:
            raise SourceAwaited(
                f"{what}; its deadline is {deadline:%H:%M} on {deadline:%Y-%m-%d} ({deadline.tzinfo}).",
                until=deadline.astimezone(UTC),
                next_step="Nothing: the night waits for it until then.",
                tenant=self.tenant.slug,
                day=self.day,
            )
        past = f", and its deadline ({deadline:%H:%M} on {deadline:%Y-%m-%d}, {deadline.tzinfo}) is past" if deadline else ""
        if self.source.required:
            raise SourceMissing(
                f"{what}{past}.",
                next_step=f"Ask {self.tenant.owner} for the delivery and run `land` again, or run without it: `required: false`.",
                tenant=self.tenant.slug,
                day=self.day,
            )
        if deadline or not (
            self.source.is_daily or self.source.is_incremental
        ):  # others may have nothing new, unless they say when they do
            total.warnings.append(f"{what}{past}.")

    def _deadline(self) -> datetime | None:
        """The instant until which the night of this day waits for the source."""
        if self.source.deadline is None:
            return None
        zone = self.tenant.zone_at(self.now)
        return datetime.combine(self.day + timedelta(days=1), self.source.deadline, tzinfo=zone)


def _find(tenant: Tenant, source: Source, connections: Connections) -> Connection | NocturneError | None:
    """The connection of a source that needs one, or why it is not to be had."""
    if source.connection is None:
        return None
    try:
        return connections(tenant.connection_id(source.connection))
    except NocturneError as error:
        return error


def _entry(source: Source, taken: Taken) -> Entry:
    days = sorted(batch.received_on.isoformat() for batch in taken.batches)
    return Entry(
        name=source.name,
        fingerprint=taken.batches[-1].fingerprint if taken.batches else "",
        skipped=not taken.batches,
        counts={"batches": len(taken.batches), "files": taken.files, "bytes": taken.bytes},
        facts={"dataset": source.dataset, "received_on": [days[0], days[-1]] if days else [], "is_there": taken.is_there},
    )


def _together(failures: list[NocturneError], tenant: Tenant, day: date, *, of: int) -> NocturneError:
    """One error for all failures. A retry that is sure to fail again helps nobody, so what a person must act on comes first; the sources
    that would have come by themselves do so when the task is cleared.
    """
    if len(failures) == 1:
        return failures[0]
    first: list[NocturneError] = [failure for failure in failures if isinstance(failure, PermanentError)] or failures
    kinds = {type(failure) for failure in first}
    what = f"{len(failures)} of {of} sources failed; the others are taken.\n" + "\n".join(f"- {failure.what}" for failure in failures)
    next_step = "\n".join(dict.fromkeys(f"- {failure.next_step}" for failure in first))
    awaited = [failure for failure in first if isinstance(failure, SourceAwaited)]
    if len(awaited) == len(first):
        until = min(failure.until for failure in awaited)
        return SourceAwaited(f"{what}\n", until=until, next_step=f"\n{next_step}", tenant=tenant.slug, day=day)
    kind = kinds.pop() if len(kinds) == 1 else DeliveryError if isinstance(first[0], PermanentError) else SourceUnavailable
    return kind(f"{what}\n", next_step=f"\n{next_step}", tenant=tenant.slug, day=day)
