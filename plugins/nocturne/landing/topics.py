"""Sources of kind `topic`: what came to a topic of Kafka or a stream of Redis since the last night, a message a line, a file a partition.

A night goes from where the last manifest ended to where each partition ends when the night begins. That end is written down before the
first message is read, so a run that was killed, and begins again, reads the same; so does a night that is taken again later, as `ranges`
has it. The manifest alone says how far we are. The broker is told after it stands, for those who watch the group's lag, and is never asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import BinaryIO

from nocturne.asking import Topic
from nocturne.errors import DeliveryError, SourceUnavailable
from nocturne.landing.batches import Shelf, Staged, Taken, seal, write
from nocturne.landing.brokers import Broker, BrokerError, Extent, Span, number_of, topic_of
from nocturne.landing.connections import Connection, Patience
from nocturne.landing.ranges import Reach, marked, reach
from nocturne.ledger import Mark
from nocturne.manifests import Manifest, Range

_PLAN = "plan.json"
_ANEW = {
    True: "all that it holds is taken, and what the old one had after that place is lost",
    False: "what this night held is no longer there, and cannot be taken again",
}


def take_topic(shelf: Shelf, day: date, marks: Mapping[str, Mark], connection: Connection, patience: Patience) -> Iterator[Taken]:
    """Take what came since the last night, unless it is taken; yields what the batch brought.

    Reads the broker; writes a batch of NDJSON with the ranges in its manifest, and then the group's offsets at the broker. Run again, it
    reads nothing that stands. Raises DeliveryError for what a person must look into, such as a topic that is gone, else SourceUnavailable.
    """
    mark = marks.get(shelf.batch(day))
    if shelf.holds(day) and mark is not None and mark.facts.get("committed"):
        yield Taken(is_there=True)
        return
    broker, is_open = _broker(shelf, connection, patience)
    night = _Night(shelf, day, mark, broker)
    try:
        if is_open:
            told = f"{shelf.source.name}: {broker.place} is not encrypted; whoever carries it can read the password"
            yield Taken(warnings=[told])
        yield night.tell() if shelf.holds(day) else night.take()
    finally:
        broker.close()


def _broker(shelf: Shelf, connection: Connection, patience: Patience) -> tuple[Broker, bool]:
    """The client that the source names, and whether its password travels openly. Either takes a while to import."""
    topic, group, seconds = _topic(shelf), shelf.tenant.group_id(shelf.source), patience.timeout_seconds
    if topic.system == "kafka":
        from nocturne.landing import kafka

        return kafka.Kafka(connection, topic.name, group, patience_seconds=seconds), kafka.is_open_to_listeners(connection)
    from nocturne.landing import redis_streams

    stream = redis_streams.RedisStream(connection, topic.name, group, topic.field, patience_seconds=seconds)
    return stream, redis_streams.is_open_to_listeners(connection)


def _topic(shelf: Shelf) -> Topic:
    assert shelf.source.topic is not None  # noqa: S101 (the tenant's file says so of this kind)
    return shelf.source.topic


@dataclass
class _Plan:
    """What a night takes. `is_anew`: the topic is another one than the last night's, so all of it is new."""

    spans: list[Span] = field(default_factory=list)
    is_anew: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Night:
    """One source's night with its broker."""

    shelf: Shelf
    day: date
    mark: Mark | None
    broker: Broker

    def take(self) -> Taken:
        """The batch of what is new; none if nothing is, so that the next night, or this one again, goes on from the same place."""
        wanted = reach(self.shelf, self.day, self.mark)
        if wanted is None:
            return Taken(is_there=True)
        with self.shelf.taking(self._purpose(wanted)) as folder:
            if not self.shelf.holds(self.day) and reach(self.shelf, self.day, self.mark) == wanted:
                return self._take(wanted, folder)
        # Another run took a night while we waited for our turn: a message stands in one batch alone, so we look again at what is left.
        return Taken(is_there=True) if self.shelf.holds(self.day) else self.take()

    def tell(self) -> Taken:
        """Tell the broker of a batch that stands, because the run that took it was killed before, or the broker refused."""
        taken = Taken(is_there=True)
        with self.shelf.taking(f"{self.day.isoformat()}-told"):  # which also removes what that run left
            if manifest := self.shelf.manifest(self.day):
                self._commit(manifest, taken)
        return taken

    def _purpose(self, wanted: Reach) -> str:
        """What messages are staged for: a plan that was made for another beginning, or another topic, is none of ours."""
        after = {part: one.until for part, one in wanted.after.items()}
        told = [_topic(self.shelf).model_dump(), after, dict(wanted.until) if wanted.until is not None else None]
        return f"{self.day.isoformat()}-topic-{hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]}"

    def _take(self, wanted: Reach, folder: Path) -> Taken:
        with _told(self.shelf):
            plan = self._plan(wanted, folder)
            drained = _drained(folder, self.broker, plan.spans)
        losses = _losses(drained, self.mark if wanted.until is not None else None)
        taken = Taken(is_there=drained.rows > 0, warnings=[f"{self.shelf.source.name}: {what}" for what in [*plan.warnings, *losses]])
        if drained.rows:
            manifest = self.shelf.put(self.day, drained.files, ranges=_ranges(wanted, plan, drained))
            taken.add(manifest, drained.files)
            self._commit(manifest, taken)
        return taken

    def _plan(self, wanted: Reach, folder: Path) -> _Plan:
        """The spans of this night, of which each ends where the manifests around it say, or where it ended when the night began."""
        name, extents = _topic(self.shelf).name, self.broker.extents()
        ours = {part: one for part, one in wanted.after.items() if topic_of(part) == name}
        newest = [one for one in self._newest() if topic_of(one.part) == name]
        plan = _Plan(is_anew=_is_anew(self.broker, [*ours.values(), *newest], extents))
        if plan.is_anew:
            told = f"{name} ends before the place where the last night ended, so it was made anew"
            plan.warnings.append(f"{told}: {_ANEW[wanted.until is None]}")
            if wanted.until is not None:
                return plan
        ends = _pinned(wanted.until, self.mark, extents) if wanted.until is not None else _noted(folder, self.broker, extents)
        for part in sorted(ends, key=number_of):
            before = None if plan.is_anew else ours.get(part)
            since = before.until if before else None
            is_late = before is None and bool(ours) and not plan.is_anew and wanted.until is None
            plan.spans.append(Span(part, since, ends[part].end, extents[part], before, ends[part].ever, is_late))
        return plan

    def _newest(self) -> Sequence[Range]:
        """How far the nights after this one came."""
        newest = max(self.shelf.days(), default=self.day)
        manifest = self.shelf.manifest(newest) if newest > self.day else None
        return manifest.ranges if manifest else ()

    def _commit(self, manifest: Manifest, taken: Taken) -> None:
        """Tell the broker how far we are, unless later nights went further; and mark the batch, in which its messages stand either way."""
        is_told = True
        if manifest.received_on == max(self.shelf.days()):
            try:
                self.broker.commit(manifest.ranges)
            except BrokerError as error:
                is_told = False
                group = self.shelf.tenant.group_id(self.shelf.source)
                told = f"the messages are taken, but {group} could not be told so, and seems to lag: {error}"
                taken.warnings.append(f"{self.shelf.source.name}: {told}")
        taken.marks |= marked(manifest, rows=sum(file.rows or 0 for file in manifest.files), committed=is_told)


# what is taken -------------------------------------------------------------------------------------------------------------------
def _is_anew(broker: Broker, known: Sequence[Range], extents: Mapping[str, Extent]) -> bool:
    """Whether the topic has less than it had, which no topic does by itself."""
    for one in known:
        extent = extents.get(one.part)
        if extent is None or broker.order(extent.end) < broker.order(one.until):
            return True
        if one.ever is not None and extent.ever is not None and extent.ever < one.ever:
            return True
    return False


def _pinned(until: Mapping[str, str], mark: Mark | None, extents: Mapping[str, Extent]) -> dict[str, Extent]:
    """The ends that the manifests around this night give, or the mark of when it was taken first."""
    held = [Range.model_validate(one) for one in mark.facts.get("ranges", ())] if mark else []
    ever = {(one.part, one.until): one.ever for one in held}
    return {part: Extent("", end, ever.get((part, end))) for part, end in until.items() if part in extents}


def _noted(folder: Path, broker: Broker, extents: Mapping[str, Extent]) -> dict[str, Extent]:
    """The ends that a killed run of this night noted, if the topic still goes so far; else those of now, which are noted."""
    path = folder / _PLAN
    try:
        noted = {part: Extent(**told) for part, told in json.loads(path.read_bytes()).items()}
        if all(part in extents and broker.order(end.end) <= broker.order(extents[part].end) for part, end in noted.items()):
            return noted
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        pass  # there is no note, or none that was written whole
    write(path, [json.dumps({part: extent.__dict__ for part, extent in extents.items()}).encode()])
    return dict(extents)


# messages ------------------------------------------------------------------------------------------------------------------------
@dataclass
class _Drained:
    """What came: files, and by part where it ended, and how much the broker had lost."""

    files: list[Staged] = field(default_factory=list)
    ends: dict[str, tuple[Span, str]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Messages in all files."""
        return sum(file.rows or 0 for file in self.files)


def _drained(folder: Path, broker: Broker, spans: Sequence[Span]) -> _Drained:
    """Write the messages of each span to a file of its own, so that it is the same one whenever it is read."""
    found = _Drained()
    with ExitStack() as stack:
        opened: dict[str, BinaryIO] = {}
        rows: dict[str, int] = {}
        for piece in broker.drain(spans):
            part = piece.span.part
            if piece.lines:
                if part not in opened:
                    opened[part] = stack.enter_context(_place(folder, part).open("wb"))
                opened[part].writelines(piece.lines)
                rows[part] = rows.get(part, 0) + len(piece.lines)
            if piece.ended_at is None:
                continue
            found.ends[part] = piece.span, piece.ended_at
            found.lost[part] = broker.lost(piece.span, rows.get(part, 0))
            if part in opened:
                opened.pop(part).close()
                found.files.append(_staged(folder, broker, piece.span, rows[part], piece.ended_at))
    return found


def _place(folder: Path, part: str) -> Path:
    return folder / f"partition-{number_of(part):05}.ndjson"


def _staged(folder: Path, broker: Broker, span: Span, rows: int, ended_at: str) -> Staged:
    path = _place(folder, span.part)
    size, sha256 = seal(path)
    return Staged(path, path.name, f"{broker.place}/{span.part}: {span.since or span.extent.begin} to {ended_at}", size, sha256, rows)


def _ranges(wanted: Reach, plan: _Plan, drained: _Drained) -> list[Range]:
    """How far all parts are, also those that had nothing: the next night asks this manifest alone."""
    ranges = {part: Range(part=part, since=one.until, until=one.until, ever=one.ever) for part, one in wanted.after.items()}
    if plan.is_anew:
        new = {topic_of(part) for part in drained.ends}
        ranges = {part: one for part, one in ranges.items() if topic_of(part) not in new}
    for part, (span, end) in drained.ends.items():
        until = span.until if wanted.until is not None else end
        ranges[part] = Range(part=part, since=span.since, until=until, lost=drained.lost[part], ever=span.ever)
    return [ranges[part] for part in sorted(ranges, key=lambda part: (topic_of(part), number_of(part)))]


def _losses(drained: _Drained, mark: Mark | None) -> Iterator[str]:
    for part, lost in drained.lost.items():
        if lost:
            since = drained.ends[part][0].since or "its beginning"
            told = "were removed by the broker before this night took them, and are lost; keep them longer there"
            yield f"{part}: {lost} messages after {since} {told}"
    held = int(mark.facts.get("rows") or 0) if mark else 0
    if drained.rows < held:
        yield f"this night held {held} messages when it was taken first, and the broker still has {drained.rows} of them"


# errors --------------------------------------------------------------------------------------------------------------------------
@contextmanager
def _told(shelf: Shelf) -> Iterator[None]:
    """Turn what a broker says into errors of ours."""
    try:
        yield
    except BrokerError as error:
        topic = _topic(shelf)
        told = f"Source {shelf.source.name}: the topic {topic.name} gave no messages: {str(error).rstrip('.')}."
        if error.may_pass:
            step = "Nothing, if that broker is up again soon: the task is tried again by itself, and ends where it would have ended now."
            raise SourceUnavailable(told, next_step=step, tenant=shelf.tenant.slug) from None
        connection = shelf.tenant.connection_id(shelf.source.connection or "")
        step = f"Correct the source's `topic`, the connection {connection} or what its user may do, then run `land` again."
        raise DeliveryError(told, next_step=step, tenant=shelf.tenant.slug) from None
