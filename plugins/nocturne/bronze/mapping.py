"""From delivered rows to bronze rows, as one SQL query: a source's mapping is what differs from tenant to tenant.

    delivered   the columns that the mapping reads, with the types that the source declares
    mapped      our columns: each expression evaluated by itself, so that one that fails takes no other with it
    shaped      our columns with our types, codes as they are written; what has no such type is NULL, and a problem says so
    bronze      problems, key, content, event date, and whether it is bad

Landing holds what was delivered, and a row says where; the text itself stands in bronze for bad rows alone, which people read.

An expression is wrapped as TRY({'v': expression}): NULL if it failed, {'v': NULL} if its value is NULL. A delivered column as it stands
cannot fail, and is not wrapped: most columns of most sources are such, and structs of text cost more than the text.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from nocturne.bronze.calendar import Offset, local_date
from nocturne.bronze.reading import BATCH, DELIVERED, FILE, LINE, RECORD, UNREADABLE
from nocturne.datasets import Dataset, Type
from nocturne.expressions import Expression, check_expression
from nocturne.lake import name, text
from nocturne.rules import is_bad
from nocturne.tenants import Source

PROBLEMS = "__nocturne_problems"
_LONGEST_VALUE = 60
_KINDS: Mapping[str, str] = {
    "BIGINT": "whole number", "DOUBLE": "number", "DECIMAL(18,6)": "amount", "BOOLEAN": "yes or no", "DATE": "date", "JSON": "JSON",
    "TIMESTAMP": "instant", "TIMESTAMPTZ": "instant", "VARCHAR": "text",
}  # fmt: skip
_OLDEST, _NEWEST = "1900-01-01", "9999-12-30"


@dataclass(frozen=True)
class Mapped:
    """What fills one of our columns."""

    column: str
    expression: Expression

    @property
    def is_plain(self) -> bool:
        """Whether it is a delivered column as it stands, which cannot fail."""
        return [self.expression.sql] == [name(column) for column in self.expression.columns]

    @property
    def step(self) -> str:
        """SQL that evaluates it."""
        return self.expression.sql if self.is_plain else _try(self.expression.sql)

    @property
    def value(self) -> str:
        """SQL of what came out; NULL also if it failed."""
        return _value(self.column) if self.is_plain else f"{_value(self.column)}.v"


@dataclass(frozen=True)
class Plan:
    """A source's mapping, checked against what it delivers.

    `found`: the delivered columns and their DuckDB types (VARCHAR for text formats); `kinds`: the types of the expressions' values.
    """

    source: Source
    dataset: Dataset
    found: Mapping[str, str]
    kinds: Mapping[str, str]

    @property
    def mapped(self) -> tuple[Mapped, ...]:
        """What fills our columns, in the dataset's order; a column that nothing fills is NULL."""
        return expressions(self.source, self.dataset, self.found)


def expressions(source: Source, dataset: Dataset, found: Mapping[str, str] | None = None) -> tuple[Mapped, ...]:
    """The expressions of a source's mapping; without a mapping, each column that was found (None: each) stands for itself."""
    if source.map:
        given = {column: check_expression(source.map[column]) for column in dataset.by_name if column in source.map}
    else:
        own = (column for column in dataset.by_name if (found is None or column in found) and column not in source.estimate)
        given = {column: Expression(name(column), frozenset({column})) for column in own}
    return tuple(Mapped(column, expression) for column, expression in given.items())


def columns_read(source: Source, dataset: Dataset) -> tuple[frozenset[str], frozenset[str]]:
    """(columns that a delivery must have, columns that it may have) for this source's mapping to be evaluated."""
    must: set[str] = set()
    if source.where:
        must |= check_expression(source.where).columns
    for estimate in source.estimate.values():
        must |= {*estimate.until_next, *check_expression(estimate.at).columns, *check_expression(estimate.at_most).columns}
    if source.map:
        for mapped in expressions(source, dataset):
            must |= mapped.expression.columns
        return frozenset(must), frozenset()
    must |= {column.name for column in dataset.columns if column.required and column.name not in source.estimate}
    return frozenset(must), frozenset(dataset.by_name) - must


# the steps -----------------------------------------------------------------------------------------------------------------------
def kinds_query(source: Source, dataset: Dataset, found: Mapping[str, str]) -> str:
    """A query without rows whose columns have the types of the expressions' values, each named after our column."""
    columns = ", ".join(f"NULL::{_declared(source, found, column)} AS {name(column)}" for column in found) or "NULL AS nothing"
    values = ", ".join(f"{mapped.expression.sql} AS {name(mapped.column)}" for mapped in expressions(source, dataset, found))
    condition = f" WHERE {check_expression(source.where).sql}" if source.where else ""
    return f"SELECT {values or 'NULL AS nothing'} FROM (SELECT {columns}){condition} LIMIT 0"


def lines_as_delivered(plan: Plan, lines: str) -> str:
    """The delivered columns of JSON objects that stand as text in the relation `lines`."""
    fields = ", ".join(f'{_json_text(column)}: "VARCHAR"' for column in plan.found) or '"nothing": "VARCHAR"'
    # Most lines begin with their object; to trim one is to copy it.
    is_object = f"(starts_with({DELIVERED}, '{{') OR starts_with(ltrim({DELIVERED}), '{{'))"
    parsed = (
        f"SELECT *, CASE WHEN {UNREADABLE} IS NULL AND {is_object}"
        f" THEN TRY(from_json({DELIVERED}, {text('{' + fields + '}')})) END AS parsed FROM {lines}"
    )
    # Landing writes a message that is no JSON object as [why, message]; elsewhere such a line says nothing.
    told = f", CASE WHEN starts_with({DELIVERED}, '[\"row: ') THEN TRY(json_extract_string({DELIVERED}, '$[0]')) END"
    told = told if plan.source.kind == "topic" else ""
    why = f"CASE WHEN parsed IS NULL THEN coalesce({UNREADABLE}{told}, 'row: is no JSON object') END AS {UNREADABLE}"
    columns = "".join(f", parsed.{name(column)} AS {name(column)}" for column in plan.found)
    return f"SELECT {BATCH}, {FILE}, {LINE}, {DELIVERED}, NULL AS {RECORD}, {why}{columns} FROM ({parsed})"


def records_as_delivered(plan: Plan, records: str, columns: Sequence[str]) -> str:
    """The delivered columns of records whose values stand in the relation `records`; `columns` are all that the records have."""
    read = "".join(f", {name(column)}" for column in plan.found)
    return f"SELECT {BATCH}, {FILE}, {LINE}, {DELIVERED}, {record(columns)} AS {RECORD}, {UNREADABLE}{read} FROM {records}"


def record(columns: Collection[str], relation: str = "") -> str:
    """SQL of a delivered record as a whole; of no columns, of none."""
    return "{" + ", ".join(f"{text(column)}: {relation}{name(column)}" for column in columns) + "}" if columns else "NULL"


def elements_of_documents(source: Source, documents: str, document: str) -> str:
    """The elements of the arrays in JSON documents, as lines; `document` is the documents' column."""
    elements = f"from_json({records_of(source, document)}, '[\"JSON\"]')"
    return (
        f"(SELECT {BATCH}, {FILE}, unnest(generate_series(1, len(elements)))::BIGINT AS {LINE}, unnest(elements)::VARCHAR AS {DELIVERED},"
        f" NULL::VARCHAR AS {UNREADABLE} FROM (SELECT {BATCH}, {FILE}, {elements} AS elements FROM {documents}))"
    )


def records_of(source: Source, document: str) -> str:
    """SQL of the array of a document's records: the field of the whole name, or led to by the dots in it."""
    field = source.records
    found = f"json_extract({document}, {text(json_path(field))})"
    if field is not None and "." in field:
        way = "$" + "".join(f".{_json_text(name)}" for name in field.split("."))
        found = f"coalesce({found}, json_extract({document}, {text(way)}))"
    if source.lone_record:
        found = f"CASE json_type({found}) WHEN 'OBJECT' THEN json_array({found}) ELSE {found} END"
    return found


def json_path(field: str | None) -> str:
    """The JSON path of a field; of the whole without one."""
    return "$" if field is None else f"$.{_json_text(field)}"


def bronze_query(plan: Plan, delivered: str, received: Mapping[str, str], found_offsets: Sequence[Offset]) -> str:
    """The rows of bronze: `delivered` is SQL of the delivered rows, `received` the received date of each batch."""
    return f"""
        WITH delivered AS ({delivered}),
        declared AS (SELECT {_declared_columns(plan)} FROM delivered),
        mapped AS (SELECT *{_mapped_columns(plan)}{_kept_column(plan)} FROM declared),
        shaped AS (SELECT *{_shaped_columns(plan)} FROM mapped{_kept_condition(plan)}),
        checked AS (SELECT *, {_problems(plan)} AS {PROBLEMS} FROM shaped),
        told AS (SELECT {BATCH}::VARCHAR AS _batch, {_received(received)} AS _received_on, {FILE}::VARCHAR AS _file, {LINE} AS _line,
            {DELIVERED}, {RECORD}, {PROBLEMS} AS _problems, {_key(plan.dataset)} AS _key,
            {_hash(_ours(c) for c in plan.dataset.by_name)} AS _content, {_event_on(plan.dataset, found_offsets)} AS _event_on,
            {", ".join(f"{_ours(column)} AS {name(column)}" for column in plan.dataset.by_name)}
        FROM checked),
        judged AS (SELECT *, {is_bad(plan.dataset)} AS _is_bad FROM told)
        SELECT *, CASE WHEN _is_bad THEN coalesce({DELIVERED}, to_json({RECORD})::VARCHAR) END AS _delivered FROM judged{_once(plan)}
    """


def _once(plan: Plan) -> str:
    """Of good rows of a batch with the same contents the first, where the source says that one is enough; every other row stays."""
    if not plan.source.once:
        return ""
    return " QUALIFY _is_bad OR _key IS NULL OR row_number() OVER (PARTITION BY _batch, _key, _content ORDER BY _file, _line) = 1"


def _ours(column: str) -> str:
    return name(f"__nocturne_our_{column}")


def _value(column: str) -> str:
    return name(f"__nocturne_value_{column}")


def _given(column: str) -> str:
    """The delivered text of a column that has a declared type."""
    return name(f"__nocturne_given_{column}")


def _declared(source: Source, found: Mapping[str, str], column: str) -> str:
    return source.columns.get(column, found[column])


def _changes_type(plan: Plan, column: str) -> bool:
    return _declared(plan.source, plan.found, column) != plan.found[column]


def _declared_columns(plan: Plan) -> str:
    parts = [BATCH, FILE, LINE, DELIVERED, RECORD, UNREADABLE]
    for column, kind in plan.found.items():
        if _changes_type(plan, column):
            declared = _declared(plan.source, plan.found, column)
            parts += [f"{_read_as(declared, name(column), kind)} AS {name(column)}", f"{name(column)} AS {_given(column)}"]
        else:
            parts.append(name(column))
    return ", ".join(parts)


def _read_as(declared: str, value: str, kind: str) -> str:
    return _whole(value) if declared == "BIGINT" and kind == "VARCHAR" else f"TRY_CAST({value} AS {declared})"


def _whole(value: str) -> str:
    """Text as a whole number; DuckDB alone would round '1.5' to 2."""
    number = f"TRY_CAST({value} AS DOUBLE)"
    return f"CASE WHEN {number} = floor({number}) THEN TRY_CAST({value} AS BIGINT) END"


def _try(expression: str) -> str:
    return f"TRY({{'v': {expression}}})"


def _mapped_columns(plan: Plan) -> str:
    parts = [f", {mapped.step} AS {_value(mapped.column)}" for mapped in plan.mapped]
    for column, estimate in plan.source.estimate.items():
        same = ", ".join([BATCH, *map(name, estimate.until_next)])
        at = f"TRY_CAST(TRY({check_expression(estimate.at).sql}) AS TIMESTAMPTZ)"
        most = f"TRY_CAST(TRY({check_expression(estimate.at_most).sql}) AS DOUBLE)"
        following = f"lead({at}) OVER (PARTITION BY {same} ORDER BY {at} NULLS LAST, {FILE}, {LINE})"
        gap = f"(epoch_ms({following}) - epoch_ms({at}))"
        value = f"TRY_CAST(round(least({most}, {gap})) AS BIGINT)"
        parts.append(f", CASE WHEN {at} IS NOT NULL AND {most} IS NOT NULL THEN {value} END AS {_estimate(column)}")
    return "".join(parts)


def _estimate(column: str) -> str:
    return name(f"__nocturne_estimate_{column}")


def _kept_column(plan: Plan) -> str:
    if not plan.source.where:
        return ""
    return f", {_try(f'({check_expression(plan.source.where).sql})')} AS __nocturne_kept"


def _kept_condition(plan: Plan) -> str:
    """Left out is what the condition leaves out; a row of which that cannot be said stays, with its problem."""
    if not plan.source.where:
        return ""
    unsure = [f"{UNREADABLE} IS NOT NULL", "__nocturne_kept IS NULL"]
    unsure += [_unreadable(column) for column in sorted(check_expression(plan.source.where).columns) if _changes_type(plan, column)]
    return f" WHERE TRY_CAST(__nocturne_kept.v AS BOOLEAN) OR {' OR '.join(unsure)}"


def _unreadable(column: str) -> str:
    return f"({_given(column)} IS NOT NULL AND {name(column)} IS NULL)"


def _shaped_columns(plan: Plan) -> str:
    mapped = {one.column: one for one in plan.mapped}
    parts = []
    for column in plan.dataset.columns:
        if column.name in mapped:
            value = _shaped(mapped[column.name].value, plan.kinds.get(column.name, "VARCHAR"), column.type)
            value = column.code.conform_sql(value) if column.code else value
        else:
            value = f"NULL::{column.type.value}"
        if column.name in plan.source.estimate:
            value = f"coalesce({value}, {_estimate(column.name)})"
        if column.name == "is_estimated":
            value = _is_estimated(plan, value)
        parts.append(f", {value} AS {_ours(column.name)}")
    return "".join(parts)


def _is_estimated(plan: Plan, given: str) -> str:
    mapped = {one.column: one for one in plan.mapped}
    filled = [f"{mapped[column].value} IS NULL" if column in mapped else "true" for column in plan.source.estimate]
    return f"({' OR '.join([*filled, f'coalesce({given}, false)'])})"


def _shaped(value: str, kind: str, wanted: Type) -> str:
    """The value of an expression (of type `kind`) with our type, NULL if it has none."""
    if kind == "JSON":
        value, kind = f"({value} ->> '$')", "VARCHAR"
    if wanted is Type.INTEGER and kind == "VARCHAR":
        return _whole(value)
    cast = f"TRY_CAST({value} AS {wanted.value})"
    if wanted is Type.NUMBER:
        return f"CASE WHEN isfinite({cast}) THEN {cast} END"
    if wanted in {Type.INSTANT, Type.DATE}:
        return f"CASE WHEN {cast} BETWEEN {text(_OLDEST)}::{wanted.value} AND {text(_NEWEST)}::{wanted.value} THEN {cast} END"
    return cast


# problems ----------------------------------------------------------------------------------------------------------------------
def _problems(plan: Plan) -> str:
    possible = (problem for mapped in plan.mapped if (problem := _problem_of(plan, mapped)))
    found = [f"CASE WHEN {UNREADABLE} IS NULL THEN {problem} END" for problem in possible]
    if plan.source.where:
        found.append(f"CASE WHEN {UNREADABLE} IS NULL AND __nocturne_kept IS NULL THEN 'row: the condition `where` failed' END")
    texts = [_ours(column.name) for column in plan.dataset.columns if column.type is Type.TEXT]
    nul = " OR ".join(f"contains({column}, chr(0))" for column in texts)
    may = f"({DELIVERED} IS NULL OR contains({DELIVERED}, '\\u0000'))"
    found.append(f"CASE WHEN {may} AND ({nul}) THEN 'row: holds a NUL character' END")
    return f"list_filter([{UNREADABLE}, {', '.join(found)}], lambda problem: problem IS NOT NULL)"


def _problem_of(plan: Plan, mapped: Mapped) -> str | None:
    """SQL of the problem of one column; None if it can have none: text as it was delivered is text."""
    column = plan.dataset.by_name[mapped.column]
    cases = [
        f"WHEN {_unreadable(read)} THEN {_says(column.name, read, _given(read), _declared(plan.source, plan.found, read))}"
        for read in sorted(mapped.expression.columns)
        if _changes_type(plan, read)
    ]
    if not mapped.is_plain:
        cases.append(f"WHEN {_value(column.name)} IS NULL THEN {text(f'{column.name}: its mapping failed')}")
    if plan.kinds.get(column.name) != column.type.value or column.type in {Type.NUMBER, Type.INSTANT, Type.DATE}:
        says = _says(column.name, column.name, mapped.value, column.type.value)
        cases.append(f"WHEN {mapped.value} IS NOT NULL AND {_ours(column.name)} IS NULL THEN {says}")
    return f"CASE {' '.join(cases)} END" if cases else None


def _says(column: str, read: str, value: str, kind: str) -> str:
    """SQL of a problem's text, `<our column>: [<delivered column> ]'<value>' is no <kind>`; silver counts it without the value."""
    before = text(f"{column}: " + ("" if read == column else f"{read} "))
    between = " between the years 1900 and 9999" if kind in {"DATE", "TIMESTAMP", "TIMESTAMPTZ"} else ""
    after = text(f" is no {_KINDS[kind]}{between}")
    return f"concat({before}, chr(39), left({value}::VARCHAR, {_LONGEST_VALUE}), chr(39), {after})"


# ours ----------------------------------------------------------------------------------------------------------------------------
def _hash(columns: Iterable[str]) -> str:
    """63 bits of DuckDB's hash: Delta has no unsigned numbers. A test holds its values, because lakes hold them."""
    return f"(hash({', '.join(columns)}) >> 1)::BIGINT"


def _key(dataset: Dataset) -> str:
    """The key's hash; NULL for a row whose key is not whole, so that such rows are not taken for one another."""
    whole = " AND ".join(f"{_ours(column)}::VARCHAR <> ''" for column in dataset.key)
    return f"CASE WHEN {whole} THEN {_hash(map(_ours, dataset.key))} END"


def _event_on(dataset: Dataset, found_offsets: Sequence[Offset]) -> str:
    if dataset.instant is None:
        return "NULL::DATE"
    if dataset.by_name[dataset.instant].type is Type.DATE:
        return _ours(dataset.instant)
    return local_date(f"epoch_us({_ours(dataset.instant)})", found_offsets)


def _received(received: Mapping[str, str]) -> str:
    days = sorted(set(received.values()))
    if len(days) == 1:
        return f"DATE {text(days[0])}"
    cases = " ".join(f"WHEN {text(batch)} THEN DATE {text(day)}" for batch, day in received.items())
    return f"CASE {BATCH}::VARCHAR {cases} END"


def _json_text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
