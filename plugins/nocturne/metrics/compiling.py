"""A question as one SQL statement. Names come from declarations, as identifiers; every value of a person is a parameter.

Each mart is read once, into the parts that it tells; the parts meet by their dimensions (a UNION, not a join: members that are not known
meet too), and what is divided is divided last, from sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nocturne.metrics.asking import Filter, Question
from nocturne.metrics.declarations import ALL, LEVEL, AddsUp, Catalogue, Condition, Lookup, Metric, Source, Unit
from nocturne.metrics.loading import resolve, splits
from nocturne.metrics.shapes import Step
from nocturne.postgres import SQL, Composable, Identifier, Literal, Placeholder
from nocturne.tenants import Tenant

_ROW, _AT_END, _AT_START, _WHO = "m", "_ends_on", "_begins_on", "_who"
_FULL = 0.8
"""The share of a sketch's places beyond which it tells too little: what is left of it is read from levels that hold fewer."""


@dataclass(frozen=True)
class Statement:
    """SQL with named parameters, and their values."""

    text: Composable
    values: Mapping[str, Any]


@dataclass
class Compiler:
    """Makes the statements of one question to one tenant's marts."""

    catalogue: Catalogue
    tenant: Tenant
    question: Question
    values: dict[str, Any] = field(default_factory=dict)

    def statement(self, chosen: Mapping[str, Source]) -> Statement:
        """The whole question; `chosen` gives each part (by metric's name) the source that tells it."""
        marts: dict[str, dict[str, Source]] = {}
        for part, source in chosen.items():
            marts.setdefault(f"{source.mart.name}.{source.time}", {})[part] = source
        parts = list(marts.values())
        names = [Identifier(name) for name in self.question.dimensions]
        union = SQL(" UNION ALL ").join(self._among(part, list(chosen), n) for n, part in enumerate(parts))
        with_parts = SQL(", ").join(SQL("{} AS ({})").format(Identifier(f"part_{n}"), self.part(part)) for n, part in enumerate(parts))
        highest = [SQL("max({0}) AS {0}").format(Identifier(name)) for name in chosen]
        group = SQL(" GROUP BY {}").format(SQL(", ").join(names)) if names else SQL("")
        merged = SQL("SELECT {} FROM ({}) AS parts{} HAVING count(*) > 0").format(SQL(", ").join([*names, *highest]), union, group)
        whole = SQL("WITH {}, merged AS ({}), answer AS (SELECT {} FROM merged) SELECT * FROM answer{}{} LIMIT {} OFFSET {}").format(
            with_parts, merged, SQL(", ").join([*names, *map(self._metric, self.question.metrics)]), self._tests_of_shares(), self._order(),
            self._value(self.question.limit + 1), self._value(self.question.offset),
        )  # fmt: skip
        return Statement(whole, dict(self.values))

    def part(self, told: Mapping[str, Source]) -> Composable:
        """What one mart tells: its measures by the dimensions asked."""
        source = next(iter(told.values()))
        names = [Identifier(name) for name in self.question.dimensions]
        members = [self._time(name, source) if name in set(Step) else self._member(name, source) for name in self.question.dimensions]
        tests = [*self._tests(source), *self._any_of([one.where for one in told.values()])]
        where = SQL(" WHERE ") + SQL(" AND ").join(tests) if tests else SQL("")
        rows = self._rows(source, told) + self._joins(source) + where
        dimensions = [SQL("{} AS {}").format(one, name) for one, name in zip(members, names, strict=True)]
        if source.take == "sketch":
            return self._estimated(source, list(told), dimensions, rows)
        counted = {one.column for one in told.values() if one.take == "distinct"}
        if len(counted) == 1:
            return self._once_each(counted.pop(), told, dimensions, rows)
        measures = [
            SQL("{} AS {}").format(self._measure(self.catalogue.metrics[name], one), Identifier(name)) for name, one in told.items()
        ]
        return SQL("SELECT {} FROM {}{} HAVING count(*) > 0").format(SQL(", ").join([*dimensions, *measures]), rows, _grouped(len(names)))

    def _once_each(self, column: str, told: Mapping[str, Source], dimensions: Sequence[Composable], rows: Composable) -> Composable:
        """Who is counted once is folded first: PostgreSQL hashes that, where it would sort every group for a `count(DISTINCT)`."""
        names = [SQL("{}").format(Identifier(name)) for name in self.question.dimensions]
        first, then = [], []
        for name, one in told.items():
            metric, of = self.catalogue.metrics[name], Identifier(name)
            if one.take == "distinct":
                tests = [self._condition(test) for test in one.where] or [SQL("true")]
                first.append(SQL("bool_or({}) AS {}").format(SQL(" AND ").join(tests), of))
                then.append(SQL("count({}) FILTER (WHERE {}) AS {}").format(Identifier(_WHO), of, of))
            else:
                first.append(SQL("{} AS {}").format(self._measure(metric, one), of))
                then.append(SQL("sum({})::{} AS {}").format(of, statement_type(metric.unit), of))
        who = SQL("{} AS {}").format(self._column(column), Identifier(_WHO))
        folded = SQL("SELECT {} FROM {}{}").format(SQL(", ").join([*dimensions, who, *first]), rows, _grouped(len(names) + 1))
        return SQL("SELECT {} FROM ({}) AS folded{} HAVING count(*) > 0").format(
            SQL(", ").join([*names, *then]), folded, _grouped(len(names))
        )

    def _estimated(self, source: Source, told: Sequence[str], dimensions: Sequence[Composable], rows: Composable) -> Composable:
        """Distinct ones from bitmaps of several resolutions: as many as leave so many places empty, of the levels that are not too full.

        Linear counting (Whang, Vander-Zanden, Taylor 1990) in each level; n levels left out hold 1 - 2^-n of all (Estan et al. 2003).
        """
        names = [SQL("{}").format(Identifier(one)) for one in self.question.dimensions]
        level, sketch = self._column(LEVEL), self._column(source.column)
        union = SQL("{} AS _level, bit_count(bit_or({}))::double precision AS _ones, max(length({})) AS _places").format(
            level, sketch, sketch
        )
        levels = SQL("SELECT {} FROM {}{}").format(SQL(", ").join([*dimensions, union]), rows, _grouped(len(names) + 1))
        over = SQL("PARTITION BY {}").format(SQL(", ").join(names)) if names else SQL("")
        based = SQL(
            "SELECT *, coalesce(max(_level) FILTER (WHERE _ones > {} * _places) OVER ({}) + 1, 0) AS _base FROM ({}) AS levels"
        ).format(Literal(_FULL), over, levels)
        form = SQL("round(sum(-_places * ln(1 - _ones / _places)) FILTER (WHERE _level >= _base) * 2 ^ max(_base))::{} AS {}")
        estimates = [form.format(statement_type(self.catalogue.metrics[name].unit), Identifier(name)) for name in told]
        return SQL("SELECT {} FROM ({}) AS based{} HAVING count(*) > 0").format(
            SQL(", ").join([*names, *estimates]), based, _grouped(len(names))
        )

    # rows ------------------------------------------------------------------------------------------------------------
    def _rows(self, source: Source, told: Mapping[str, Source]) -> Composable:
        """The mart's rows of the time asked; with the ends of each stretch of time, if something is told by them."""
        mart = Identifier(self.tenant.marts_schema, source.mart.name)
        kinds = {self.catalogue.metrics[name].adds_up for name in told}
        columns = [SQL("{}.*").format(Identifier(_ROW))]
        for kind, how, name in ((AddsUp.LAST, "max", _AT_END), (AddsUp.FIRST, "min", _AT_START)):
            if kind in kinds:
                by = SQL(", ").join(self._time(step, source) for step in self.question.steps)
                over = SQL("PARTITION BY {}").format(by) if self.question.steps else SQL("")
                edge = SQL("{}({}) OVER ({}) AS {}").format(SQL(how), self._column(str(source.time)), over, Identifier(name))
                columns.append(edge)
        between = self._between(source)
        where = SQL(" WHERE ") + SQL(" AND ").join(between) if between else SQL("")
        return SQL("(SELECT {} FROM {} AS {}{}) AS {}").format(SQL(", ").join(columns), mart, Identifier(_ROW), where, Identifier(_ROW))

    def _between(self, source: Source) -> list[Composable]:
        if source.time is None:
            return []
        time, first, last = self._column(source.time), self.question.first, self.question.last
        known = [SQL("{} IS NOT NULL").format(time)] if source.time != source.mart.time else []
        return [
            *known,
            *([SQL("{} >= {}").format(time, self._value(first))] if first else []),
            *([SQL("{} <= {}").format(time, self._value(last))] if last else []),
        ]

    def _joins(self, source: Source) -> Composable:
        lookups: dict[str, Lookup] = {}
        for name in self.question.touched:
            way = resolve(self.catalogue, source.mart, name)
            if way and way[0]:
                lookups[way[0].mart.name] = way[0]
        joined = [
            SQL(" LEFT JOIN {} AS {} ON {} = {}").format(
                Identifier(self.tenant.marts_schema, name), Identifier(name), self._column(one.by), Identifier(name, one.by)
            )
            for name, one in lookups.items()
        ]
        return SQL("").join(joined)

    # columns ---------------------------------------------------------------------------------------------------------
    @staticmethod
    def _column(name: str) -> Composable:
        return SQL("{}").format(Identifier(_ROW, name))

    def _time(self, step: str, source: Source) -> Composable:
        time = self._column(str(source.time))
        if step == Step.DAY:
            return time
        if step == Step.WEEK and source.step is Step.DAY:
            return SQL(
                "(date_trunc('week', {0} + 1)::date - 1)" if self.tenant.week_start == "sunday" else "date_trunc('week', {0})::date"
            ).format(time)
        return time if step == Step.WEEK else SQL("date_trunc({}, {})::date").format(Literal(str(step)), time)

    def _member(self, name: str, source: Source) -> Composable:
        way = resolve(self.catalogue, source.mart, name)
        assert way is not None  # noqa: S101 (sources that do not tell a dimension are refused before)
        lookup, column = way
        told = SQL("{}").format(Identifier(lookup.mart.name, column)) if lookup else self._column(column)
        missing = self.catalogue.dimension(name).missing
        # A column of the key always has a value; asked as it is, an index may find it.
        if missing is None or (lookup is None and column in source.mart.key):
            return told
        return SQL("coalesce({}, {})").format(told, Literal(missing))

    def _measure(self, metric: Metric, source: Source) -> Composable:
        kind = statement_type(metric.unit)
        tests = [self._condition(one) for one in source.where]
        if metric.adds_up in (AddsUp.LAST, AddsUp.FIRST):
            edge = _AT_END if metric.adds_up is AddsUp.LAST else _AT_START
            tests.append(SQL("{} = {}").format(self._column(str(source.time)), self._column(edge)))
        only = SQL(" FILTER (WHERE {})").format(SQL(" AND ").join(tests)) if tests else SQL("")
        form = {"rows": "count(*)", "sum": "sum({})", "count": "sum({}::integer)", "distinct": "count(DISTINCT {})", "value": "max({})"}
        column = [] if source.take == "rows" else [self._column(source.column)]
        if source.less:
            column = [SQL("{} - {}").format(*column, self._column(source.less))]
        return SQL("({})::{}").format(SQL(form[source.take]).format(*column) + only, kind)

    def _condition(self, condition: Condition) -> Composable:
        column = self._column(condition.column)
        form = {"true": "{}", "not": "NOT {}", "known": "{} IS NOT NULL", "positive": "{} > 0", "word": "{} = {}"}[condition.test]
        return SQL(form).format(column, Literal(condition.word)) if condition.test == "word" else SQL(form).format(column)

    def _metric(self, name: str) -> Composable:
        metric = self.catalogue.metrics[name]
        if metric.adds_up is AddsUp.RATIO:
            of = SQL("{}").format(Identifier(str(metric.of)))
            if metric.times > 1:
                of = SQL("{} * {}").format(of, Literal(metric.times))
            made = _divided(metric.unit, of, SQL("{}").format(Identifier(str(metric.over))))
        elif metric.adds_up is AddsUp.SHARE:
            rest = [Identifier(one) for one in self.question.dimensions if one not in metric.within]
            over = SQL("PARTITION BY {}").format(SQL(", ").join(rest)) if rest else SQL("")
            part = Identifier(str(metric.of))
            made = _divided(metric.unit, SQL("{}").format(part), SQL("sum({}) OVER ({})").format(part, over))
        else:
            return SQL("{}").format(Identifier(name))
        return SQL("{} AS {}").format(made, Identifier(name))

    def _among(self, told: Mapping[str, Source], every: Sequence[str], number: int) -> Composable:
        """A part beside the others: what it does not tell is NULL."""
        columns: list[Composable] = [SQL("{}").format(Identifier(name)) for name in self.question.dimensions]
        for name in every:
            if name in told:
                columns.append(SQL("{}").format(Identifier(name)))
            else:
                columns.append(SQL("NULL::{} AS {}").format(statement_type(self.catalogue.metrics[name].unit), Identifier(name)))
        return SQL("SELECT {} FROM {}").format(SQL(", ").join(columns), Identifier(f"part_{number}"))

    # tests -----------------------------------------------------------------------------------------------------------
    @property
    def _later(self) -> frozenset[str]:
        """Dimensions whose tests must not shrink the whole that a share is a part of."""
        return frozenset(one for name in self.question.metrics for one in self.catalogue.metrics[name].within)

    def _tests(self, source: Source) -> list[Composable]:
        asked = [one for one in self.question.filters if one.dimension not in self._later]
        tests = [self._test(same, self._member(same[0].dimension, source)) for same in _alike(asked)]
        split = splits(self.catalogue, source, self.question.touched)
        of_all = [SQL("{} <> {}" if one in split else "{} = {}").format(self._column(one), Literal(ALL)) for one in source.one_of]
        return [*tests, *of_all]

    def _tests_of_shares(self) -> Composable:
        asked = [one for one in self.question.filters if one.dimension in self._later]
        tests = [self._test(same, SQL("{}").format(Identifier(same[0].dimension))) for same in _alike(asked)]
        return SQL(" WHERE ") + SQL(" AND ").join(tests) if tests else SQL("")

    def _test(self, same: Sequence[Filter], told: Composable) -> Composable:
        either = same[0].sign == "="
        tests = []
        for one in same:
            if one.value == "" and one.sign in ("=", "!="):
                tests.append(SQL("{} IS NULL" if either else "{} IS NOT NULL").format(told))
            else:
                sign = SQL("IS DISTINCT FROM") if one.sign == "!=" else SQL(one.sign)
                tests.append(SQL("{} {} {}").format(told, sign, self._value(one.value)))
        return SQL("({})").format(SQL(" OR " if either else " AND ").join(tests))

    def _any_of(self, wheres: Iterable[Sequence[Condition]]) -> list[Composable]:
        """A row that no measure counts makes no row of the answer."""
        listed = list(dict.fromkeys(tuple(where) for where in wheres))
        if not all(listed):
            return []
        each = [SQL("({})").format(SQL(" AND ").join(map(self._condition, where))) for where in listed]
        return [SQL("({})").format(SQL(" OR ").join(each))]

    def _order(self) -> Composable:
        """As asked, and behind it by every dimension: no two rows are alike in them, so pages neither overlap nor leave gaps."""
        asked = [word.removeprefix("-") for word in self.question.order]
        words = [*self.question.order, *(name for name in self.question.dimensions if name not in asked)]
        if not words:
            return SQL("")
        each = [
            SQL("{}{} NULLS LAST").format(Identifier(word.removeprefix("-")), SQL(" DESC" if word.startswith("-") else ""))
            for word in words
        ]
        return SQL(" ORDER BY ") + SQL(", ").join(each)

    def _value(self, value: Any) -> Composable:
        name = f"v{len(self.values)}"
        self.values[name] = value
        return SQL("{}").format(Placeholder(name))


def statement_type(unit: Unit) -> SQL:
    """PostgreSQL's type of sums and counts of a unit."""
    return SQL(unit.sql)


def _divided(unit: Unit, of: Composable, over: Composable) -> Composable:
    form = "round({} / nullif({}, 0), 6)" if unit is Unit.AMOUNT else "({})::double precision / nullif({}, 0)"
    return SQL(form).format(of, over)


def _grouped(count: int) -> Composable:
    """GROUP BY the first columns, if there are any."""
    return SQL(" GROUP BY ") + SQL(", ").join(Literal(n + 1) for n in range(count)) if count else SQL("")


def _alike(filters: Iterable[Filter]) -> list[list[Filter]]:
    """Tests that belong together: those of one dimension with `=` mean any of them, all others hold each by itself."""
    groups: dict[tuple[str, bool], list[Filter]] = {}
    for one in filters:
        groups.setdefault((one.dimension, one.sign == "="), []).append(one)
    return list(groups.values())
