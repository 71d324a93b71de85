"""What `expressions` lets through, evaluated by DuckDB as `lake` opens it for what is not trusted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nocturne.expressions import FUNCTIONS, TYPES, ExpressionError, check_expression
from nocturne.lake import Connection, QueryError, duck
from nocturne.settings import Settings

ROW = """
    (SELECT 'Ünder the Moon' AS a, 42 AS n, 1.5 AS x, TIMESTAMP '2026-03-29 01:30:00' AS ts, TIMESTAMPTZ '2026-03-29 01:30:00+00' AS utc,
            DATE '2026-03-29' AS d, TRUE AS b, NULL AS nothing, JSON '{"id": "t1", "of": {"id": 7}, "list": [5, 6]}' AS j,
            '12,5' AS "the price") AS row
"""
CALLS = {
    "abs": "abs(-n)", "ceil": "ceil(x)", "floor": "floor(x)", "round": "round(x, 0)", "sign": "sign(-n)", "least": "least(n, 7)",
    "greatest": "greatest(n, 7)", "coalesce": "coalesce(nothing, a)", "nullif": "nullif(n, 42)", "if": "if(b, 1, 2)",
    "ifnull": "ifnull(nothing, 1)", "try_cast": "try_cast(a as bigint)", "cast": "cast(n as varchar)", "mod": "mod(n, 5)",
    "lower": "lower(a)", "upper": "upper(a)", "trim": "trim(' a ')", "ltrim": "ltrim(' a ')", "rtrim": "rtrim(' a ')",
    "length": "length(a)", "left": "left(a, 2)", "right": "right(a, 2)", "substr": "substr(a, 2, 3)", "substring": "substring(a, 2, 3)",
    "replace": "replace(\"the price\", ',', '.')", "split_part": "split_part(a, ' ', 2)", "concat": "concat(a, n)",
    "concat_ws": "concat_ws('-', a, n)", "strip_accents": "strip_accents(a)", "starts_with": "starts_with(a, 'Ü')",
    "ends_with": "ends_with(a, 'n')", "contains": "contains(a, 'the')", "regexp_extract": "regexp_extract(a, '([A-Z])oon', 1)",
    "regexp_matches": "regexp_matches(a, 'M.*')", "regexp_replace": "regexp_replace(a, 'o', '0', 'g')",
    "make_timestamp": "make_timestamp(2026, 3, 29, 1, 30, 0)", "make_timestamp_ms": "make_timestamp_ms(1541106106796)",
    "make_timestamp_ns": "make_timestamp_ns(1541106106796000000)", "to_timestamp": "to_timestamp(1541106106.796)", "epoch": "epoch(ts)",
    "epoch_ms": "epoch_ms(ts)", "strptime": "strptime('29.03.2026', '%d.%m.%Y')", "try_strptime": "try_strptime(a, '%d')",
    "strftime": "strftime(ts, '%H')", "date_trunc": "date_trunc('month', ts)", "date_part": "date_part('hour', ts)",
    "date_add": "date_add(ts, interval 1 day)", "date_sub": "date_sub('day', ts, ts)", "date_diff": "date_diff('day', d, d)",
    "datediff": "datediff('day', d, d)", "extract": "extract(epoch from ts)", "make_date": "make_date(2026, 3, 29)", "year": "year(d)",
    "month": "month(d)", "day": "day(d)", "hour": "hour(ts)", "minute": "minute(ts)", "second": "second(ts)", "md5": "md5(a)",
    "sha256": "sha256(a)", "json_extract": "json_extract(j, '$.of.id')", "json_extract_string": "json_extract_string(j, '$.id')",
}  # fmt: skip
OTHERS = (
    "a ilike '%MOON'", "a not like 'x%'", "n between 1 and 50 and not b is null", "case n when 42 then 'x' end || 'y'", "n in (1, 42) = b",
    "j ->> 'id' = 't1'", "j -> 'of' ->> 'id'", "(j ->> '$.list[1]')::bigint + 1", "not j ->> 'id' in ('t2')", "n // 5 * 2 - -n % 4",
    "n - (n - 1) - 1", "utc at time zone 'Asia/Tokyo'", "d + interval 2 month", "interval (n) minute + ts", "x::decimal(18, 6)",
    "a is not distinct from a",
    "'it''s' || '\\' || 'a\nb'", "nothing is null and b is not false", "(ts)::date", "1e3 + .5",
    "try_cast('x' as double) is null", "timestamp '2026-01-01'",
)  # fmt: skip


@pytest.fixture
def connection(settings: Settings, tmp_path: Path) -> Iterator[Connection]:
    (tmp_path / "allowed").mkdir()
    with duck(settings, only=[tmp_path / "allowed"]) as opened:
        yield opened


def value(connection: Connection, expression: str) -> Any:
    [row] = connection.execute(f"SELECT {expression}, typeof({expression}) FROM {ROW}").fetchall()
    return row


def test_there_is_a_call_of_every_function() -> None:
    assert set(CALLS) == FUNCTIONS


@pytest.mark.parametrize("text", [*CALLS.values(), *OTHERS])
def test_what_is_evaluated_means_what_was_written(connection: Connection, text: str) -> None:
    checked = check_expression(text)
    assert value(connection, checked.sql) == value(connection, text)
    assert checked.columns <= {"a", "n", "x", "ts", "utc", "d", "b", "nothing", "j", "the price"}


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_type_can_be_cast_to(connection: Connection, kind: str) -> None:
    value(connection, check_expression(f"try_cast(nothing as {kind})").sql)


def test_a_column_that_is_not_there_is_found_out_by_its_name(connection: Connection) -> None:
    with pytest.raises(QueryError, match="no_such_column"):
        value(connection, check_expression("no_such_column").sql)


def test_no_combination_reaches_further_or_ends_the_process(connection: Connection, tmp_path: Path) -> None:
    """Combinations of what is allowed either give a value, twice the same, or fail as a conversion does."""
    outside = tmp_path / "outside.csv"
    outside.write_text("hush")
    rng = random.Random(7)
    leaves = ["a", "n", "x", "ts", "d", "b", "j", '"the price"', "null", "1", "''", f"'{outside}'", "'$.id'", "interval 1 day"]
    joints = [
        "{} + {}",
        "{} || {}",
        "{} = {}",
        "{} and {}",
        "{} in ({})",
        "{} ->> '$.id'",
        "-{}",
        "not {}",
        "case when {} then {} end",
        "{}::varchar",
    ]
    joints += [
        "try_cast({} as bigint)",
        "{} like '%a%'",
        "{} at time zone 'UTC'",
        "read_text({})",
        "getenv({})",
        "(select {})",
        "{}; attach {}",
    ]
    joints += [
        f"{name}({', '.join(['{}'] * count)})" for name in sorted(FUNCTIONS - {"if", "cast", "try_cast", "extract"}) for count in (1, 2, 3)
    ]

    def build(depth: int) -> str:
        if depth == 0 or rng.random() < 0.2:
            return rng.choice(leaves)
        joint = rng.choice(joints)
        return joint.format(*(f"({build(depth - 1)})" for _ in range(joint.count("{}"))))

    evaluated = 0
    for _ in range(1_500):
        text = build(rng.randint(1, 4))
        try:
            sql = check_expression(text).sql
        except ExpressionError:
            continue
        try:
            first = value(connection, sql)
        except QueryError as error:
            assert type(error).__name__ in {
                "BinderException", "CatalogException", "ConversionException", "InvalidInputException", "OutOfRangeException",
                "ParserException",
            }, (sql, error)  # fmt: skip
            assert not isinstance(error, OSError)
            assert "hush" not in str(error)
            continue
        evaluated += 1
        assert repr(value(connection, sql)) == repr(first), sql
        assert "hush" not in str(first)
    assert evaluated > 100
