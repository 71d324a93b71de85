"""What a source delivers today against what it delivered before: columns that came, went, or are of another type.

A *shape* is the columns of one batch, each with its kind: of Parquet and Arrow the type, of CSV and sheets `text`, of JSON whether every
object has the key or some do (of NDJSON: every one of a sample of lines, because asking every line would cost as much as reading it).

Shapes stand in the ledger as marks of the station `shapes`, part `<source>/<digest>`: the few that a source ever had, each with the batch
that brought it and with what was then said of it. The mark of a batch in `bronze` names its shape.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from nocturne.bronze.formats import Columns, Lacking
from nocturne.bronze.mapping import columns_read
from nocturne.bronze.reading import EVERY_ROW, SOME_ROWS, Batch
from nocturne.datasets import Dataset
from nocturne.errors import DeliveryError
from nocturne.expressions import check_expression
from nocturne.ledger import Mark, Marks
from nocturne.tenants import Source, Tenant

STATION: Final = "shapes"
_SHOWN: Final = 12

Shape = Mapping[str, str]
"""The kind of each column; of several kinds in several files, all of them."""

_FAMILIES: Final = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        (r"u?int\d+", "whole number"),
        (r"halffloat|float|double", "number"),
        (r"decimal\d*\(.*\)", "decimal"),
        (r"(large_)?string(_view)?|dictionary<values=(large_)?string.*", "text"),
        (r"(large_)?binary(_view)?|fixed_size_binary.*", "bytes"),
        (r"timestamp\[\w+\]", "instant without a zone"),
        (r"timestamp\[\w+, tz=.*\]", "instant"),
        (r"date\d+\[\w+\]", "date"),
        (rf"{EVERY_ROW}|{SOME_ROWS}", "json"),
    )
)


@dataclass(frozen=True)
class Drift:
    """How a shape differs from an earlier one; `retyped`: (column, was, is). A type that became wider or narrower is the same type."""

    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    retyped: tuple[tuple[str, str, str], ...] = ()

    @property
    def text(self) -> str:
        """For people, on one line; empty if nothing differs."""
        changes = [f"{column} (was {was}, is {now})" for column, was, now in self.retyped]
        told = {"new": self.new, "gone": self.gone, "of another type": changes}
        return "; ".join(f"{what}: {_listed(columns)}" for what, columns in told.items() if columns)


def compared(was: Shape, now: Shape, *, known: Collection[str] = (), optional: Collection[str] = ()) -> Drift:
    """What differs. Columns that are `known` from still earlier deliveries are not new, and those that are `optional`, because JSON objects
    are known to lack them, are not gone.
    """
    return Drift(
        new=tuple(sorted(set(now) - set(was) - set(known))),
        gone=tuple(sorted(column for column in set(was) - set(now) if was[column] != SOME_ROWS and column not in optional)),
        retyped=tuple((column, was[column], now[column]) for column in sorted(set(was) & set(now)) if _differ(was[column], now[column])),
    )


def shape_of(columns: Columns) -> Shape:
    """The shape of a batch from the columns of its files."""
    kinds: dict[str, set[str]] = {}
    for found in columns.values():
        for column, kind in found.items():
            kinds.setdefault(column, set()).add(kind)
    return {column: " or ".join(sorted(kinds[column])) for column in sorted(kinds)}


def deciding_columns(source: Source, dataset: Dataset) -> frozenset[str]:
    """The delivered columns that make the key and the event date: of another type, each old row would stand beside a new one."""
    wanted = {*dataset.key, *([dataset.instant] if dataset.instant else [])}
    if not source.map:
        return frozenset(wanted)
    return frozenset().union(*(check_expression(source.map[column]).columns for column in wanted if column in source.map))


@dataclass
class Shapes:
    """The shapes of one dataset's sources, as the ledger and this run know them."""

    tenant: Tenant
    dataset: Dataset
    ledger: Marks
    day: date
    loaded: Mapping[str, Mark]
    """Bronze's marks, by batch."""
    _of: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._marks = self.ledger.marks(self.tenant, STATION, self.dataset.name)
        self._of = {batch: str(mark.facts["shape"]) for batch, mark in self.loaded.items() if mark.facts.get("shape")}

    def facts(self, batch: str) -> dict[str, str]:
        """What bronze's mark of a batch says of its shape."""
        return {"shape": self._of[batch]} if batch in self._of else {}

    def take(self, batch: Batch, columns: Columns) -> None:
        """Compare a batch with the one before it, and keep its shape. Raises DeliveryError if what makes the key has another type.

        Batches are taken by the day on which they were received; a run that was killed finds and says the same again.
        """
        shape = shape_of(columns)
        self._of.pop(batch.id, None)
        if not shape:
            return
        before, was = self._before(batch)
        drift = self._drift(batch, was, shape) if before else Drift()
        deciding = deciding_columns(batch.source, self.dataset)
        if any(column in deciding for column, *_ in drift.retyped) and not batch.source.accepts(batch.manifest.received_on):
            raise self._retyped(batch, columns, before, drift, deciding)
        digest = hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:12]
        self._of[batch.id] = digest
        part = f"{batch.source.name}/{digest}"
        if part not in self._marks:
            told = f"{self._title(batch)}: batch {batch.id} has other columns than {before} had: {drift.text}." if drift.text else ""
            mark = Mark(digest, {"columns": dict(shape), "batch": batch.id, "found_on": self.day.isoformat(), "told": told})
            self.ledger.mark(self.tenant, STATION, self.dataset.name, {part: mark})
            self._marks[part] = mark

    def with_difference(self, batch: Batch, error: Lacking) -> DeliveryError:
        """The error of a batch that lacks columns, with what is there in their place if the source ever delivered before."""
        before, was = self._before(batch)
        if not before:
            return error
        drift = compared(was, dict.fromkeys(error.has, EVERY_ROW))
        gone = tuple(sorted({*drift.gone, *(error.missing & set(was))}))
        told = Drift(drift.new, gone).text or "nothing else differs"
        return DeliveryError(f"{error.what} Against batch {before}: {told}.", next_step=error.next_step, tenant=error.tenant, day=error.day)

    def forget(self, batches: Collection[str]) -> None:
        """Compare nothing with these batches any more: landing has none of them."""
        self._of = {batch: digest for batch, digest in self._of.items() if batch not in batches}

    @property
    def warnings(self) -> list[str]:
        """What was found on this day, in this run or in one before it that did not live to tell."""
        found = [mark.facts for _, mark in sorted(self._marks.items()) if mark.facts["found_on"] == self.day.isoformat()]
        return [str(facts["told"]) for facts in found if facts["told"]]

    def _before(self, batch: Batch) -> tuple[str, Shape]:
        """The batch of the same source that was received last before this one, and its shape; an empty name if there is none."""
        earlier = [
            (day, one)
            for one in self._of
            for source, _, day in [one.rpartition("/")]
            if source == batch.source.name and day < batch.manifest.received_on.isoformat()
        ]
        if not earlier:
            return "", {}
        before = max(earlier)[1]
        mark = self._marks.get(f"{batch.source.name}/{self._of[before]}")
        return (before, mark.facts["columns"]) if mark else ("", {})

    def _seen(self, batch: Batch) -> list[Shape]:
        """Every shape that the source was ever seen with."""
        return [mark.facts["columns"] for part, mark in self._marks.items() if part.rpartition("/")[0] == batch.source.name]

    def _drift(self, batch: Batch, was: Shape, now: Shape) -> Drift:
        seen = self._seen(batch)
        known = {column for shape in seen for column in shape}
        optional = {column for column, kind in was.items() if kind == EVERY_ROW and any(shape.get(column) != EVERY_ROW for shape in seen)}
        return compared(was, now, known=known, optional=optional)

    def _title(self, batch: Batch) -> str:
        read = sorted(set().union(*columns_read(batch.source, self.dataset)))
        return f"{self.dataset.name}, source {batch.source.name} (the mapping reads {_listed(read)})"

    def _retyped(self, batch: Batch, columns: Columns, before: str, drift: Drift, deciding: frozenset[str]) -> DeliveryError:
        column, was, now = next(one for one in drift.retyped if one[0] in deciding)
        file = next((file for file, found in columns.items() if _differ(was, found.get(column, was))), None)
        return batch.refuse(
            file,
            f"has {column}, which decides the key or the date of its rows, as {now}; batch {before} had it as {was}, and the same row would"
            f" stand twice. Against that batch, {drift.text}",
            f"Have source {batch.source.name} deliver it as before. If it stays so, see that `map` makes the same values of it, and say so"
            f" beside the source: `accept: [{{day: {batch.manifest.received_on}, reason: ...}}]`.",
        )


def _differ(was: str, now: str) -> bool:
    families = _families(was), _families(now)
    return bool(families[0]) and bool(families[1]) and not families[1] <= families[0]


def _families(kinds: str) -> frozenset[str]:
    """The families of these types; a column that holds nothing (`null`) says nothing of its type."""
    return frozenset(_family(kind) for kind in kinds.split(" or ") if kind != "null")


def _family(kind: str) -> str:
    return next((family for pattern, family in _FAMILIES if pattern.fullmatch(kind)), kind)


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
