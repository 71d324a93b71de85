"""The gate before publishing: the build is asked the checks of its marts, and must add up with bronze, silver and the warehouse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from nocturne.datasets import Dataset, Type
from nocturne.errors import GateFailed
from nocturne.gates.adjustments import of_mart
from nocturne.gates.amounts import loaded_amounts, revenue_amounts
from nocturne.gates.checks import Check
from nocturne.gates.evaluation import Judge, NotEvaluated
from nocturne.gates.findings import shown
from nocturne.gates.isolation import strangers
from nocturne.gates.reconciliation import (
    WHOLE,
    AmountTerms,
    BatchTerms,
    PartTerms,
    PlayTerms,
    Terms,
    amount_differences,
    differences,
    play_differences,
)
from nocturne.gates.suites import MartSuite, load_mart_suites
from nocturne.lake import Layer, Table, duck, table
from nocturne.ledger import Marks, utc_now
from nocturne.postgres import Connection, connect, statement
from nocturne.quality import FINDINGS, Judgement, Outcome, Result
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

STATION = "gate_marts"
_LAYERS: tuple[Layer, ...] = ("bronze", "quarantine")
_SUMS = "delivered = left out + valid + quarantined; valid = silver + duplicates; silver = warehouse"
_PLAYS = "silver = plays of the mart + joined resumes + attempts of no length"
_AMOUNTS = "each amount: silver = warehouse"
_REVENUE = "payments and impressions of the warehouse, at the day's rate = revenue of the mart"
_ADDS_UP = "No row is lost or made up on the way."
_CODE = "gates/reconciliation.py"
_ALONE = "its own roles alone reach its rows, the reader published ones alone"
_WHY_ALONE = "No tenant reads another's data."
_EXTRACT = 3
_SHOWN = 20  # differences that the error quotes; a lost batch shows in many sums


def gate_marts(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Ask the build whether it may be published.

    Reads `<slug>_build` (of marts with a date, the dates that the build changed), `<slug>_raw`, the lake's metadata and the marks; keeps
    what it found of each mart and every sum. A night that has nothing to publish asks nothing. Raises GateFailed with every failed check
    and every sum that does not add up.
    """
    started = utc_now()
    with connect(settings, role=tenant.owner_role) as connection:
        build = _Build(connection, tenant, day, settings, ledger)
        if build.is_new():
            build.reconcile()
            build.isolate()
            build.ask()
    ledger.judge(tenant, build.judgements)
    if build.lines:
        raise _failure(tenant, day, build.lines)
    return Receipt(
        tenant=tenant.slug,
        day=day,
        station=STATION,
        started_at=started,
        finished_at=utc_now(),
        entries=tuple(build.entries) or (Entry(name="marts", skipped=True),),
        warnings=tuple(build.warnings),
    )


def _rows_of(one: Table) -> dict[str, int]:
    """Rows of each partition, as the Delta log says."""
    return {part or WHOLE: held.rows for part, held in one.partitions().items()}


def _untroubled(asked: int) -> Outcome:
    """What came of a check that no row failed."""
    return "passed" if asked else "unknown"


def _extract(days: Sequence[str], frame: pd.DataFrame, failing: NDArray[np.intp], check: Check) -> tuple[str, ...]:
    """What a check read in the first rows that fail it: numbers of a mart, and their day."""
    told = [column for column in check.columns if not column.endswith(("_id", "_key"))]
    places = failing[:_EXTRACT].tolist()
    rows = frame.iloc[places][told].to_dict("records") if told else []
    told_rows = [", ".join(f"{name} = {shown(value)}" for name, value in row.items()) for row in rows]
    return tuple(f"{days[place]}: {row}" for place, row in zip(places, told_rows, strict=False))


def _failure(tenant: Tenant, day: date, lines: Sequence[str]) -> GateFailed:
    more = f"\n- and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return GateFailed(
        f"The marts are not published, because {len(lines)} things are wrong with the build:\n- " + "\n- ".join(lines[:_SHOWN]) + more,
        next_step="Clear the night from the task that makes the wrong side, after its cause is mended; the published marts stand.",
        tenant=tenant.slug,
        day=day,
    )


class _Build:
    """A tenant's build beside everything that it was made from, over one connection."""

    def __init__(self, connection: Connection, tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> None:
        self.day = day
        self.connection = connection
        self.tenant = tenant
        self.settings = settings
        self.ledger = ledger
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.entries: list[Entry] = []
        self.judgements: list[Judgement] = []
        self.is_full = False
        self.columns: dict[str, set[str]] = {}
        listed = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s"
        for name, column in self._fetch(listed, tenant.build_schema):
            self.columns.setdefault(name, set()).add(column)

    def is_new(self) -> bool:
        """Whether there is a build that was not published."""
        if "_builds" not in self.columns:
            return False
        query = f"SELECT finished_at IS NOT NULL, published_at IS NOT NULL, is_full FROM {self.tenant.build_schema}._builds"
        builds = self._fetch(f"{query} ORDER BY build_id DESC LIMIT 1")
        if not builds or builds[0][1]:
            return False
        is_finished, _, self.is_full = builds[0]
        if not is_finished:
            self.lines.append("the last build has not finished")
        return True

    # it adds up ----------------------------------------------------------------------------------------------------------
    def reconcile(self) -> None:
        """Compare every sum, and keep what does not add up."""
        with duck(self.settings) as lake:
            for dataset in self.tenant.datasets:
                silver, touched = table(self.settings, self.tenant, "silver", dataset), self._touched(dataset.name)
                terms = self._terms(dataset, silver, touched)
                found = list(differences(terms))
                self.lines += found
                self._keep_sums(dataset.name, _SUMS, len(terms.batches) + len(terms.parts), found, terms.counts)
                self._compare(dataset.name, _AMOUNTS, loaded_amounts(self.connection, lake, silver, self.tenant, dataset, touched))
                self.entries.append(Entry(name=f"reconciliation {dataset.name}", counts=dict(terms.counts)))
        if self.tenant.has("plays") and {"plays", "reconciliation_days"} <= self.columns.keys():
            plays = self._plays()
            found = list(play_differences(plays))
            self.lines += found
            counts = {"mart": sum(one.mart for one in plays.values()), "joined": sum(one.joined for one in plays.values())}
            self._keep_sums("plays", _PLAYS, len(plays), found, counts | {"zero_length": sum(one.zero_length for one in plays.values())})
        if {"revenue_days", "int_fx"} <= self.columns.keys():
            self._compare("revenue_days", _REVENUE, revenue_amounts(self.connection, self.tenant, self._asked_days()))

    def _compare(self, table: str, check: str, amounts: Sequence[AmountTerms]) -> None:
        if amounts:
            found = list(amount_differences(amounts))
            self.lines += found
            self._keep_sums(table, check, len(amounts), found, {})

    def _keep_sums(self, dataset: str, check: str, asked: int, found: Sequence[str], counts: Mapping[str, int]) -> None:
        outcome: Outcome = "failed" if found else "passed" if asked else "unknown"
        result = Result(check, _CODE, "stop", outcome, _ADDS_UP, asked, len(found), "; ".join(found[:3]))
        self.judgements.append(Judgement("sums", dataset, self.day, check, (result,), dict(counts)))

    def _terms(self, dataset: Dataset, silver: Table, touched: Sequence[date]) -> Terms:
        bronze, quarantine = (_rows_of(table(self.settings, self.tenant, layer, dataset)) for layer in _LAYERS)
        refined = self.ledger.marks(self.tenant, "quarantine", dataset.name)
        batches = {
            batch: BatchTerms(
                delivered=int(mark.facts["rows"]),
                left_out=int(mark.facts["left_out"]),
                bronze=bronze.get(batch, 0),
                valid=int(refined[batch].facts["valid"]) if batch in refined else None,
                quarantined=int(refined[batch].facts["quarantined"]) if batch in refined else None,
                quarantine=quarantine.get(batch, 0),
            )
            for batch, mark in self.ledger.marks(self.tenant, "bronze", dataset.name).items()
        }
        duplicates = sum(int(mark.facts["duplicates"]) for mark in self.ledger.marks(self.tenant, "silver", dataset.name).values())
        return Terms(dataset.name, batches, self._parts(dataset, _rows_of(silver), touched), duplicates)

    def _parts(self, dataset: Dataset, silver: Mapping[str, int], touched: Sequence[date]) -> dict[str, PartTerms]:
        raw = self.tenant.raw_schema
        told_rows = self._fetch(f"SELECT coalesce(event_on::text, '{WHOLE}'), rows FROM {raw}.silver_rows WHERE dataset = %s", dataset.name)
        stood = {str(part): int(rows) for part, rows in told_rows}
        held: dict[str, int] = {}
        if touched and dataset.event_date:
            query = f"SELECT {dataset.event_date}::text, count(*) FROM {raw}.{dataset.name} WHERE {dataset.event_date} = ANY(%s) GROUP BY 1"
            held = {str(one): 0 for one in touched} | {str(one): int(count) for one, count in self._fetch(query, touched)}
        elif touched:
            held = {WHOLE: int(self._fetch(f"SELECT count(*) FROM {raw}.{dataset.name}")[0][0])}
        return {part: PartTerms(silver.get(part, 0), stood.get(part, 0), held.get(part)) for part in sorted({*silver, *stood, *held})}

    def _touched(self, dataset: str) -> list[date]:
        """The event dates of a dataset that were loaded since marts were published."""
        return [one for (one,) in self._fetch(f"SELECT event_on FROM {self.tenant.raw_schema}._touched WHERE dataset = %s", dataset)]

    def _plays(self) -> dict[str, PlayTerms]:
        """What became of silver's plays, of the dates that the build changed: the mart's rows are counted here once more."""
        build = self.tenant.build_schema
        mart = self._fetch(f"SELECT played_on::text, count(*) FROM {build}.plays WHERE {self._asked('played_on')} GROUP BY 1")
        rest = self._fetch(
            f"SELECT event_on::text, joined_count, zero_length_count FROM {build}.reconciliation_days"
            f" WHERE dataset = 'plays' AND {self._asked('event_on')}"
        )
        silver = _rows_of(table(self.settings, self.tenant, "silver", "plays"))
        counted, others = dict(mart), {day: (joined, zero_length) for day, joined, zero_length in rest}
        days = sorted({*counted, *others} | (set(silver) if self.is_full else set()))
        return {day: PlayTerms(silver.get(day, 0), counted.get(day, 0), *others.get(day, (0, 0))) for day in days}

    def _asked(self, column: str, mart: str = "") -> str:
        """SQL: whether a date is one that the build changed (of a full build, any); of how nights went, one that it changed there."""
        if self.is_full:
            return "true"
        if mart in FINDINGS.values():
            return f"{column} IN (SELECT changed_on FROM {self.tenant.build_schema}._changed WHERE model = '{mart}')"
        return f"{column} IN ({self._looked_at})"

    def _asked_days(self) -> list[date] | None:
        """The dates that the build changed; None: all."""
        return None if self.is_full else [one for (one,) in self._fetch(self._looked_at)]

    @property
    def _looked_at(self) -> str:
        """SQL: the dates that the build changed, but for those of how nights went."""
        raw, build = self.tenant.raw_schema, self.tenant.build_schema
        tables, marts = (", ".join(f"'{name}'" for name in names) for names in (FINDINGS, FINDINGS.values()))
        touched = f"SELECT event_on FROM {raw}._touched WHERE dataset NOT IN ({tables})"
        return f"{touched} UNION SELECT changed_on FROM {build}._changed WHERE model NOT IN ({marts})"

    # nobody else reaches it ----------------------------------------------------------------------------------------------
    def isolate(self) -> None:
        """Ask who may reach the tenant's rows, and keep who should not."""
        found = strangers(self.connection, self.tenant, self.settings.postgres_user)
        self.lines += [f"isolation: {one}" for one in found]
        asked = len(self.columns)
        outcome: Outcome = "failed" if found else _untroubled(asked)
        result = Result(_ALONE, "gates/isolation.py", "stop", outcome, _WHY_ALONE, asked, len(found), "; ".join(found[:3]))
        self.judgements.append(Judgement("access", "schemas", self.day, "", (result,)))

    # its marts are right -------------------------------------------------------------------------------------------------
    def ask(self) -> None:
        """Ask the marts that the tenant has, and keep what they fail."""
        models = {path.stem for path in (self.settings.dbt_project / "models" / "marts").rglob("*.sql")}
        judge = Judge()
        for suite in load_mart_suites(self.settings.expectations, models):
            if not suite.is_of(self.tenant):
                continue
            suite = of_mart(self.tenant, self.settings, suite)
            absent = sorted({*suite.columns, *([suite.day] if suite.day else [])} - self.columns.get(suite.mart, set()))
            if suite.mart not in self.columns:
                self._cannot_ask(suite, f"the build does not hold it, though the tenant has {' and '.join(suite.needs) or 'it'}")
            elif absent:
                self._cannot_ask(suite, f"it has no columns {', '.join(absent)}, which expectations/marts/{suite.domain}.yml names")
            else:
                self._ask(judge, suite)

    def _cannot_ask(self, suite: MartSuite, why: str) -> None:
        """A mart of which nothing can be said is not published."""
        self.lines.append(f"{suite.mart}: {why}")
        place = f"expectations/marts/{suite.domain}.yml"
        result = Result("it can be asked", place, "stop", "failed", "What cannot be asked is not known to be right.", 1, 1, why)
        self.judgements.append(Judgement("marts", suite.mart, self.day, "", (result,)))

    def _ask(self, judge: Judge, suite: MartSuite) -> None:
        days, frame = self._frame(suite)
        if frame.empty:
            self.entries.append(Entry(name=suite.mart, skipped=True))
            return
        try:
            verdicts = judge.ask(frame, suite.rows)
        except NotEvaluated as error:
            self._cannot_ask(suite, f"nothing can be said, because {error}")
            return
        results = []
        for verdict in verdicts:
            asked, failing = int(verdict.asked.sum()), len(verdict.failing)
            observed, outcome = "", _untroubled(asked)
            if failing and 1 - failing / asked < verdict.check.mostly:
                where = sorted({days[position] for position in verdict.failing[:10_000].tolist()})[:3]
                observed = f"{failing:,} of {asked:,} rows fail" + (f", the first on {', '.join(where)}" if suite.day else "")
                line = f"{suite.mart}, {verdict.check} [{verdict.check.place}]: {observed}. {verdict.check.why}"
                outcome = "failed"
                if verdict.check.is_muted(self.day):
                    outcome, observed = "muted", f"{observed}; muted until {verdict.check.muted_until}: {verdict.check.reason}"
                else:
                    (self.lines if verdict.check.severity == "stop" else self.warnings).append(line)
            check = verdict.check
            extract = _extract(days, frame, verdict.failing, check) if observed else ()
            results.append(Result(check.told, check.place, check.severity, outcome, check.why, asked, failing, observed, extract=extract))
        self.judgements.append(Judgement("marts", suite.mart, self.day, "", tuple(results), {"rows": len(frame)}))
        self.entries.append(Entry(name=suite.mart, counts={"rows": len(frame), "checks": len(suite.rows)}))

    def _frame(self, suite: MartSuite) -> tuple[list[str], pd.DataFrame]:
        """(the rows' dates, the columns that are asked), of the dates that the night touched where the mart has dates."""
        import pandas as pd

        asked = [f"{name}::{_SQL[kind]}" for name, kind in suite.columns.items()]
        asked += [f"({text})::double precision AS {name}" for name, text in suite.derive.items()]
        where = f"WHERE {self._asked(suite.day, suite.mart)}" if suite.day else ""
        mart = f"{self.tenant.build_schema}.{suite.mart}"
        rows = self._fetch(f"SELECT {suite.day or 'NULL'}::text, {', '.join(asked)} FROM {mart} {where}")
        kinds = [*suite.columns.values(), *(Type.NUMBER for _ in suite.derive)]
        values = list(zip(*rows, strict=True)) or [() for _ in (None, *kinds)]
        names = [*suite.columns, *suite.derive]
        columns = {name: pd.Series(list(column), dtype=_PANDAS[kind]) for name, kind, column in zip(names, kinds, values[1:], strict=True)}
        return [str(one) for one in values[0]], pd.DataFrame(columns)

    def _fetch(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement(query), parameters or None).fetchall()


_SQL: Mapping[Type, str] = {
    Type.TEXT: "text",
    Type.INTEGER: "double precision",
    Type.NUMBER: "double precision",
    Type.MONEY: "double precision",
    Type.BOOLEAN: "text",
    Type.INSTANT: "timestamp",
    Type.DATE: "timestamp",
}
"""What a column is read as."""

_PANDAS: Mapping[Type, Any] = {
    kind: "float64" if text == "double precision" else "datetime64[us]" if text == "timestamp" else "str" for kind, text in _SQL.items()
}
"""What it is in a frame."""
