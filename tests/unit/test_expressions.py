"""Mapping expressions: what is let through, what is not, and that nothing else ever happens."""

from __future__ import annotations

import random
import re
import sys
import threading
import time

import pytest
import sqlglot
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from nocturne import expressions
from nocturne.expressions import FUNCTIONS, MAX_LENGTH, TYPES, ExpressionError, check_expression

USUAL = {
    "userId": '"userId"',
    "md5(concat(user, ts))": 'MD5(CONCAT("user", "ts"))',
    "make_timestamp_ms(ts)": 'MAKE_TIMESTAMP_MS("ts")',
    "page = 'NextSong' and not coalesce(is_test, false)": '"page" = \'NextSong\' AND NOT COALESCE("is_test", FALSE)',
    "try_cast(length as double) * 1000": 'TRY_CAST("length" AS DOUBLE) * 1000',
    "ms::bigint": 'CAST("ms" AS BIGINT)',
    "(price / 100)::decimal(18, 6)": 'CAST(("price" / 100) AS DECIMAL(18, 6))',
    "case level when 'paid' then 'premium' else 'free' end": "CASE \"level\" WHEN 'paid' THEN 'premium' ELSE 'free' END",
    "payload ->> '$.track.id' = 'x'": "(\"payload\" ->> '$.track.id') = 'x'",
    "upper(left(country, 2)) in ('FR', 'DE')": "UPPER(LEFT(\"country\", 2)) IN ('FR', 'DE')",
    "at + interval 1 day": "\"at\" + INTERVAL '1' DAY",
    "strptime(day, '%d.%m.%Y')::date": "CAST(STRPTIME(\"day\", '%d.%m.%Y') AS DATE)",
    "nullif(trim(name), '')": "NULLIF(TRIM(\"name\"), '')",
    "extract(hour from at)": 'EXTRACT(HOUR FROM "at")',
    "at at time zone 'Europe/Paris'": "\"at\" AT TIME ZONE 'Europe/Paris'",
    "name ilike '%live%'": "\"name\" ILIKE '%live%'",
    "regexp_extract(url, 'track/([a-z0-9]+)', 1)": "REGEXP_EXTRACT(\"url\", 'track/([a-z0-9]+)', 1)",
    "replace(amount, ',', '.')": "REPLACE(\"amount\", ',', '.')",
    '"a column" || \'-\' || "it""s"': '"a column" || \'-\' || "it""s"',
    "1_000": "1000",
    "null": "NULL",
    "id -- the order's": '"id"',
    "id /* read_csv('x') */": '"id"',
}


@pytest.mark.parametrize(("text", "sql"), USUAL.items())
def test_what_mappings_need_is_let_through(text: str, sql: str) -> None:
    assert check_expression(text).sql == sql


def test_the_columns_that_are_read_are_known() -> None:
    assert check_expression("coalesce(a, \"B c\") || x ->> '$.key'").columns == {"a", "B c", "x"}
    assert check_expression("'a'").columns == set()
    # A delivery without a column of this name is refused: DuckDB would put today in its place.
    assert check_expression('"current_date"').columns == {"current_date"}


REFUSED = """
read_csv('/etc/passwd') ; read_text('x') ; read_blob('x') ; read_parquet('x') ; read_json_auto('x') ; glob('*')
parquet_scan('x') ; "read_csv"('x') ; main.read_csv('x') ; system.main.getenv('HOME') ; getenv('HOME')
current_setting('threads') ; pg_read_file('x') ; (select 1) ; a in (select 1) ; exists(select 1) ; a = any(select 1) ; (from t)
(values (1)) ; (table t) ; array(select 1) ; a from t ; a where b ; a group by b ; a limit 1 ; a union select 1 ; distinct a
a order by b ; a qualify b ; * ; t.* ; a, b ; a as b ; a b ; a.b.c ; sum(a) ; count(*) ; sum(a) over () ; row_number() over ()
lag(a) over (order by b) ; a filter (where b) ; array_agg(a) ; string_agg(a, 'b') ; x -> x + 1 ; list_transform(a, x -> x)
lambda x: x ; list_filter([1], lambda x: x) ; [x for x in a] ; [1, 2] ; {'a': 1} ; a[1] ; a[1:2] ; (a, b) ; struct_pack(a := 1)
row(1, 2) ; map {'a': 1} ; unnest(a) ; generate_series(1, 1000000000) ; range(1000000000) ; repeat('a', 1000000000)
lpad('a', 1000000000, 'b') ; rpad('a', 9) ; printf('%d', 1) ; format('{}', 1) ; list_value(1) ; bar(1, 1, 1, 1) ; now()
current_date ; current_timestamp ; localtimestamp ; today() ; random() ; uuid() ; nextval('s') ; setseed(1) ; txid_current()
hash(a) ; current_user ; session_user ; version() ; current_schema() ; current_database() ; pg_typeof(a) ; typeof(a)
duckdb_secrets() ; which_secret('a', 's3') ; query('select 1') ; query_table('t') ; sql_auto_complete('a') ; pragma_version()
checkpoint() ; force_checkpoint() ; error('x') ; try(a) ; eval('a') ; a::blob ; a::struct(x int) ; a::int[] ; a::enum('x')
a::map(int, int) ; a::union(x int) ; a::"t" ; cast(a as regclass) ; a::bit ; a::varchar collate nocase ; $1 ; $name ; ? ; :x ; #1
@a@ ; a collate de ; columns('.*') ; columns(*) ; exclude(a) ; a is json ; a similar to 'b' ; a glob 'b' ; a ** 2 ; ~a ; a & 1
E'a' ; x'00' ; b'1' ; U&'a' ; a like b ; a like concat('%', b) ; replace(a, b, 'c') ; replace(a, 'b', c)
regexp_replace(a, 'b', c) ; json_extract(a, '$.*') ; json_extract(a, '$..b') ; a -> '$[*]' ; json_extract(a, b)
json_extract(a, concat('$.', b)) ; a ->> '/b/*' ; abs(distinct a) ; abs(a order by b) ; extract(a from t) from u
interval (select 1) day ; a between (select 1) and 2 ; case when (select true) then 1 end
""".strip()


@pytest.mark.parametrize("text", [text.strip() for text in re.split(r" ; |\n", REFUSED)])
def test_what_reaches_beyond_one_row_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        check_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "a; drop table t", "a; copy t to 'x'", "a); attach 'x' as y; select (1", "1; install httpfs", "'; load 'x", "a' or 1=1 --",
        "a\x00b", "'a\x00'", "a\x1b[2J", "‘a’", "“a”",
        "a ＝ b", "a；b", "ａｂｓ（a）", "\u202ea", "", " ", ";", "--", "/*", "/* a", "'a", '"a',
        "(", ")", "()", "a)", "(a", "case", "a +", "+", "a !", "select", "select 1", "a over", "cast(a)", "cast(a as)", "abs(",
        "a in ()", "not",
        "$$a", "$x$a$y$",
    ],
)  # fmt: skip
def test_what_is_no_single_expression_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        check_expression(text)


def test_what_would_vanish_when_it_is_written_is_refused() -> None:
    with pytest.raises(ExpressionError, match="not read twice in the same way"):
        check_expression("length('', \"0\")")  # the parser takes a second argument, an encoding, and writes none


@pytest.mark.parametrize("function", sorted(FUNCTIONS - {"if", "cast", "try_cast", "extract"}))
def test_a_name_opens_nothing_without_its_list(function: str) -> None:
    """Each function that is allowed is refused under a name that only resembles it."""
    for resembling in (f"{function}_", f"x.{function}", f"list_{function}x"):
        with pytest.raises(ExpressionError):
            check_expression(f"{resembling}(a)")


# size, depth and growth --------------------------------------------------------------------------------------------------------
DEEP = {
    "brackets": lambda n: "(" * n + "a" + ")" * n,
    "open brackets": lambda n: "(" * n,
    "calls": lambda n: "abs(" * n + "a" + ")" * n,
    "cases": lambda n: "case when a then " * n + "1" + " end" * n,
    "negations": lambda n: "not " * n + "a",
    "signs": lambda n: "- " * n + "a",
    "casts": lambda n: "a" + "::int" * n,
    "sums": lambda n: "a" + "+a" * n,
    "comparisons": lambda n: "a" + "=a" * n,
    "arrows": lambda n: "a" + "->'b'" * n,
    "lists": lambda n: "a in (" * n + "1" + ")" * n,
    "square brackets": lambda n: "[" * n + "]" * n,
    "braces": lambda n: "{'a':" * n + "1" + "}" * n,
    "arguments": lambda n: f"concat({','.join('a' * n)})",
}


@pytest.mark.parametrize("shape", DEEP)
def test_what_is_too_deep_or_too_large_is_refused_at_once(shape: str) -> None:
    build = DEEP[shape]
    for size in (500, 1_000, 100_000):
        started = time.process_time()
        with pytest.raises(ExpressionError):
            check_expression(build(size))
        assert time.process_time() - started < 0.5


@pytest.mark.parametrize("shape", ["brackets", "calls", "cases", "negations", "sums", "casts", "arguments"])
def test_what_is_allowed_does_not_hang_on_how_deep_the_caller_is(shape: str) -> None:
    """The same expressions pass in a fresh thread and in one that has used most of the stack that it is allowed."""

    def passing() -> list[int]:
        check_expression.cache_clear()
        passed = []
        for size in range(1, 80):
            try:
                check_expression(DEEP[shape](size))
            except ExpressionError:
                continue
            passed.append(size)
        return passed

    def deeper(left: int) -> list[int]:
        return deeper(left - 1) if left else passing()

    found: list[list[int]] = []
    for depth in (0, 250):
        thread = threading.Thread(target=lambda depth=depth: found.append(deeper(depth)))
        thread.start()
        thread.join()
    assert sys.getrecursionlimit() == 1_000
    assert found[0] == found[1]
    assert found[0] == list(range(1, len(found[0]) + 1))
    assert len(found[0]) > 5


@pytest.mark.parametrize(
    "text",
    [
        "replace(replace(a, 'b', 'cccccccccccc'), 'c', 'dddddddddddd')",
        f"regexp_replace(a, '.', '{'x' * 100}', 'g')",
        "regexp_replace(regexp_replace(a, '(.*)', '" + r"\1" * 11 + "'), '(.*)', '" + r"\1" * 11 + "')",
        "regexp_replace(a, 'x', 'y', b)" + " || regexp_replace(a, 'x', '" + "y" * 90 + "', b)",
        "a like '%b%b%b%b%b'",
    ],
)
def test_what_could_grow_or_take_without_end_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"times longer|at most 4"):
        check_expression(text)


def test_growth_is_bounded_by_what_is_found_and_put() -> None:
    """Evaluated as Python would, no accepted chain of replacements makes a text longer than the bound says."""
    rng = random.Random(1)
    accepted = 0
    for _ in range(600):
        steps = [
            ("ab"[rng.randrange(2)] * rng.randint(1, 3), "ab"[rng.randrange(2)] * rng.randint(0, 12)) for _ in range(rng.randint(1, 4))
        ]
        text = "x"
        for found, put in steps:
            text = f"replace({text}, '{found}', '{put}')"
        try:
            check_expression(text)
        except ExpressionError:
            continue
        accepted += 1
        value = "ab" * 50
        for found, put in steps:
            value = value.replace(found, put)
        assert len(value) <= 100 * expressions.MAX_GROWTH
    assert accepted > 60


# whatever else ----------------------------------------------------------------------------------------------------------------
def assert_harmless(text: str) -> None:
    """Either refused, or every word of what will be evaluated stands on a list, and checking that again changes nothing."""
    try:
        checked = check_expression(text)
    except ExpressionError:
        return
    rest = re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"", " ", checked.sql)  # DuckDB's own rule for what is quoted
    words = set(re.findall(r"[^\W\d]\w*", rest.lower()))
    words -= {"e"} if re.search(r"\d[eE]", rest) else set()
    numbers = re.sub(r"(?<!\w)\d[\d.]*(?:[eE][+-]?\d+)?", " ", rest)
    assert {word for word in words if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", numbers.lower())} <= expressions._ALLOWED, checked.sql
    assert set(re.sub(r"[\w\s]", "", rest)) <= set("+-*/%(),=<>|."), checked.sql
    assert rest.isascii()
    assert not any(mark in rest for mark in (";", "--", "/*", "*/", "::", ":="))
    again = check_expression(checked.sql)
    assert again.sql == checked.sql
    assert again.columns == checked.columns


SOUP = """
select from where ( ) , ' " ; -- /* */ * + - / // || -> ->> :: . = < > <> != [ ] { } : $1 $$ ? # @ ~ ^ & | \\ a b "c" 'd' '%'
1 1.5 1e9 0x1f case when then else end cast as in is null not and or between like ilike similar to escape glob collate over
partition by order rows distinct all any exists union lambda filter within group limit interval day extract at time zone
read_csv read_text copy attach getenv install load pragma set unnest columns struct_pack try current_user now row map array
enum blob values table with recursive pivot '$.a' '$.*' ‘ ’ “ \u00a0 \x00 é ١ E'x' x'00' U&'d' true false default using
returning
"""
WORDS = [*sorted(FUNCTIONS | TYPES), *SOUP.split(), "\u00a0", "\n", "\t"]


@settings(max_examples=700)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=14), st.sampled_from(["", " "]))
@example(["cast", "(", "a", " as ", "date", " format ", "'x'", ")"], "")
@example(["'x'", "'y'"], " ")
def test_no_row_of_words_does_harm(words: list[str], between: str) -> None:
    assert_harmless(between.join(words))


@settings(max_examples=500)
@given(st.text(max_size=60))
@example("a\u2028b")
@example("'\\'||read_csv('x')||'\\'")
@example('"a""b"')
def test_no_text_whatever_does_harm(text: str) -> None:
    assert_harmless(text)


BINARY = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.And, exp.Or, exp.EQ, exp.LT, exp.DPipe, exp.Is, exp.Like, exp.Pow, exp.Dot)
UNARY = (exp.Not, exp.Neg, exp.Paren, exp.Subquery, exp.Exists, exp.Upper)


def _trees() -> st.SearchStrategy[exp.Expression]:
    leaves = st.one_of(
        st.text(max_size=6).map(lambda name: exp.column(name, quoted=True)),
        st.text(max_size=6).map(exp.Literal.string),
        st.integers(0, 10**9).map(exp.Literal.number),
        st.just(exp.null()),
    )

    def above(children: st.SearchStrategy[exp.Expression]) -> st.SearchStrategy[exp.Expression]:
        pairs = st.tuples(children, children)
        functions = st.sampled_from([*sorted(FUNCTIONS), "read_csv", "getenv", "list_transform", "unnest", "sum", "now"])
        return st.one_of(
            st.builds(
                lambda kind, pair: kind(this=pair[0], expression=pair[1]),
                st.sampled_from(BINARY),
                pairs,
            ),
            st.builds(lambda name, pair: exp.Anonymous(this=name, expressions=list(pair)), functions, pairs),
            st.builds(lambda kind, child: kind(this=child), st.sampled_from(UNARY), children),
            st.builds(
                lambda kind, child: exp.Cast(this=child, to=exp.DataType.build(kind, dialect="duckdb")),
                st.sampled_from(["bigint", "varchar", "blob", "int[]", "timestamptz"]), children,
            ),
            st.builds(lambda pair: exp.In(this=pair[0], expressions=[pair[1]]), pairs),
            st.builds(lambda child: exp.select(child).from_("t").subquery(), children),
            st.builds(lambda child: exp.Window(this=exp.Sum(this=child)), children),
            st.builds(lambda pair: exp.Case(ifs=[exp.If(this=pair[0], true=pair[1])]), pairs),
            st.builds(lambda pair: exp.Bracket(this=pair[0], expressions=[pair[1]]), pairs),
        )  # fmt: skip

    return st.recursive(leaves, above, max_leaves=8)


@settings(max_examples=300)
@given(_trees())
@example(exp.Anonymous(this="length", expressions=[exp.Literal.string(""), exp.column("", quoted=True)]))
def test_no_tree_that_sql_can_be_written_from_does_harm(tree: exp.Expression) -> None:
    try:
        text = tree.sql("duckdb")
    except (sqlglot.errors.SqlglotError, ValueError, AttributeError):
        return  # sqlglot itself makes no sense of it
    assert_harmless(text)


def test_a_check_is_cheap_enough_to_make_at_every_parse() -> None:
    texts = [f"({text}\n) = 'x{count}'" for count in range(20) for text in USUAL]
    started = time.process_time()
    for text in texts:
        check_expression(text)
    assert (time.process_time() - started) / len(texts) < 0.01  # 0.4 ms where it was written
    started = time.process_time()
    for _ in range(100):
        check_expression(texts[0])
    assert time.process_time() - started < 0.01


def test_the_longest_expression_is_said() -> None:
    with pytest.raises(ExpressionError, match=f"at most {MAX_LENGTH} characters, this one {MAX_LENGTH + 1}"):
        check_expression("a" * (MAX_LENGTH + 1))
