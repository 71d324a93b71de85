"""What gates found, as it is kept and shown: results of checks, scores of table-days, incidents.

A *judgement* is what a gate said of one part of a table on one day: of a batch in bronze, of what a night changed in a mart, of the sums of
a dataset, of who may reach the rows. A table's day is all its parts together. The words are those of `metrics.md`: the score is the share
of the checks passed, weighted by severity, and the share of rows quarantined stands beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

Severity = Literal["stop", "warn"]
Outcome = Literal["passed", "failed", "muted", "unknown"]
Layer = Literal["bronze", "sums", "access", "marts"]
LAYERS: tuple[Layer, ...] = ("bronze", "sums", "access", "marts")

WEIGHT: Mapping[Severity, int] = {"stop": 5, "warn": 1}
"""What a check weighs in a score."""
_SAID: Mapping[tuple[Outcome, Severity], str] = {("failed", "stop"): "stopped", ("failed", "warn"): "warned"}
_WORST: Mapping[Outcome, int] = {"unknown": 0, "muted": 1, "passed": 2, "failed": 3}

FINDINGS: Mapping[str, str] = {"judged_days": "quality_days", "watched_models": "model_health_days"}
"""Tables of the warehouse that tell how nights went, and not what was delivered, with the mart of each. A night finds some of it behind its
build, so it is no reason for a build (or no night would ever find nothing to do), and none to ask other marts of its days again.
"""


@dataclass(frozen=True)
class Result:
    """What came of one check. `severity` is the one in force; `place` is where the check is declared; `failing` of `asked` rows failed.

    unknown  it was not asked: no row has what it compares, or nothing is usual yet
    muted    it failed, and somebody has said why that stops nothing and counts for nothing until a day

    `samples` say where failing rows stand, `extract` also what the check read there, if that knows of no person.
    """

    check: str
    place: str
    severity: Severity
    outcome: Outcome
    why: str
    asked: int = 0
    failing: int = 0
    observed: str = ""
    samples: tuple[str, ...] = ()
    extract: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The same check of the same table in all nights: its line may move."""
        return self.check


@dataclass(frozen=True)
class Judgement:
    """What a gate found of one part of a table on a day. `counts` holds rows by name (of sums: every term)."""

    layer: Layer
    table: str
    day: date
    part: str
    results: tuple[Result, ...]
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def score(self) -> float | None:
        """The part's own score."""
        return score(self.results)

    @property
    def facts(self) -> dict[str, Any]:
        """The results as JSON keeps them: what says nothing is left out."""
        return {"results": [{name: value for name, value in vars(one).items() if value not in ("", 0, ())} for one in self.results]}

    @classmethod
    def of(cls, layer: Layer, table: str, day: date, part: str, counts: Mapping[str, int], facts: Mapping[str, Any]) -> Judgement:
        """The judgement that was kept."""
        results = tuple(
            Result(**{**one, **{name: tuple(one.get(name, ())) for name in ("samples", "extract")}}) for one in facts["results"]
        )
        return cls(layer, table, day, part, results, dict(counts))


@dataclass(frozen=True)
class TableDay:
    """One table on one day: every check with the worst that came of it in any part, and the rows of all parts."""

    layer: Layer
    table: str
    day: date
    results: tuple[Result, ...]
    counts: Mapping[str, int]

    @property
    def score(self) -> float | None:
        """Share of the checks passed, weighted by severity; None if none was asked."""
        return score(self.results)

    @property
    def quarantined_ratio(self) -> float | None:
        """Share of the rows delivered that were quarantined; None while silver has not taken them."""
        rows = self.counts.get("rows", 0)
        return self.counts["quarantined"] / rows if rows and "quarantined" in self.counts else None

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How many checks passed, warned, stopped, were muted, could not be asked."""
        told = Counter(_SAID.get((one.outcome, one.severity), one.outcome) for one in self.results)
        return {name: told[name] for name in ("passed", "warned", "stopped", "muted", "unknown")}

    @property
    def failed(self) -> tuple[Result, ...]:
        """The checks that failed."""
        return tuple(one for one in self.results if one.outcome == "failed")


@dataclass(frozen=True)
class Incident:
    """One check of one table that failed on one or more of the table's days without passing between."""

    layer: Layer
    table: str
    result: Result
    first_on: date
    last_on: date
    days: int
    rows: int
    is_open: bool


def score(results: Iterable[Result]) -> float | None:
    """Share of the checks that passed of those that passed or failed, weighted by severity (stop 5, warn 1)."""
    passed = failed = 0
    for one in results:
        if one.outcome == "passed":
            passed += WEIGHT[one.severity]
        elif one.outcome == "failed":
            failed += WEIGHT[one.severity]
    return passed / (passed + failed) if passed + failed else None


def table_days(judgements: Iterable[Judgement]) -> list[TableDay]:
    """Judgements put together by table and day, in the order of layer, table and day."""
    parts: dict[tuple[int, str, date], list[Judgement]] = {}
    for one in judgements:
        parts.setdefault((LAYERS.index(one.layer), one.table, one.day), []).append(one)
    return [_together(parts[key]) for key in sorted(parts)]


def incidents(days: Sequence[TableDay]) -> list[Incident]:
    """What failed and when, open ones first, then the newest; `rows` are those that failed on the last day, in all parts together.

    A day on which a check could not be asked neither ends an incident nor makes it longer.
    """
    running: dict[tuple[str, str, str], Incident] = {}
    over: list[Incident] = []
    for day in sorted(days, key=lambda one: one.day):
        for result in day.results:
            key = (day.layer, day.table, result.key)
            if result.outcome == "failed":
                earlier = running.get(key)
                first_on, count = (earlier.first_on, earlier.days + 1) if earlier else (day.day, 1)
                running[key] = Incident(day.layer, day.table, result, first_on, day.day, count, result.failing, True)
            elif result.outcome in ("passed", "muted") and key in running:
                ended = running.pop(key)
                over.append(Incident(ended.layer, ended.table, ended.result, ended.first_on, ended.last_on, ended.days, ended.rows, False))
    found = [*running.values(), *over]
    return sorted(found, key=lambda one: (not one.is_open, -one.last_on.toordinal(), one.result.severity, one.table, one.result.check))


def _together(parts: Sequence[Judgement]) -> TableDay:
    counts: dict[str, int] = {}
    results: dict[str, Result] = {}
    for part in sorted(parts, key=lambda one: one.part):
        for name, count in part.counts.items():
            counts[name] = counts.get(name, 0) + count
        for one in part.results:
            results[one.place + one.check] = _worse(results.get(one.place + one.check), one)
    if any("quarantined" not in part.counts for part in parts):
        counts.pop("quarantined", None)  # of a part that silver has not taken nobody knows how many will be refused
    first = parts[0]
    return TableDay(first.layer, first.table, first.day, tuple(results.values()), counts)


def _worse(one: Result | None, other: Result) -> Result:
    """The worse of two, with the rows of both."""
    if one is None:
        return other
    worst = max(one, other, key=lambda result: (_WORST[result.outcome], WEIGHT[result.severity]))
    return Result(
        worst.check, worst.place, worst.severity, worst.outcome, worst.why, one.asked + other.asked, one.failing + other.failing,
        worst.observed, (*one.samples, *other.samples)[:3], (*one.extract, *other.extract)[:3],
    )  # fmt: skip
