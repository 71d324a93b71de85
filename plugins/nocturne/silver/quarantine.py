"""What stands in quarantine, for people: how much of it and why, examples without personal data, and the way back.

Rows are never repaired in quarantine: whoever corrects the mapping (or the code lists, or the tenant's file) has the batches loaded again
from landing's raw bytes, and those rows take the same way as all others.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nocturne import rules
from nocturne.datasets import Dataset, Personal
from nocturne.errors import PermanentError
from nocturne.expressions import check_expression
from nocturne.lake import BATCH, Connection, duck, table, text
from nocturne.ledger import Mark, Marks
from nocturne.settings import Settings
from nocturne.silver.refining import QUARANTINE
from nocturne.tenants import Source, Tenant

MASKED: Final = "(not shown)"
_LONGEST: Final = 80
_ADDRESS: Final = re.compile(r"[^\s@\"',;]+@[^\s@\"',;]+")


@dataclass(frozen=True)
class Refused:
    """The rows of one dataset that were refused for one reason (one row may have several)."""

    dataset: str
    reason: str
    rows: int
    batches: int
    first: str
    last: str


@dataclass(frozen=True)
class Standing:
    """What stands in quarantine of one dataset."""

    dataset: str
    delivered: int
    quarantined: int
    batches: int


@dataclass(frozen=True)
class Example:
    """One refused row: where it stands in which batch, why, and its delivered columns as far as they may be shown."""

    batch: str
    file: str
    line: int
    reasons: tuple[str, ...]
    delivered: Mapping[str, str]


def standing(tenant: Tenant, ledger: Marks) -> list[Standing]:
    """The counts of every dataset of the tenant. Reads marks alone."""
    found = []
    for dataset in tenant.datasets:
        facts = [mark.facts for mark in ledger.marks(tenant, QUARANTINE, dataset.name).values()]
        batches = sum(bool(fact["quarantined"]) for fact in facts)
        found.append(Standing(dataset.name, sum(f["rows"] for f in facts), sum(f["quarantined"] for f in facts), batches))
    return found


def refused(tenant: Tenant, ledger: Marks, datasets: Collection[str] = ()) -> list[Refused]:
    """Every reason with its rows, the most frequent of each dataset first. Reads marks alone."""
    found: list[Refused] = []
    for dataset in _chosen(tenant, datasets):
        marks = ledger.marks(tenant, QUARANTINE, dataset.name)
        counts: Counter[str] = Counter()
        batches: dict[str, list[str]] = {}
        for batch, mark in sorted(marks.items(), key=lambda one: one[0].rpartition("/")[2]):
            for reason, rows in mark.facts["reasons"].items():
                counts[reason] += rows
                batches.setdefault(reason, []).append(batch)
        found += [
            Refused(dataset.name, reason, rows, len(batches[reason]), batches[reason][0], batches[reason][-1])
            for reason, rows in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
        ]
    return found


def examples(tenant: Tenant, dataset: Dataset, settings: Settings, *, reason: str = "", count: int = 5) -> list[Example]:
    """The newest refused rows of a dataset whose reasons contain `reason`. Reads the quarantine; shows nobody's data.

    Of a delivered column is shown only what the mapping reads into columns that know nothing of a person. What the mapping does not read,
    and what is no JSON object at all, could be anything, and is not shown.
    """
    with duck(settings) as connection:
        return list(_examples(connection, tenant, dataset, settings, reason, count))


def replay(tenant: Tenant, ledger: Marks, *, datasets: Collection[str] = (), reason: str = "") -> dict[str, list[str]]:
    """Have the batches with refused rows (of these datasets, with reasons that contain `reason`) loaded again by the next night.

    Takes their marks in `bronze` and `gate_bronze` away, so that `load_bronze` reads landing's bytes with the mapping as it is then; rows
    in bronze, silver and quarantine stay until they are replaced. The caller holds the tenant's lease. Returns the batches, by dataset.
    Run again before that night, it finds the same batches and changes nothing.
    """
    chosen: dict[str, list[str]] = {}
    for dataset in _chosen(tenant, datasets):
        marks = ledger.marks(tenant, QUARANTINE, dataset.name)
        batches = sorted(batch for batch, mark in marks.items() if _has(mark, reason))
        if batches:
            # The gate's first: a batch that bronze has marked and the gate has not is one that waits, whenever this is killed.
            for station in ("gate_bronze", "bronze"):
                ledger.unmark(tenant, station, dataset.name, batches)
            chosen[dataset.name] = batches
    return chosen


def _has(mark: Mark, reason: str) -> bool:
    return bool(mark.facts["quarantined"]) and any(reason in one for one in mark.facts["reasons"])


def _chosen(tenant: Tenant, names: Collection[str]) -> Iterator[Dataset]:
    if unknown := sorted(set(names) - {dataset.name for dataset in tenant.datasets}):
        raise PermanentError(
            f"The tenant has no dataset {', '.join(unknown)}.",
            next_step=f"Choose of {', '.join(dataset.name for dataset in tenant.datasets)}.",
            tenant=tenant.slug,
        )
    return (dataset for dataset in tenant.datasets if not names or dataset.name in names)


def _examples(connection: Connection, tenant: Tenant, dataset: Dataset, settings: Settings, reason: str, count: int) -> Iterator[Example]:
    rows = table(settings, tenant, "quarantine", dataset).scan(BATCH, "_received_on", "_file", "_line", "reasons", "_delivered")
    kinds = f"list_transform(reasons, lambda one: {rules.kind_of('one')})"
    found = connection.execute(
        f"SELECT {BATCH}, _file, _line, reasons, _delivered FROM {rows}"
        f" WHERE len(list_filter({kinds}, lambda one: contains(one, {text(reason)}))) > 0"
        f" ORDER BY _received_on DESC, {BATCH}, _file, _line LIMIT {int(count)}"
    ).fetchall()
    personal = {column.name for column in dataset.columns if column.personal is not Personal.NO}
    views = {source.name: _View.of(source, dataset, personal) for source in tenant.sources_of(dataset.name)}
    for batch, file, line, reasons, delivered in found:
        view = views.get(batch.rpartition("/")[0]) or _View(frozenset(), frozenset(dataset.by_name))
        yield Example(batch, file, line, tuple(view.reason(one) for one in reasons), _masked(delivered, view.shown))


@dataclass(frozen=True)
class _View:
    """What may be shown of a source's rows: the delivered columns `shown`; of our columns `private`, no value that a reason tells."""

    shown: frozenset[str]
    private: frozenset[str]

    @classmethod
    def of(cls, source: Source, dataset: Dataset, personal: Collection[str]) -> _View:
        """Shown is what is read, and by nothing that knows of a person; private, what reads something that is not shown."""
        if not source.map:
            return cls(frozenset(dataset.by_name) - set(personal), frozenset(personal))
        read = {column: check_expression(expression).columns for column, expression in source.map.items()}
        people = frozenset().union(*(columns for column, columns in read.items() if column in personal))
        touching = {column for column, columns in read.items() if columns & people}
        return cls(frozenset().union(*read.values()) - people, frozenset(personal) | touching)

    def reason(self, reason: str) -> str:
        """A reason, without the value that it tells if that may be a person's."""
        if reason.partition(":")[0] in self.private:
            return re.sub(r"'.*'", MASKED, reason, flags=re.DOTALL)
        return _ADDRESS.sub(MASKED, reason)


def _masked(delivered: str | None, shown: Collection[str]) -> dict[str, str]:
    try:
        row = json.loads(delivered or "")
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        return {"row": f"{MASKED[:-1]}: {len(delivered or '')} characters)"}
    return {str(column): _plain(value) if column in shown else MASKED for column, value in row.items()}


def _plain(value: Any) -> str:
    told = _ADDRESS.sub(MASKED, value if isinstance(value, str) else json.dumps(value))
    return told if len(told) <= _LONGEST else f"{told[:_LONGEST]}…"
