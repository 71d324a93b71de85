"""The gate behind bronze: every loaded batch is asked the checks of its dataset, and only batches that pass are open to silver."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nocturne.datasets import DATASETS, Dataset, Personal, Type
from nocturne.errors import GateFailed, PermanentError
from nocturne.gates.adjustments import of_dataset
from nocturne.gates.checks import Check
from nocturne.gates.comparison import Measured, frame, measure
from nocturne.gates.evaluation import Judge, NotEvaluated, Verdict
from nocturne.gates.findings import Finding, result_of, shown, told
from nocturne.gates.measures import REGISTERS, Batch, Counts, Profile, count
from nocturne.gates.screening import asks, suspects
from nocturne.gates.suites import (
    ACCEPTABLE,
    AGE,
    PROBLEMS,
    WRONG_CODES,
    Suite,
    load_batch_checks,
    load_suite,
    row_columns,
    suite_fingerprint,
)
from nocturne.lake import BATCH, Connection, duck, name, reader, table, text
from nocturne.ledger import Mark, Marks, utc_now
from nocturne.quality import Judgement, Result, score
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

if TYPE_CHECKING:
    import pandas as pd

STATION = "gate_bronze"
_VERSION = "3"  # of what this code makes of a suite: a change of it asks every batch again
_CHUNK_ROWS = 400_000  # rows that are asked at once: what a frame of them takes fits any worker
_SAMPLES = 3


def gate_bronze(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Ask every batch that no mark says has passed, in its present form and with the present suite.

    Reads bronze and its marks; keeps what it found of each batch, marks each that passed, also if another one fails, and takes the mark
    from one that does no more. A re-run asks only what failed or changed. Raises GateFailed with every failed check of every dataset, after
    all were asked; if only batches fail that were received after `day`, it warns of them: they stop their own night.
    """
    started = utc_now()
    gates = [_DatasetGate(tenant, dataset, settings, ledger) for dataset in tenant.datasets]
    if waiting := [gate for gate in gates if gate.pending]:
        judge = Judge()
        with duck(settings) as connection:
            _ask_batches(judge, [(gate, gate.measure(connection, gates)) for gate in waiting])
            for gate in waiting:
                gate.ask_rows(judge, connection)
    ledger.judge(tenant, [judgement for gate in gates for judgement in gate.judgements()])
    for gate in gates:
        gate.keep_marks()
    if any(gate.error or gate.stops(day) for gate in gates):
        raise _failure(tenant, day, gates)
    return Receipt(
        tenant=tenant.slug,
        day=day,
        station=STATION,
        started_at=started,
        finished_at=utc_now(),
        entries=tuple(gate.entry() for gate in gates),
        warnings=(
            *(line for gate in gates for line in told(gate.findings, "warn")),
            *(f"{line} It came after {day}, so this night goes on without it." for gate in gates for line in told(gate.findings, "stop")),
        ),
    )


def failures(tenant: Tenant, dataset: Dataset, settings: Settings, ledger: Marks, suite: Suite) -> frozenset[int]:
    """The checks of another suite (by their place in it) that some batch of a dataset fails. Reads bronze and its marks; keeps nothing."""
    gate = _DatasetGate(tenant, dataset, settings, ledger)
    gate.suite, gate.pending = suite, [batch for batch in gate.batches if batch.rows]
    gate.results = {batch.id: [] for batch in gate.pending}
    with duck(settings) as connection:
        gate.ask_rows(Judge(), connection)
    if gate.error:
        raise PermanentError(f"The suite cannot be asked: {gate.error}.", next_step="Correct the check it names.", tenant=tenant.slug)
    places = {check.place: number for number, check in enumerate(suite.rows)}
    return frozenset(places[finding.check.place] for finding in gate.findings)


def _ask_batches(judge: Judge, measured: Sequence[tuple[_DatasetGate, Sequence[Measured]]]) -> None:
    """Ask the batches of all datasets in one frame; each gate learns what was found of its own."""
    checks = list({(check.place, repr(check.kwargs)): check for gate, _ in measured for check in gate.of_batches}.values())
    owners = [(gate, batch, one) for gate, measures in measured for batch, one in zip(gate.pending, measures, strict=True)]
    try:
        verdicts = judge.ask(frame([one for _, _, one in owners]), checks)
    except NotEvaluated as error:
        for gate, _ in measured:
            gate.error = str(error)
        return
    for check, verdict in zip(checks, verdicts, strict=True):
        failing = set(verdict.failing.tolist())
        for position, (gate, batch, one) in enumerate(owners):
            own = next((each for each in gate.of_batches if (each.place, each.kwargs) == (check.place, check.kwargs)), None)
            if own is None:
                continue
            found = gate.finding(batch, own, one.observed(check.columns[0])) if position in failing else None
            gate.keep(batch, own, int(verdict.asked[position]), int(position in failing), found)


def _failure(tenant: Tenant, day: date, gates: Sequence[_DatasetGate]) -> GateFailed:
    lines = [line for gate in gates for line in told(gate.findings, "stop")]
    lines += [f"{gate.dataset.name}: nothing can be said, because {gate.error}" for gate in gates if gate.error]
    failed, passed = sum(len(gate.failed) for gate in gates), sum(len(gate.passed) for gate in gates)
    return GateFailed(
        f"The bronze gate stopped {failed} and let pass {passed} of the batches that it asked:\n- " + "\n- ".join(lines),
        next_step="Have the delivery corrected (a changed file is taken again by itself), or correct the check named; then clear the task."
        " If the rows are right as they are (an outage, a holiday), say so beside the source: `accept: [{day: <its day>, reason: ...}]`.",
        tenant=tenant.slug,
        day=day,
    )


class _DatasetGate:
    """The gate of one dataset of one tenant: which batches wait before it, and what came of them."""

    def __init__(self, tenant: Tenant, dataset: Dataset, settings: Settings, ledger: Marks) -> None:
        self.tenant = tenant
        self.dataset = dataset
        self.ledger = ledger
        self.settings = settings
        self.bronze = table(settings, tenant, "bronze", dataset)
        self.batches = sorted(
            (Batch.of(part, mark) for part, mark in ledger.marks(tenant, "bronze", dataset.name).items()),
            key=lambda batch: (batch.received_on, batch.id),
        )
        self.marks = ledger.marks(tenant, STATION, dataset.name)
        declared = f"{suite_fingerprint(settings.expectations, dataset.name)} {_VERSION}"
        if dataset.name in tenant.checks:
            declared += tenant.checks[dataset.name].model_dump_json()
        self.fingerprint = hashlib.sha256(declared.encode()).hexdigest()[:16]
        self.pending = [
            batch for batch in self.batches if batch.id not in self.marks or self.marks[batch.id].fingerprint != self._wanted(batch)
        ]
        self.suite, self.of_batches = Suite(dataset.name, (), may_be_empty=False), tuple[Check, ...]()
        if self.pending:
            suite, of_batches = load_suite(settings.expectations, dataset.name), load_batch_checks(settings.expectations)
            self.suite, self.of_batches = of_dataset(tenant, settings, suite, of_batches)
        self.profiles = {part: Profile.of(mark.facts) for part, mark in self.marks.items()}
        self.findings: list[Finding] = []
        self.results: dict[str, list[Result]] = {batch.id: [] for batch in self.pending}
        self.rows = 0
        self.error: str | None = None

    def _wanted(self, batch: Batch) -> str:
        """Bronze's own fingerprint stands in front: silver compares it with the mark in force. An answer of a person asks again."""
        accepted = self._accepted(batch)
        answer = f":{hashlib.sha256(accepted.encode()).hexdigest()[:8]}" if accepted else ""
        return f"{batch.fingerprint}:{self.fingerprint}{answer}"

    def _accepted(self, batch: Batch) -> str | None:
        """Why a batch is right though it is unlike all before, if somebody says so."""
        sources = self.tenant.sources_of(self.dataset.name)
        return next((source.accepts(batch.received_on) for source in sources if source.name == batch.source), None)

    def finding(self, batch: Batch, check: Check, observed: str) -> Finding:
        """What is said of a batch that fails a check of its measures; what somebody accepts is told and stops nothing."""
        if check.severity == "stop" and (accepted := self._accepted(batch)) and ACCEPTABLE.issuperset(check.columns):
            check, observed = replace(check, severity="warn"), f"{observed}; accepted: {accepted}"
        return Finding(self.dataset.name, batch.id, batch.received_on, check, observed)

    def keep(self, batch: Batch, check: Check, asked: int, failing: int, found: Finding | None) -> None:
        """Keep what came of a check of one batch: of `asked` rows (or measures) `failing` failed; `found` is what is said of it."""
        result = result_of(found.check if found else check, asked, failing, found, on=batch.received_on)
        if found and result.outcome == "failed":
            self.findings.append(found)
        self.results[batch.id].append(result)

    # what is asked ---------------------------------------------------------------------------------------------------------
    def measure(self, connection: Connection, gates: Iterable[_DatasetGate]) -> list[Measured]:
        """The measures of the pending batches, which may name what other `gates` are of."""
        zone = self.tenant.time_zone[-1].value
        registers = {gate.dataset.name: gate for gate in gates if gate is not self}
        named = {column: registers[of] for column, of in REGISTERS.items() if column in self.dataset.by_name and of in registers}
        known = {column: told for column, register in named.items() if (told := register.tells_of(column))}
        counted = count(connection, self.bronze, self.dataset, self.pending, zone, known) if self.pending else {}
        self.profiles |= {batch: counts.profile for batch, counts in counted.items()}
        return [self._measure(batch, counted.get(batch.id, Counts(0, {}))) for batch in self.pending]

    def tells_of(self, column: str) -> str | None:
        """SQL of what this register tells of, by its key: of a source that delivers its whole state, what its last delivery has."""
        parts: list[str] = []
        for source in self.tenant.sources_of(self.dataset.name):
            own = [batch.id for batch in self.batches if batch.source == source.name and batch.rows]
            parts += own if source.is_daily or source.is_incremental else own[-1:]
        return f"SELECT {column} FROM {self.bronze.scan(column, parts=parts)} WHERE {column} IS NOT NULL" if parts else None

    def _measure(self, batch: Batch, counts: Counts) -> Measured:
        earlier = [one for one in self.batches if one.source == batch.source and one.received_on < batch.received_on]
        sources = [source for source in self.tenant.sources_of(self.dataset.name) if source.name == batch.source]
        is_daily = all(source.is_daily or source.is_incremental for source in sources)
        # What a register delivers day by day is what changed on the day: nothing, on most days of many.
        brings_changes = is_daily and self.dataset.kind == "reference"
        return measure(
            batch,
            counts,
            earlier,
            [self.profiles[one.id] for one in earlier if one.id in self.profiles and self.profiles[one.id].filled],
            required=[column.name for column in self.dataset.columns if column.required],
            is_daily=is_daily,
            may_be_empty=self.suite.may_be_empty or brings_changes,
        )

    def ask_rows(self, judge: Judge, connection: Connection) -> None:
        """Ask the rows of the pending batches, oldest first: the library is asked those that may fail, as many at once as fit a frame."""
        for batches, suspected, asked in self._suspicions(connection):
            try:
                for batch, check, total, failing, found in _of_rows(judge, self.suite, batches, suspected, asked):
                    self.keep(batch, check, total, failing, found)
            except NotEvaluated as error:
                self.error = str(error)
                return
            self.rows += sum(one.rows for one in asked.values())

    def _suspicions(self, connection: Connection) -> Iterator[tuple[list[Batch], pa.Table, dict[str, _Asked]]]:
        """Some of the pending batches, their rows that may fail, and how many rows of each are asked what."""
        batches, frames, asked = list[Batch](), list[pa.Table](), dict[str, _Asked]()
        for chunk in _chunks(self.pending):
            rows = self._selected(chunk)
            counted = self._asked(connection, rows)
            suspected = self._suspected(connection, rows, counted)
            if frames and sum(frame.num_rows for frame in frames) + suspected.num_rows > _CHUNK_ROWS:
                yield batches, pa.concat_tables(frames), asked
                batches, frames, asked = [], [], {}
            batches, frames, asked = [*batches, *chunk], [*frames, suspected], asked | counted
        if asked:
            yield batches, pa.concat_tables(frames), asked

    def _selected(self, chunk: Sequence[Batch]) -> str:
        """SQL of the rows of a chunk: where each stands, and the columns that the checks ask, as they compare."""
        own = [column for column in self.suite.columns if column in self.dataset.by_name]
        codes = [column.name for column in self.dataset.columns if column.code] if WRONG_CODES in self.suite.columns else []
        needed = dict.fromkeys((BATCH, "_file", "_line", "_problems", "_event_on", "_received_on", *own, *codes))
        asked = [f"{_comparable(column, self.dataset.by_name[column].type)} AS {name(column)}" for column in own]
        asked.append(f"coalesce(len(_problems), 0) AS {PROBLEMS}")
        asked.append(f"date_diff('day', _event_on, _received_on) AS {AGE}")
        asked.append(f"{wrong_codes(self.dataset) if codes else '0'} AS {WRONG_CODES}")
        rows = self.bronze.scan(*needed, parts=[batch.id for batch in chunk])
        return f"SELECT {BATCH}, _file, _line, {', '.join(asked)} FROM {rows}"

    def _asked(self, connection: Connection, rows: str) -> dict[str, _Asked]:
        """How many rows of each batch each check asks, and where the first of them stands."""
        questions = list(dict.fromkeys(asks(check) for check in self.suite.rows))
        counts = "".join(f", count(*) FILTER ({question})" for question in questions)
        found = connection.execute(f"SELECT {BATCH}, count(*), min(_line){counts} FROM ({rows}) GROUP BY {BATCH}").fetchall()
        return {batch: _Asked(total, first, dict(zip(questions, each, strict=True))) for batch, total, first, *each in found}

    def _suspected(self, connection: Connection, rows: str, asked: Mapping[str, _Asked]) -> pa.Table:
        """The rows that may fail a check, and of each batch the first, which the library is to let pass unless it fails too."""
        columns = row_columns(self.dataset.name)
        conditions = dict.fromkeys(suspects(check.within(BATCH), columns, rows) for check in self.suite.rows)
        first = ", ".join(f"({text(batch)}, {one.first})" for batch, one in asked.items())
        where = " OR ".join([*conditions, f"({BATCH}, _line) IN ({first})"]) if first else "false"
        return reader(connection, f"SELECT * FROM ({rows}) WHERE {where}").read_all()

    # what came of it -------------------------------------------------------------------------------------------------------
    @property
    def _stopping(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.check.severity == "stop"]

    @property
    def failed(self) -> frozenset[str]:
        """The batches that a check of severity `stop` holds back."""
        return frozenset(finding.batch for finding in self._stopping)

    def stops(self, day: date) -> bool:
        """Whether it holds a batch back that the night of `day` is about."""
        return any(finding.received_on <= day for finding in self._stopping)

    @property
    def passed(self) -> list[Batch]:
        """The batches that were asked all checks and are open to silver; none while something could not be asked."""
        return [] if self.error else [batch for batch in self.pending if batch.id not in self.failed]

    def keep_marks(self) -> None:
        """Mark what passed; forget what did not, or is no more."""
        self.ledger.mark(self.tenant, STATION, self.dataset.name, {batch.id: self._mark(batch) for batch in self.passed})
        if lost := sorted(set(self.marks) - {batch.id for batch in self.batches} | (self.failed & set(self.marks))):
            self.ledger.unmark(self.tenant, STATION, self.dataset.name, lost)

    def judgements(self) -> list[Judgement]:
        """What was found of the batches that were asked everything."""
        return [
            Judgement(
                "bronze",
                self.dataset.name,
                batch.received_on,
                batch.id,
                tuple(self.results[batch.id]),
                {"rows": batch.rows + batch.left_out, "left_out": batch.left_out},
            )
            for batch in ([] if self.error else self.pending)
        ]

    def _mark(self, batch: Batch) -> Mark:
        facts = {
            "passed": True,
            "bronze": batch.fingerprint,
            "rows": batch.rows,
            "quality_ratio": self._quality(batch),
            **self.profiles.get(batch.id, Profile()).facts,
        }
        return Mark(self._wanted(batch), facts)

    def _quality(self, batch: Batch) -> float:
        """Share of the checks that a batch passed, weighted by severity; a batch that nothing could be asked of failed nothing."""
        found = score(self.results[batch.id])
        return 1.0 if found is None else round(found, 4)

    def entry(self) -> Entry:
        """What the receipt says of it."""
        counts = {
            "batches": len(self.passed),
            "rows": self.rows,
            "checks": max(map(len, self.results.values()), default=0),
            "warnings": len(self.findings),
        }
        facts = {"quality_ratio": min(map(self._quality, self.passed))} if self.passed else {}
        return Entry(name=self.dataset.name, fingerprint=self.fingerprint, skipped=not self.pending, counts=counts, facts=facts)


@dataclass(frozen=True)
class _Asked:
    """The rows of a batch: how many there are, where the first stands, and how many each question asks."""

    rows: int
    first: int
    counts: Mapping[str, int]

    def of(self, check: Check) -> int:
        """How many rows a check asks."""
        return self.counts[asks(check)]


def _of_rows(
    judge: Judge, suite: Suite, chunk: Sequence[Batch], rows: pa.Table, asked: Mapping[str, _Asked]
) -> Iterator[tuple[Batch, Check, int, int, Finding | None]]:
    """What came of the checks of rows (batch, check, rows asked, rows failing, what is said of it): the suspected rows of all batches are
    asked in one frame, and each batch is judged by its own.
    """
    groups = _groups(rows, chunk)
    asked_rows: pd.DataFrame = rows.select(list(suite.columns)).to_pandas()
    asked_rows[BATCH] = groups
    for check, verdict in zip(suite.rows, judge.ask(asked_rows, [check.within(BATCH) for check in suite.rows]), strict=True):
        failing = np.bincount(groups[verdict.failing], minlength=len(chunk)).tolist()
        for position, batch in enumerate(chunk):
            found, total = None, asked[batch.id].of(check) if batch.id in asked else 0
            if failing[position] and 1 - failing[position] / total < check.mostly:
                share = failing[position] / total
                observed = f"{failing[position]:,} of {total:,} rows fail ({share:.1%}, allowed are {1 - check.mostly:.1%})"
                samples, extract = _samples(rows, verdict, groups, position, _told_columns(suite.dataset, check))
                found = Finding(suite.dataset, batch.id, batch.received_on, check, observed, samples, extract)
            yield batch, check, total, failing[position], found


def _groups(rows: pa.Table, chunk: Sequence[Batch]) -> NDArray[np.intp]:
    """The position in the chunk of each row's batch."""
    positions = {batch.id: position for position, batch in enumerate(chunk)}
    encoded = rows[BATCH].combine_chunks().dictionary_encode()
    order = np.array([positions[value] for value in encoded.dictionary.to_pylist()], dtype=np.intp)
    groups: NDArray[np.intp] = order[encoded.indices.to_numpy()]
    return groups


def _told_columns(dataset: str, check: Check) -> list[str]:
    """The columns that a check reads and that know of no person and name nothing."""
    columns = {one: DATASETS[dataset].by_name.get(one) for one in check.columns}
    return [one for one, column in columns.items() if column is None or (column.personal is Personal.NO and not one.endswith("_id"))]


def _samples(
    rows: pa.Table, verdict: Verdict, groups: NDArray[np.intp], position: int, told_columns: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Where the first failing rows of a batch stand, and beside it what they hold in the columns that may be told."""
    failing = verdict.failing[groups[verdict.failing] == position]
    asked = rows.select(["_file", "_line", *told_columns]).take(pa.array(failing))
    first = asked.sort_by([("_file", "ascending"), ("_line", "ascending")]).slice(0, _SAMPLES).to_pylist()
    stand = tuple(f"{row['_file']}:{row['_line']}" for row in first)
    told_rows = [", ".join(f"{column} = {shown(row[column])}" for column in told_columns) for row in first]
    return stand, tuple(f"{place}: {row}" for place, row in zip(stand, told_rows, strict=True)) if told_columns else ()


def wrong_codes(dataset: Dataset) -> str:
    """SQL: how many of a row's codes have the form of one and are none."""
    codes = [(name(column.name), column.code) for column in dataset.columns if column.code]
    return " + ".join(f"coalesce(({code.is_wrong_sql(column)})::INTEGER, 0)" for column, code in codes) or "0"


def _comparable(column: str, kind: Type) -> str:
    """SQL of a column as pandas compares it fast: money as a number, a date as an instant; what is no number is missing to it."""
    if kind is Type.MONEY:
        return f"{name(column)}::DOUBLE"
    if kind is Type.NUMBER:
        return f"CASE WHEN NOT isnan({name(column)}) THEN {name(column)} END"
    return f"{name(column)}::TIMESTAMP" if kind is Type.DATE else name(column)


def _chunks(batches: Iterable[Batch]) -> Iterator[list[Batch]]:
    """The batches in their order, so many at once that their rows fit a frame; a larger one stands alone."""
    chunk: list[Batch] = []
    rows = 0
    for batch in batches:
        if chunk and rows + batch.rows > _CHUNK_ROWS:
            yield chunk
            chunk, rows = [], 0
        chunk.append(batch)
        rows += batch.rows
    if chunk:
        yield chunk
