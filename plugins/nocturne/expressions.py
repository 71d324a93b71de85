"""Mapping expressions: SQL that a tenant's file gives us, and that we do not trust.

An expression is parsed, its tree is written again with every identifier quoted, and every word of what was written must stand on one of
the lists below. What is evaluated is that text, never the text that was given: so what runs is what was checked, however a parser
may have understood what was given. `lake` evaluates it with external access off, the configuration locked, a memory cap and a time limit.

No list can hold what grows: nested replacements multiply a value's length, and a pattern of many wildcards takes as many steps as there
are ways to split a value. DuckDB looks at its limits only between chunks of rows, so such expressions are refused here. Regular expressions
need no such care: RE2 takes linear time and bounded memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

import sqlglot
from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# hash() is left out: what it returns may change with DuckDB's version, and silver must not.
FUNCTIONS = _words(
    """
    abs ceil floor round sign least greatest coalesce nullif if ifnull try_cast cast mod
    lower upper trim ltrim rtrim length left right substr substring replace split_part concat concat_ws strip_accents
    starts_with ends_with contains regexp_extract regexp_matches regexp_replace
    make_timestamp make_timestamp_ms make_timestamp_ns to_timestamp epoch epoch_ms strptime try_strptime strftime date_trunc
    date_part date_add date_sub date_diff datediff extract make_date year month day hour minute second
    md5 sha256 json_extract json_extract_string
    """
)
"""What an expression may call: pure functions of one row."""

TYPES = _words(
    """
    varchar text boolean tinyint smallint int integer bigint utinyint usmallint uinteger ubigint float real double
    decimal numeric date time timestamp timestamptz timestamp_s timestamp_ms timestamp_ns interval json uuid
    """
)
"""What an expression may cast to."""

_KEYWORDS = _words("and or not is null true false in between like ilike escape case when then else end as at time zone distinct from")
_UNITS = _words(
    "millennium century decade year quarter month week day hour minute second millisecond microsecond epoch dow isodow doy isoyear"
)
_ALLOWED = FUNCTIONS | TYPES | _KEYWORDS | _UNITS
_BEFORE_BRACKET = FUNCTIONS | _words("and or not in between when then else case from decimal numeric interval")
_OPERATORS = frozenset({"+", "-", "*", "/", "//", "%", "(", ")", ",", "=", "<>", "<", "<=", ">", ">=", "||", "->", "->>"})
_REFUSED = (
    exp.Alias, exp.Array, exp.Bracket, exp.Distinct, exp.Lambda, exp.Parameter, exp.Placeholder, exp.Select, exp.Star, exp.Struct,
    exp.Subquery, exp.Tuple, exp.Window,
)  # fmt: skip
MAX_LENGTH = 2_000
MAX_NODES = 400
MAX_DEPTH = 60
MAX_NESTING = 16
MAX_GROWTH = 100
MAX_WILDCARDS = 4


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
    if any(ord(letter) < 32 and letter not in "\n\t" for letter in text):
        raise ExpressionError(f"{text!r} holds a control character")
    try:
        _check_nesting(text)
        tree = _parse(text)
        _check_tree(tree, text)
        sql = _written(tree)
        _check_words(sql, text)
        _check_nesting(sql)
        again, columns = _parse(sql), _columns(tree)
        # Of some functions the parser reads arguments that it does not write. A column among them would be asked of a delivery for nothing.
        if _written(again) != sql or _columns(again) != columns:
            raise ExpressionError(f"{text!r} is not read twice in the same way: write it more plainly")
    except ExpressionError:
        raise
    except Exception as error:  # whatever a parser stumbles over is no expression; it does not end the loading of a tenant
        raise ExpressionError(f"{text!r} is no SQL expression: {(str(error) or type(error).__name__).splitlines()[0]}") from error
    return Expression(sql, columns)


def _check_nesting(text: str) -> None:
    """Refuse what would be too deep to parse, the same way however much of the stack our caller uses."""
    depth = 0
    for token in sqlglot.tokenize(text, read="duckdb"):
        depth += (token.token_type in (TokenType.L_PAREN, TokenType.CASE)) - (token.token_type in (TokenType.R_PAREN, TokenType.END))
        if depth > MAX_NESTING:
            raise ExpressionError(f"an expression is at most {MAX_NESTING} brackets deep")


def _parse(text: str) -> exp.Expression:
    statements = sqlglot.parse(f"SELECT {text}", read="duckdb")
    select = statements[0] if len(statements) == 1 else None
    if not isinstance(select, exp.Select):
        raise ExpressionError(f"{text!r} must be one expression")
    extra = [name.rstrip("_") for name, value in select.args.items() if value and name != "expressions"]
    if extra or len(select.expressions) != 1:
        raise ExpressionError(f"{text!r} must be one expression, without {', '.join(extra) or 'a second one'}")
    tree: exp.Expression = select.expressions[0]
    return tree


def _columns(tree: exp.Expression) -> frozenset[str]:
    return frozenset(column.name for column in tree.find_all(exp.Column))


def _written(tree: exp.Expression) -> str:
    return tree.sql("duckdb", identify=True, comments=False)


def _check_tree(tree: exp.Expression, text: str) -> None:
    """Refuse what stands on no row alone, what is too large, and what could grow beyond measure."""
    growth = 1.0
    for count, (node, depth) in enumerate(_walk(tree), start=1):
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise ExpressionError(f"an expression has at most {MAX_NODES} parts, at most {MAX_DEPTH} within each other")
        _check_node(node, text)
        growth *= _growth(node, text)
    if growth > MAX_GROWTH:
        raise ExpressionError(f"{text!r} could make a text {growth:.0f} times longer; at most {MAX_GROWTH} times is allowed")


def _walk(tree: exp.Expression) -> Iterator[tuple[exp.Expression, int]]:
    """Every node with its depth, without recursion."""
    waiting = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting.extend((child, depth + 1) for child in node.iter_expressions())


def _check_node(node: exp.Expression, text: str) -> None:
    if isinstance(node, _REFUSED):
        raise ExpressionError(f"{text!r}: {node.sql('duckdb')} is not allowed in a mapping")
    if isinstance(node, exp.Column) and (node.table or node.args.get("join_mark")):
        raise ExpressionError(f"{text!r}: {node.sql('duckdb')} must be a plain column name (json: use ->>)")
    if isinstance(node, exp.Identifier) and not node.args.get("quoted") and not re.fullmatch(r"[\w$]+", node.name):
        raise ExpressionError(f"{text!r}: a column called {node.name} stands in double quotes")
    if isinstance(node, exp.Identifier) and not node.name:
        raise ExpressionError(f'{text!r}: "" names no column (an empty text stands in single quotes)')
    if isinstance(node, exp.Is) and not isinstance(node.expression, (exp.Null, exp.Boolean)):
        raise ExpressionError(f"{text!r}: {node.sql('duckdb')}: only null, true and false are asked for with IS")
    if isinstance(node, exp.In) and not node.expressions:
        raise ExpressionError(f"{text!r}: {node.sql('duckdb')}: IN needs a list of values")
    if isinstance(node, (exp.JSONExtract, exp.JSONExtractScalar)):
        _check_path(node.expression, text)
    if isinstance(node, (exp.Like, exp.ILike)):
        _check_pattern(node.expression, text)


def _check_pattern(pattern: exp.Expression, text: str) -> None:
    if not (isinstance(pattern, exp.Literal) and pattern.is_string and pattern.name.count("%") <= MAX_WILDCARDS):
        raise ExpressionError(
            f"{text!r}: a LIKE pattern must stand there as a text with at most {MAX_WILDCARDS} `%`; or use regexp_matches"
        )


def _check_path(path: exp.Expression, text: str) -> None:
    if not isinstance(path, (exp.JSONPath, exp.Literal)) or path.find(exp.JSONPathWildcard, exp.JSONPathRecursive) or "*" in path.name:
        raise ExpressionError(f"{text!r}: a path into JSON must stand there as a text, and lead to one place")


def _growth(node: exp.Expression, text: str) -> float:
    """How many times longer than its first argument this node can be: a bound, from what is found and what is put in its place."""
    if not isinstance(node, (exp.Replace, exp.RegexpReplace)):
        return 1.0
    found, put = node.expression, node.args.get("replacement")
    if not (isinstance(found, exp.Literal) and isinstance(put, exp.Literal)):
        raise ExpressionError(f"{text!r}: what {node.sql('duckdb')} finds and puts must stand there as texts")
    if isinstance(node, exp.Replace):
        return max(1.0, len(put.name) / max(1, len(found.name)))
    modifiers = node.args.get("modifiers")
    everywhere = modifiers is not None and (not isinstance(modifiers, exp.Literal) or "g" in modifiers.name)
    return 1.0 + put.name.count("\\") + (len(put.name) if everywhere else 0)


def _check_words(sql: str, text: str) -> None:
    """Refuse every token of what will be evaluated that is neither quoted, nor a number, nor on a list; brackets have one of their own."""
    tokens = sqlglot.tokenize(sql, read="duckdb")
    for token, following in zip_longest(tokens, tokens[1:]):
        is_call = following is not None and following.token_type is TokenType.L_PAREN
        if not _is_allowed(token, is_call):
            raise ExpressionError(f"{text!r}: {token.text.lower()} is not allowed in a mapping; `nocturne functions` lists what is")


def _is_allowed(token: Token, is_call: bool) -> bool:
    if token.token_type in (TokenType.STRING, TokenType.IDENTIFIER):
        return not is_call
    if token.token_type is TokenType.NUMBER:
        return token.text.isascii()
    return token.text.lower() in (_BEFORE_BRACKET if is_call else _ALLOWED) or token.text in _OPERATORS
