"""A tenant's own columns from ours: the inverse of a source's mapping.

A mapping says how our columns follow from what is delivered; the simulator delivers what makes it come out right. What can be inverted:
a plain column; `make_timestamp_ms`, `make_timestamp`, `to_timestamp`; `strptime` and `try_strptime`, also `AT TIME ZONE`; casts; `lower`,
`upper`, `trim`, `round`; a number times or divided by a constant; a prefix put before; `coalesce` and `nullif` with a constant; a
comparison with a constant for a flag; a CASE that gives words for words; a constant. Anything else is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from sqlglot import exp

from nocturne.datasets import DATASETS
from nocturne.errors import TenantError
from nocturne.expressions import check_expression
from nocturne.tenants import Source, Tenant

Invert = Callable[[pa.Array], pa.Array]
_EPOCHS: Mapping[str, int] = {"MAKE_TIMESTAMP_MS": 1_000, "MAKE_TIMESTAMP": 1, "MAKE_TIMESTAMP_NS": 0}


class _RefusedError(ValueError):
    """A part of an expression that has no inverse here."""


@dataclass(frozen=True)
class Field:
    """One delivered column: its name, ours that it is made from, and how."""

    name: str
    column: str
    invert: Invert


@dataclass(frozen=True)
class Foreign:
    """What one source delivers: its columns in order, and those that are the same in every row (from its `where`)."""

    source: Source
    tenant: str
    fields: tuple[Field, ...]
    said: Mapping[str, str]  # our columns that the mapping itself says, in every row the same
    constants: Mapping[str, Any]
    instant_of: str | None  # our column that tells the instant, and theirs
    instant: str | None

    def rows(self, rows: pa.Table | pa.RecordBatch) -> list[tuple[str, pa.Array]]:
        """The delivered columns of these rows. Dictionaries stay dictionaries, over the same indices. Raises TenantError for a value that
        the mapping could never give.
        """
        for column, word in self.said.items():
            wrong = pc.filter(_whole(rows[column]).cast(pa.string()), pc.not_equal(_whole(rows[column]).cast(pa.string()), word))
            if len(wrong):
                raise _refusal(self.tenant, self.source, f"{column}: {self.source.map[column]}", f"there is also {wrong[0]}")
        made = [(name, pa.nulls(len(rows), pa.string()).fill_null(str(value))) for name, value in self.constants.items()]
        for field in self.fields:
            try:
                made.append((field.name, _over_values(field.invert, _whole(rows[field.column]))))
            except _RefusedError as error:
                raise _refusal(self.tenant, self.source, f"{field.column}: {self.source.map[field.column]}", str(error)) from error
        return made


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _over_values(invert: Invert, column: pa.Array) -> pa.Array:
    """Apply to a dictionary's few values instead of to every row."""
    if isinstance(column, pa.DictionaryArray):
        return pa.DictionaryArray.from_arrays(column.indices, invert(column.dictionary), safe=False)
    return invert(column)


def foreign(tenant: Tenant, source: Source) -> Foreign:
    """What `source` delivers. Raises TenantError naming the first expression that cannot be inverted."""
    dataset = DATASETS[source.dataset]
    mapping = dict(source.map) or {column.name: f'"{column.name}"' for column in dataset.columns if column.name not in source.estimate}
    constants = _constants(tenant, source)
    fields: dict[str, Field] = {}
    said: dict[str, str] = {}
    for column, text in mapping.items():
        try:
            found = _invert(_tree(text), lambda values: values)
        except _RefusedError as error:
            raise _refusal(tenant.slug, source, f"{column}: {text}", str(error)) from error
        if isinstance(found, str):
            said[column] = found
            continue
        name, invert = found
        if name in fields or name in constants:
            raise _refusal(tenant.slug, source, f"{column}: {text}", f"{name} is read twice")
        fields[name] = Field(name, column, invert)
    at = next((field.name for field in fields.values() if field.column == dataset.instant), None)
    return Foreign(source, tenant.slug, tuple(fields.values()), said, constants, dataset.instant, at)


def _refusal(tenant: str, source: Source, where: str, why: str) -> TenantError:
    return TenantError(
        f"The simulator cannot deliver what source {source.name} maps ({where}): {why}.",
        next_step="Map a demo source with the simpler expressions that nocturne.simulator.foreign lists.",
        tenant=tenant,
    )


def _tree(text: str) -> exp.Expr:
    tree: exp.Expr = sqlglot.parse_one(check_expression(text).sql, read="duckdb")
    return tree


def _constants(tenant: Tenant, source: Source) -> dict[str, Any]:
    """The values that a `where` of equalities asks for."""
    if source.where is None:
        return {}
    found = {}
    for part in _tree(source.where).flatten() if isinstance(_tree(source.where), exp.And) else [_tree(source.where)]:
        part = part.unnest()
        if not (isinstance(part, exp.EQ) and isinstance(part.this, exp.Column) and isinstance(part.expression, exp.Literal)):
            raise _refusal(tenant.slug, source, f"where: {source.where}", f"{part.sql('duckdb')} is no equality with a constant")
        found[part.this.name] = part.expression.name
    return found


def _invert(node: exp.Expr, invert: Invert) -> tuple[str, Invert] | str:
    """(delivered column, how its values follow from those of `node`), or the constant that stands there, for which nothing is delivered."""
    if isinstance(node, exp.Column):
        return node.name, invert
    if isinstance(node, exp.Literal):
        return node.name
    step = _STEPS.get(type(node))
    if step is None:
        raise _RefusedError(f"{node.sql('duckdb')} has no inverse")
    inner, undo = step(node)
    return _invert(inner, lambda values: undo(invert(values)))


def _literal(node: exp.Expr | None, of: exp.Expr) -> Any:
    if not isinstance(node, exp.Literal):
        raise _RefusedError(f"{of.sql('duckdb')} is inverted only with a constant")
    return node.name if node.is_string else float(node.name)


def _same(node: exp.Expr) -> tuple[exp.Expr, Invert]:
    return node.this, lambda values: values


def _cast(node: exp.Expr) -> tuple[exp.Expr, Invert]:
    def undo(values: pa.Array) -> pa.Array:
        return iso(values) if pa.types.is_timestamp(values.type) else values

    return node.this, undo


def _numbered_instant(node: exp.Expr) -> tuple[exp.Expr, Invert]:
    name = node.name.upper() if isinstance(node, exp.Anonymous) else "TO_TIMESTAMP"
    if isinstance(node, exp.UnixToTime) and node.args.get("scale"):
        name = "MAKE_TIMESTAMP"
    if isinstance(node, exp.Anonymous) and name.endswith("STRPTIME"):
        return _written_instant(node)
    if name == "TO_TIMESTAMP":
        return node.this, lambda values: pc.divide(values.cast(pa.int64()).cast(pa.float64()), 1e6)
    if name not in _EPOCHS:
        raise _RefusedError(f"{node.sql('duckdb')} has no inverse")
    unit = _EPOCHS[name]
    inner = node.expressions[0] if isinstance(node, exp.Anonymous) else node.this
    if unit == 0:
        return inner, lambda values: pc.multiply(values.cast(pa.int64()), 1_000)
    return inner, lambda values: pc.divide(values.cast(pa.int64()), unit)


def _written_instant(node: exp.Expr) -> tuple[exp.Expr, Invert]:
    inner, pattern = (node.expressions[0], node.expressions[1]) if isinstance(node, exp.Anonymous) else (node.this, node.args.get("format"))
    text = _literal(pattern, node)

    def undo(values: pa.Array) -> pa.Array:
        if pa.types.is_timestamp(values.type) and "%f" not in text:
            values = values.cast(pa.timestamp("s", values.type.tz), safe=False)
        return pc.strftime(values, text)

    return inner, undo


def _local(node: exp.Expr) -> tuple[exp.Expr, Invert]:
    zone = ZoneInfo(_literal(node.args["zone"], node))

    def undo(values: pa.Array) -> pa.Array:
        return pc.local_timestamp(values.cast(pa.timestamp("us", str(zone))))

    return node.this, undo


def _scaled(node: exp.Expr) -> tuple[exp.Expr, Invert]:
    """A number times or divided by a constant."""
    inner, factor = (node.this, node.expression) if isinstance(node.expression, exp.Literal) else (node.expression, node.this)
    number = _literal(factor, node)
    by = number if isinstance(node, exp.Mul) else 1 / number

    def undo(values: pa.Array) -> pa.Array:
        exact = pc.divide(values.cast(pa.float64()), by)
        return pc.round(exact).cast(pa.int64()) if by < 1 else pc.round(exact, 6)

    return inner, undo


def _other_case(change: Callable[[pa.Array], pa.Array]) -> Callable[[exp.Expr], tuple[exp.Expr, Invert]]:
    def step(node: exp.Expr) -> tuple[exp.Expr, Invert]:
        return node.this, change

    return step


def _prefixed(node: exp.Expr) -> tuple[exp.Expr, Invert]:
    parts = list(node.expressions) if isinstance(node, exp.Concat) else [node.this, node.expression]
    if len(parts) != 2:
        raise _RefusedError(f"{node.sql('duckdb')} is inverted only with one prefix")
    prefix = _literal(parts[0], node)

    def undo(values: pa.Array) -> pa.Array:
        if pc.any(pc.invert(pc.starts_with(values, prefix))).as_py():
            raise _RefusedError(f"not every value begins with {prefix!r}")
        return pc.utf8_slice_codeunits(values, len(prefix))

    return parts[1], undo


def _emptied(node: exp.Expr) -> tuple[exp.Expr, Invert]:
    """`nullif(x, '')`: what is NULL for us is delivered as that constant."""
    value = _literal(node.expression, node)
    return node.this, lambda values: pc.fill_null(values.cast(pa.string()), value)


def _flag(node: exp.Expr) -> tuple[exp.Expr, Invert]:
    value = _literal(node.expression, node)
    other: Any = ({"Y": "N", "y": "n", "yes": "no", "true": "false"}.get(value, "")) if isinstance(value, str) else 0
    yes, no = (value, other) if isinstance(value, str) else (int(value), 0)
    return node.this, lambda values: pc.if_else(values, pa.scalar(yes), pa.scalar(no))


def _words(node: exp.Expr) -> tuple[exp.Expr, Invert]:
    """A CASE of words: each of ours is delivered as the one that stands for it."""
    pairs: dict[str, str] = {}
    inner = node.this
    for branch in node.args["ifs"]:
        condition = branch.this
        if inner is None or isinstance(condition, exp.EQ):
            inner, condition = condition.this, condition.expression
        pairs.setdefault(str(_literal(branch.args["true"], node)), str(_literal(condition, node)))

    def undo(values: pa.Array) -> pa.Array:
        words = values.cast(pa.string()).to_pylist()
        missing = sorted({word for word in words if word is not None} - set(pairs))
        if missing:
            raise _RefusedError(f"no delivered word stands for {', '.join(missing)}")
        return pa.array([None if word is None else pairs[word] for word in words], pa.string())

    return inner, undo


_STEPS: Mapping[type[exp.Expr], Callable[[Any], tuple[exp.Expr, Invert]]] = {
    exp.Paren: _same,
    exp.Trim: _same,
    exp.Round: _same,
    exp.Coalesce: _same,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Lower: _other_case(pc.utf8_upper),
    exp.Upper: _other_case(pc.utf8_lower),
    exp.Anonymous: _numbered_instant,
    exp.UnixToTime: _numbered_instant,
    exp.StrToTime: _written_instant,
    exp.AtTimeZone: _local,
    exp.Mul: _scaled,
    exp.Div: _scaled,
    exp.Concat: _prefixed,
    exp.DPipe: _prefixed,
    exp.Nullif: _emptied,
    exp.EQ: _flag,
    exp.Case: _words,
}


def iso(values: pa.Array) -> pa.Array:
    """Instants as ISO 8601 in UTC."""
    return pc.replace_substring(values.cast(pa.timestamp("ms", "UTC"), safe=False).cast(pa.string()), " ", "T", max_replacements=1)
