"""Mapping expressions: SQL that a tenant's file gives us, and that we do not trust.

An expression is parsed, every node of its tree is checked against an allow-list, and what is evaluated later is the text that is
written again from the checked tree, never the text that was given: so what ran is what was checked. `lake` evaluates it with
external access off, the configuration locked, a memory cap and a time limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

FUNCTIONS = frozenset(
    """
    abs ceil floor round sign least greatest coalesce nullif if ifnull try_cast cast
    lower upper trim ltrim rtrim length left right substr substring replace split_part concat concat_ws strip_accents
    starts_with ends_with contains regexp_extract regexp_matches regexp_replace
    make_timestamp make_timestamp_ms make_timestamp_ns to_timestamp epoch epoch_ms strptime try_strptime strftime date_trunc
    date_part date_add date_sub date_diff datediff make_date year month day hour minute second
    md5 sha256 hash json_extract json_extract_string
    """.split()
)
"""What an expression may call. All of them are pure, look at one row, and cannot make a value much longer than its arguments."""

_NODES = (
    exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Neg, exp.Not, exp.Add, exp.Sub, exp.Mul, exp.Div,
    exp.IntDiv, exp.Mod, exp.And, exp.Or, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In, exp.Between, exp.Like,
    exp.ILike, exp.Case, exp.If, exp.Cast, exp.TryCast, exp.DataType, exp.DataTypeParam, exp.DPipe, exp.Concat, exp.Interval, exp.Var,
    exp.AtTimeZone, exp.Tuple, exp.JSONPath, exp.JSONPathRoot, exp.JSONPathKey, exp.JSONPathSubscript, exp.NullSafeEQ, exp.NullSafeNEQ,
    exp.Escape,
)  # fmt: skip
MAX_LENGTH = 2_000
MAX_NODES = 400


class ExpressionError(ValueError):
    """An expression that is refused, and why."""


@dataclass(frozen=True)
class Expression:
    """A checked expression: `sql` is what is evaluated, `columns` the delivered columns that it reads."""

    sql: str
    columns: frozenset[str]


@lru_cache(maxsize=50_000)
def check_expression(text: str) -> Expression:
    """The checked form of `text`. Raises ExpressionError with the part that is refused."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression has at most {MAX_LENGTH} characters, this one {len(text)}")
    try:
        statements = sqlglot.parse(f"SELECT {text}", read="duckdb")
    except (SqlglotError, RecursionError) as error:
        raise ExpressionError(f"{text!r} is no SQL expression: {str(error).splitlines()[0]}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Select):
        raise ExpressionError(f"{text!r} must be one expression")
    select = statements[0]
    extra = [name for name, value in select.args.items() if value and name != "expressions"]
    if extra or len(select.expressions) != 1:
        raise ExpressionError(f"{text!r} must be one expression, without {', '.join(extra) or 'a second one'}")
    tree = select.expressions[0]
    count = 0
    for node in tree.walk():
        count += 1
        _check_node(node, text)
    if count > MAX_NODES:
        raise ExpressionError(f"an expression has at most {MAX_NODES} parts, this one {count}")
    columns = set()
    for column in tree.find_all(exp.Column):
        if column.table or column.args.get("db"):
            raise ExpressionError(f"{text!r}: {column.sql('duckdb')} must be a plain column name (json: use ->>)")
        columns.add(column.name)
    return Expression(tree.sql("duckdb", identify=True), frozenset(columns))


def _check_node(node: exp.Expression, text: str) -> None:
    if isinstance(node, (exp.Alias, exp.Star, exp.Subquery, exp.Select, exp.Window, exp.Lambda, exp.Placeholder, exp.Parameter)):
        raise ExpressionError(f"{text!r}: {node.sql('duckdb')} is not allowed in a mapping")
    if isinstance(node, _NODES):
        return
    if isinstance(node, exp.Func):
        name = (node.name if isinstance(node, exp.Anonymous) else _rendered_name(node)).lower()
        if name in FUNCTIONS or isinstance(node, (exp.JSONExtract, exp.JSONExtractScalar)):
            return
        raise ExpressionError(f"{text!r}: the function {name} is not allowed; the README lists what is")
    raise ExpressionError(f"{text!r}: {node.sql('duckdb')} ({type(node).__name__}) is not allowed in a mapping")


def _rendered_name(node: exp.Func) -> str:
    """The name that DuckDB will be asked for: what counts is what is evaluated, not what was written."""
    return node.sql("duckdb").split("(", 1)[0].strip().strip('"')
