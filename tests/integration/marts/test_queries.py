"""Questions to the metrics: answers are what the definitions say, from whichever mart; what has no right answer is refused with the reason."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as cases
from hypothesis import strategies as st

from nocturne import cli
from nocturne.errors import QueryRefused
from nocturne.metrics import Answer, Filter, execute_query, load_catalogue
from nocturne.metrics.answering import published_columns
from nocturne.metrics.asking import Question, choices
from nocturne.metrics.compiling import Compiler
from nocturne.metrics.declarations import AddsUp, Metric
from nocturne.metrics.forms import as_csv, as_json, as_parquet
from nocturne.metrics.shapes import Step
from nocturne.postgres import SQL, Identifier, Literal, asking, connect, statement
from nocturne.settings import PROJECT
from nocturne.tenants import Tenant
from tests.integration.marts.randomness import random_world
from tests.integration.marts.reference import expected
from tests.integration.marts.reference_metrics import ADDED, COLUMN, COUNTED, DIVIDED, MEMBER, STANDING, added, counted, rows_of, stretch
from tests.integration.marts.world import Row, World, local, make_tenant

FIRST, LAST = date(2026, 1, 1), date(2026, 5, 10)
WHOLE_MONTHS = date(2026, 4, 30)
PINS = {"experiment": "e1", "payer_month": "0"}
"""Members of which one alone is asked, where it is not number 1."""
CATALOGUE = load_catalogue(PROJECT / "dbt" / "metrics", PROJECT / "dbt")
Table = dict[tuple[Any, ...], Row]


@pytest.fixture(scope="module")
def world(new_world: Callable[[Tenant], World]) -> World:
    made = new_world(make_tenant("asked", sees_whole_market=True))
    dice = random_world(made, 11, FIRST, LAST, plays=160)
    for n in range(14):
        made.add("subscription_events", *dice.subscription(f"payer-{n}", f"of-payer-{n}", FIRST, LAST))
    for dataset, rows in dice.money(FIRST, LAST).items():
        made.add(dataset, *(rows if dataset != "subscription_events" else ()))
    left = {"listener_key": "won-and-lost", "subscription_id": "of-won-and-lost", "plan_id": "basic"}
    paid = {"period_from_on": date(2025, 12, 20), "period_to_on": date(2026, 1, 20)}
    made.add(
        "subscription_events",
        left | paid | {"event_id": "won", "event_type": "started", "occurred_at": local("2025-12-20T10:00")},
        left | {"event_id": "lost", "event_type": "ended", "occurred_at": local("2026-01-20T10:00")},
    )
    exposure = {"experiment_id": "e1", "listener_key": "won-and-lost", "variant": "treatment", "exposed_at": local("2025-12-19T10:00")}
    controls = [exposure | {"listener_key": f"never-won-{number}", "variant": "control"} for number in range(4)]
    made.add("exposures", exposure, *controls)
    made.rows["payments"][0]["status"] = "refunded"
    made.rows["payments"][0]["amount"] = 12
    made.rows["payments"][0]["currency"] = "EUR"
    for number, row in enumerate(made.rows["plays"]):
        row["is_offline"] = number % 5 == 0
    made.night(LAST)
    return made


@pytest.fixture(scope="module")
def reference(world: World) -> dict[str, Table]:
    return expected(world, LAST)


@pytest.fixture(scope="module")
def plays(reference: dict[str, Table]) -> list[Row]:
    return list(reference["plays"].values())


@pytest.fixture(scope="module")
def other(new_world: Callable[[Tenant], World]) -> World:
    """A tenant that delivers plays alone, and sees its own."""
    made = new_world(make_tenant("neighbour", ("plays",)))
    random_world(made, 12, FIRST, date(2026, 1, 6), plays=12)
    made.night(date(2026, 1, 6))
    return made


def ask(world: World, metrics: str, by: str = "", first: date | None = None, last: date | None = None, **more: Any) -> Answer:
    wheres = [Filter.parse(text) for text in more.pop("where", ())]
    return execute_query(world.tenant, world.settings, metrics.split(), by.split(), (first, last), filters=wheres, **more)


def table(answer: Answer, width: int) -> dict[tuple[Any, ...], Any]:
    """Rows by their dimensions; of one metric its value."""
    return {row[:width]: row[width] if len(row) == width + 1 else row[width:] for row in answer.rows}


def alike(one: Any, another: Any) -> bool:
    return one == (pytest.approx(another) if isinstance(another, float) else another)


# what is told ----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("metric", sorted(COUNTED))
def test_a_metric_of_plays_is_what_its_definition_says_by_everything(world: World, plays: list[Row], metric: str) -> None:
    dimensions = [name for name in MEMBER if name in CATALOGUE.metrics[metric].dimensions]
    asked = [
        (),
        *((name,) for name in dimensions),
        *((step,) for step in Step),
        ("genre", "country"),
        ("month", "artist"),
        ("week", "country"),
    ]
    for by in asked:
        found = table(ask(world, metric, " ".join(by), FIRST, LAST), len(by))
        if set(by) <= set(Step):  # a stretch of time without a play has a row of its own
            found = {key: value for key, value in found.items() if value or key in counted(plays, metric, by)}
        wanted = {key: value for key, value in counted(plays, metric, by).items() if metric != "listeners" or value}
        assert found.keys() == wanted.keys(), by
        assert [key for key in wanted if not alike(found[key], wanted[key])] == [], by


def steps_of(name: str, mart: str) -> list[Step]:
    """The lengths of time by which a metric may be asked and by which the reference's mart tells it."""
    told = (Step.MONTH, Step.YEAR) if mart.endswith("_months") else (Step.DAY, Step.WEEK, Step.MONTH, Step.YEAR)
    return [step for step in CATALOGUE.steps(CATALOGUE.metrics[name]) if step in told]


@pytest.mark.parametrize("name", sorted(ADDED))
def test_a_metric_of_a_mart_is_the_sum_of_what_its_definition_says(world: World, reference: dict[str, Table], name: str) -> None:
    metric = CATALOGUE.metrics[name]
    rows = rows_of(ADDED[name][0], reference)
    members = [one for one in metric.dimensions if COLUMN.get(one) in rows[0]]
    required = list(metric.requires)
    splits = [
        (*required,),
        *((*required, one) for one in members if one not in required),
        *((*required, step) for step in steps_of(name, ADDED[name][0])),
    ]
    for by in splits:
        found = {key: value for key, value in table(ask(world, name, " ".join(by)), len(by)).items() if value is not None}
        wanted = added(name, rows, by)
        assert found == wanted, by
        assert wanted, "the world has rows of it"


@pytest.mark.parametrize("name", sorted(DIVIDED))
def test_a_ratio_is_one_of_sums(world: World, reference: dict[str, Table], name: str) -> None:
    metric = CATALOGUE.metrics[name]
    of, over, times = DIVIDED[name]
    splits = [(*metric.requires,), *((*metric.requires, step) for step in steps_of(name, ADDED[of][0]))]
    for by in splits:
        found = {key: value for key, value in table(ask(world, name, " ".join(by)), len(by)).items() if value is not None}
        above, below = added(of, rows_of(ADDED[of][0], reference), by), added(over, rows_of(ADDED[over][0], reference), by)
        wanted = {key: float(above[key]) * times / float(below[key]) for key in above if below.get(key)}
        assert wanted, by
        assert {key: float(value) for key, value in found.items()} == pytest.approx(wanted, abs=1e-6), by


@pytest.mark.parametrize("name", sorted(STANDING))
def test_what_stands_for_itself_is_told_as_it_stands(world: World, reference: dict[str, Table], name: str) -> None:
    mart, column, by = STANDING[name]
    found = {key: value for key, value in table(ask(world, name, " ".join(by)), len(by)).items() if value is not None}
    rows = rows_of(mart, reference)
    wanted = {tuple(row[COLUMN.get(one, one)] for one in by): row[column] for row in rows if row[column] is not None}
    assert wanted, "the world has rows of it"
    assert {key: float(value) for key, value in found.items()} == pytest.approx(
        {key: float(value) for key, value in wanted.items()}, abs=1e-6
    )


def test_a_pool_counts_once_and_not_once_a_holder(world: World, reference: dict[str, Table]) -> None:
    pools = {(row["month_on"], row["territory"], row["tier"]): row["pool_amount"] for row in rows_of("royalty_shares", reference)}
    assert len(pools) < len(reference["royalty_shares"])
    assert table(ask(world, "royalty_pool", "month territory tier"), 3) == pools
    by_model = "pro_rata_royalties user_centric_royalties artist_centric_royalties"
    assert ask(world, f"royalty_pool {by_model}").rows == ((sum(pools.values()),) * 4,)


def test_what_was_issued_is_asked_by_its_month(world: World) -> None:
    issued = table(ask(world, "issued_pro_rata issued_lines", "month"), 1)
    assert [key for (key,) in issued] == [date(2026, month, 1) for month in range(1, 5)]
    assert sum(lines for _, lines in issued.values()) == len(world.mart("royalty_statement_lines"))
    with pytest.raises(QueryRefused, match="stands by month and cannot be told by day"):
        ask(world, "issued_pro_rata", "day")


def test_arpu_is_of_one_instant(world: World, reference: dict[str, Table]) -> None:
    months = {(row["month_on"],): row["arpu_amount"] for row in rows_of("subscription_months", reference)}
    found = table(ask(world, "arpu", "month", FIRST, LAST), 1)
    assert found == {key: value for key, value in months.items() if key[0] >= FIRST}


def test_subscribers_of_a_month_are_those_of_its_last_day(world: World, reference: dict[str, Table]) -> None:
    rows = rows_of("plan_days", reference)
    for name in ("paying", "trial", "grace", "churned"):
        wanted = {(stretch("month", day),): 0 for day in {row["day_on"] for row in rows}}
        for (month,) in wanted:
            last = max(row["day_on"] for row in rows if stretch("month", row["day_on"]) == month)
            wanted[month,] = sum(row[f"{name}_count"] for row in rows if row["day_on"] == last)
        assert table(ask(world, f"{name}_listeners", "month"), 1) == wanted


def test_a_time_takes_in_both_its_ends(world: World, plays: list[Row]) -> None:
    first, last = date(2026, 1, 10), date(2026, 2, 3)
    wanted = sum(first <= play["played_on"] <= last for play in plays)
    assert ask(world, "play_count", "", first, last).rows == ((wanted,),)
    since = sum(first <= play["played_on"] for play in plays)
    assert ask(world, "play_count", "", first).rows == ((since,),)


def test_tests_hold_together_and_equal_ones_of_a_dimension_mean_any(world: World, plays: list[Row]) -> None:
    members = sorted(counted(plays, "play_count", ("country",)))
    some = [member for (member,) in members[:2]]
    found = table(ask(world, "play_count", "country", where=[f"country={member}" for member in some]), 1)
    assert found == {key: value for key, value in counted(plays, "play_count", ("country",)).items() if key[0] in some}
    others = table(ask(world, "play_count", "country", where=[f"country!={member}" for member in some]), 1)
    assert others.keys() == {key for key in members if key[0] not in some}
    both = ask(world, "play_count", "", where=["genre=pop", f"country={some[0]}"]).rows
    wanted = sum(play["genre"] == "pop" and MEMBER["country"](play) == some[0] for play in plays)
    assert both == (((wanted,),) if wanted else ())


def sources_of(metric: Metric) -> list[str]:
    return [source.mart.name for source in metric.sources]


@pytest.mark.parametrize("name", [name for name, metric in CATALOGUE.metrics.items() if len(metric.sources) > 1])
def test_every_mart_that_can_tell_a_metric_tells_the_same(world: World, name: str) -> None:
    """Whichever mart costs least is asked: so none may say something else."""
    metric, told = CATALOGUE.metrics[name], 0
    steps = {AddsUp.NEVER: ("day",)}.get(metric.adds_up, ("month", "day"))
    asked = [
        ((*some, *steps[:1]), last)
        for some in [(), *((one,) for one in metric.dimensions), tuple(metric.dimensions[:2])]
        for last in (LAST, WHOLE_MONTHS)  # marts of months tell nothing of a part of one
    ]
    with asking(world.settings, role=world.tenant.reader_role) as connection:
        published = published_columns(connection, world.tenant)
        for by, last in asked:
            question = Question((name,), by, FIRST, last)
            try:
                found = choices(CATALOGUE, world.tenant, question, published)
            except QueryRefused:
                continue
            answers = {}
            for mart, source in found.sources[name].items():
                made = Compiler(CATALOGUE, world.tenant, question).statement({name: source})
                answers[mart] = {row for row in connection.execute(made.text, made.values).fetchall() if row[-1]}
            told += len(answers) > 1
            assert len({frozenset(rows) for rows in answers.values()}) == 1, (by, answers)
    assert told or metric.adds_up is AddsUp.NEVER


@pytest.mark.parametrize("name", [name for name, metric in CATALOGUE.metrics.items() if metric.adds_up is AddsUp.SUM])
def test_what_adds_up_adds_up_to_the_whole_over_every_dimension(world: World, name: str) -> None:
    metric = CATALOGUE.metrics[name]
    pinned = [f"{required}={PINS.get(required, '1')}" for required in metric.requires]
    steps = [step for step in CATALOGUE.steps(metric) if step is not Step.WEEK or Step.MONTH not in CATALOGUE.steps(metric)]
    whole = next(iter(ask(world, name, where=pinned).rows), (None,))
    for by in [(), *((step,) for step in steps), *((one,) for one in metric.dimensions)]:
        rows = ask(world, name, " ".join(by), where=pinned, limit=100_000).rows
        assert sum(row[-1] or 0 for row in rows) == (whole[0] or 0), by
        assert len({row[:-1] for row in rows}) == len(rows)
    assert whole[0] or metric.domain == "operations", "the world has rows of it; of batches it has none"


# what does not add up ----------------------------------------------------------------------------------------------------------------
def test_windows_stand_for_their_own_day(world: World, reference: dict[str, Table]) -> None:
    found = table(ask(world, "dau wau mau stickiness", "day"), 1)
    for (day,), row in reference["activity_days"].items():
        wanted = row["listeners_1d"], row["listeners_7d"], row["listeners_28d"], row["stickiness_ratio"]
        assert all(alike(*pair) for pair in zip(found[day,], wanted, strict=True)), day
    assert ask(world, "mau", first=LAST, last=LAST).rows == ((reference["activity_days"][LAST,]["listeners_28d"],),)
    by_artist = table(ask(world, "mau", "day artist"), 2)
    assert by_artist == {(day, artist): row["listeners_28d"] for (artist, day), row in reference["artist_days"].items()}


@pytest.mark.parametrize(
    ("metric", "by", "says"),
    [
        ("dau", "week", "dau stands by day and cannot be told by week|does not add up over days"),
        ("dau", "", "distinct count \\(1 day\\) and does not add up over days: whoever stands in two of them would count twice"),
        ("mau", "month", "does not add up over days.*`listeners` by month"),
        ("dau", "day country", "does not add up over its track_ids"),
        ("dau", "genre", "does not add up over days.*counts people anew"),
        ("stickiness", "year", "each day's looks back over 28 days already"),
        ("retained_count", "week", "does not add up over week_number: the same people stand in several"),
        ("market_share", "day", "without holder or holder_name or is_own it is the whole itself"),
        ("wau", "day country", "wau is not told by country.*It may be asked by day"),
        ("play_count", "holder", "play_count is not told by holder"),
        ("statement_net", "day", "stands by month and cannot be told by day.*month, quarter, year"),
        ("track_count", "month", "says what is so now"),
    ],
)
def test_what_does_not_add_up_is_refused_with_why_and_what_to_ask_instead(world: World, metric: str, by: str, says: str) -> None:
    with pytest.raises(QueryRefused, match=says):
        ask(world, metric, by)


def test_listeners_of_a_month_are_counted_anew_and_not_summed(world: World, plays: list[Row]) -> None:
    by_day = sum(row[-1] for row in ask(world, "listeners", "day", FIRST, date(2026, 1, 31)).rows)
    (month,) = ask(world, "listeners", "", FIRST, date(2026, 1, 31)).rows
    assert by_day > month[0] == len({play["listener_key"] for play in plays if play["is_stream"] and play["played_on"].month == 1})


# what is estimated -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("by", ["", "country", "platform", "tier", "day", "week", "month", "year", "month country", "week tier"])
def test_few_listeners_are_estimated_to_the_last_one(world: World, plays: list[Row], by: str) -> None:
    wanted = {key: value for key, value in counted(plays, "listeners", by.split()).items() if value}
    answer = ask(world, "listeners_estimate", by, FIRST, LAST)
    assert table(answer, len(by.split())) == wanted
    assert answer.marts == ("listener_sketches",)
    assert answer.notes[0] == "listeners_estimate is an estimate: the standard error is 0.5 % up to 10,000 listeners and 1 % beyond."


def test_an_estimate_is_of_the_members_that_are_asked(world: World, plays: list[Row]) -> None:
    for where, tested in (
        (["country=DE"], lambda play: play["country"] == "DE"),
        (["platform!=ios"], lambda play: play["platform"] != "ios"),
        (["country=DE", "country=FR"], lambda play: play["country"] in {"DE", "FR"}),
        (["country=(all)"], lambda play: False),
    ):
        wanted = {play["listener_key"] for play in plays if play["is_stream"] and tested(play)}
        assert ask(world, "listeners_estimate", "", FIRST, LAST, where=where).rows == (((len(wanted),),) if wanted else ())


def test_an_estimate_by_two_members_at_a_time_is_refused(world: World) -> None:
    with pytest.raises(QueryRefused, match="told by one of country, platform, tier at a time, not by country and platform") as refused:
        ask(world, "listeners_estimate", "country platform")
    assert refused.value.next_step == "Ask it by one of them, or ask `listeners`, which counts people anew."


_SKETCHED = "position(b'1' IN number::bit(64)) - 1 AS level, bit_or(set_bit(0::bit(8192), (number & 8191)::integer, 1)) AS sketch"
"""Of listeners as numbers, what `listener_sketches` keeps of them."""


# what takes too long -----------------------------------------------------------------------------------------------------------------
@pytest.fixture
def busy(new_world: Callable[[Tenant], World]) -> World:
    """A service of 3,000 listeners with 60,000 plays on one day, and what a night makes of them for these questions."""
    made = new_world(make_tenant("busy", ("plays",)))
    people = SQL("SELECT n, n % 3000 AS person, hashtextextended((n % 3000)::text, 0) AS number FROM generate_series(1, 60000) AS n")
    with connect(made.settings, role=made.tenant.owner_role) as connection:
        for mart, select in (
            (
                "plays",
                "SELECT person::text AS listener_key, date '2026-01-01' AS played_on, 'FR' AS country, 'web' AS platform, 'free' AS tier,"
                " 'pop' AS genre, true AS is_stream FROM people",
            ),
            (
                "listener_sketches",
                "SELECT v.country, '(all)' AS platform, '(all)' AS tier, date '2026-01-01' AS played_on,"
                f" {_SKETCHED}"
                " FROM people, (VALUES ('(all)'), ('FR')) AS v (country) GROUP BY 1, 5",
            ),
            ("_publishes", "SELECT 1 AS publish_id, date '2026-01-01' AS day"),
            ("territory_days", "SELECT 'FR' AS country, '' AS platform, '' AS tier, date '2026-01-01' AS played_on, 60000 AS stream_count"),
        ):
            name = Identifier(made.tenant.marts_schema, mart)
            connection.execute(SQL("CREATE TABLE {} AS WITH people AS ({}) {}").format(name, people, SQL(select)))
            connection.execute(SQL("ANALYZE {}").format(name))
    return World(made.tenant, made.settings.model_copy(update={"query_cost": 1_000}))


def test_people_are_estimated_where_counting_takes_too_long(busy: World) -> None:
    answer = ask(busy, "listeners streams_per_listener", "country")
    ((country, listeners, streams),) = answer.rows
    assert (country, answer.marts) == ("FR", ("listener_sketches", "territory_days"))
    assert listeners == pytest.approx(3_000, rel=0.015)
    assert listeners != 3_000, "these listeners are not told exactly by their sketches: what is counted is told apart"
    assert streams == pytest.approx(60_000 / listeners)
    assert [(column.name, column.title, column.adds_up) for column in answer.columns[:2]] == [
        ("country", "Country", None),
        ("listeners", "Listeners, estimated", AddsUp.ESTIMATE),
    ]
    assert answer.notes == (
        "listeners is an estimate, since counting takes longer than an answer may: the standard error is 0.5 % up to 10,000 listeners"
        " and 1 % beyond; `--exact` counts.",
        "streams_per_listener is made of an estimate, since counting takes longer than an answer may: the standard error is 0.5 % up to"
        " 10,000 listeners and 1 % beyond; `--exact` counts.",
    )


def test_a_count_that_is_estimated_is_the_estimate(busy: World) -> None:
    ((estimate, listeners),) = ask(busy, "listeners_estimate listeners").rows
    assert estimate == listeners == pytest.approx(3_000, rel=0.015)


def test_who_asks_for_the_exact_number_waits_for_it(busy: World) -> None:
    answer = ask(busy, "listeners", "country", exact=True)
    assert (answer.rows, answer.marts, answer.notes) == ((("FR", 3_000),), ("plays",), ())


@pytest.mark.parametrize("by", ["genre", "country platform"])
def test_what_no_sketch_tells_is_refused_where_counting_takes_too_long(busy: World, by: str) -> None:
    with pytest.raises(
        QueryRefused, match="listeners would be made from so much of plays that it takes longer than an answer may"
    ) as refused:
        ask(busy, "listeners", by)
    assert refused.value.next_step == "Ask fewer days or other dimensions, or wait for it: `--exact` (from Python `exact=True`)."
    assert ask(busy, "listeners", by, exact=True).rows[0][-1] == 3_000


@pytest.mark.parametrize("count", [0, 1, 100, 3_000, 10_000, 60_000, 400_000])
def test_an_estimate_is_as_near_as_it_says(new_world: Callable[[Tenant], World], count: int) -> None:
    """Three times the standard error holds for 997 of 1,000 crowds; these numbers are the same on every run."""
    crowd = new_world(make_tenant(f"crowd{count}", ("plays",)))
    with connect(crowd.settings, role=crowd.tenant.owner_role) as connection:
        connection.execute(
            SQL(
                "CREATE TABLE {} AS SELECT '(all)' AS country, '(all)' AS platform, '(all)' AS tier, date '2026-01-01' + mod(n, 7) AS played_on,"
                f" {_SKETCHED}"
                " FROM (SELECT n, hashtextextended(n::text, 0) AS number FROM generate_series(1, {}) AS n) AS people GROUP BY 4, 5"
            ).format(Identifier(crowd.tenant.marts_schema, "listener_sketches"), Literal(count))
        )
        question = Question(("listeners_estimate",))
        found = choices(CATALOGUE, crowd.tenant, question, published_columns(connection, crowd.tenant))
        made = Compiler(CATALOGUE, crowd.tenant, question).statement(
            {"listeners_estimate": found.sources["listeners_estimate"]["listener_sketches"]}
        )
        told = connection.execute(made.text, made.values).fetchall()
    assert abs((told[0][0] if told else 0) - count) <= 3 * (0.005 if count <= 10_000 else 0.01) * count


def test_a_statements_month_is_not_cut_in_two(world: World) -> None:
    with pytest.raises(QueryRefused, match="2026-01-10 cuts one in two"):
        ask(world, "statement_net", "month", date(2026, 1, 10), date(2026, 2, 28))
    with pytest.raises(QueryRefused, match="2026-02-27 cuts one in two"):
        ask(world, "statement_net", "month", FIRST, date(2026, 2, 27))
    assert ask(world, "statement_net", "month", FIRST, date(2026, 2, 28)).columns[1].currency == "EUR"


# money -------------------------------------------------------------------------------------------------------------------------------
def test_mrr_of_a_month_is_that_of_its_last_day(world: World, reference: dict[str, Table]) -> None:
    days = reference["mrr_days"]
    for step in ("week", "month", "quarter"):
        ends: dict[Any, date] = {}
        starts: dict[Any, date] = {}
        for (day,) in sorted(days):
            ends[stretch(step, day),] = day
            starts.setdefault((stretch(step, day),), day)
        found = table(ask(world, "mrr opening_mrr payer_count", step), 1)
        wanted = {
            key: (days[end,]["closing_amount"], days[starts[key],]["opening_amount"], days[end,]["payer_count"])
            for key, end in ends.items()
        }
        assert found == wanted


def test_the_bridge_closes_over_any_time(world: World) -> None:
    bridge = "opening_mrr new_mrr expansion_mrr contraction_mrr churned_mrr reactivation_mrr mrr"
    for by in ("", "day", "week", "month", "year"):
        for *_, opening, new, expansion, contraction, churned, reactivation, closing in ask(world, bridge, by).rows:
            assert opening + new + expansion - contraction - churned + reactivation == closing


def test_what_is_divided_are_sums(world: World, reference: dict[str, Table]) -> None:
    rows = reference["revenue_days"].values()
    ((found,),) = ask(world, "net_per_transaction").rows
    exact = sum(row["net_amount"] for row in rows) / sum(row["transaction_count"] for row in rows)
    assert found == Decimal(exact).quantize(Decimal("0.000001"))


# shares and cohorts --------------------------------------------------------------------------------------------------------------------
def test_shares_are_of_the_whole_also_where_one_is_asked(world: World, reference: dict[str, Table]) -> None:
    shares = table(ask(world, "market_share", "holder month"), 2)
    for month in {key[1] for key in shares}:
        assert sum(value for key, value in shares.items() if key[1] == month) == pytest.approx(1)
    holder = next(key[0] for key in shares if key[0] != "(unassigned)")
    alone = table(ask(world, "market_share", "holder month", where=[f"holder={holder}"]), 2)
    assert alone == {key: value for key, value in shares.items() if key[0] == holder}
    days = table(ask(world, "market_share", "day holder"), 2)
    assert all(
        value == pytest.approx(float(reference["holder_days"][holder, day]["market_share_ratio"]), abs=1e-6)
        for (day, holder), value in days.items()
    )
    with pytest.raises(QueryRefused, match="must be split by it too"):
        ask(world, "market_share", "holder", where=["is_own=true"])


def test_retention_leaves_out_weeks_that_are_not_over(world: World, reference: dict[str, Table]) -> None:
    found = table(ask(world, "retained_count cohort_size retention_rate", "week_number"), 1)
    weeks: dict[int, list[Row]] = {}
    for (_, week), row in reference["retention_weeks"].items():
        if row["retained_count"] is not None:
            weeks.setdefault(week, []).append(row)
    sums = {week: (sum(r["retained_count"] for r in rows), sum(r["listener_count"] for r in rows)) for week, rows in weeks.items()}
    assert {key[0]: row[:2] for key, row in found.items()} == sums
    assert all(row[2] == pytest.approx(row[0] / row[1]) for row in found.values())


# what a tenant does not have -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("mrr", "The tenant has no mrr: it delivers no subscription_events"),
        ("net_revenue", "it delivers no payments or ad_impressions"),
        ("market_share", "sees only its own streams"),
        ("track_count", "it delivers no tracks"),
    ],
)
def test_what_a_tenant_does_not_have_is_refused_with_the_reason(other: World, metric: str, says: str) -> None:
    with pytest.raises(QueryRefused, match=says):
        ask(other, metric)


def test_what_is_not_known_is_empty_and_says_why(other: World) -> None:
    answer = ask(other, "play_count completion_rate", "month")
    assert {row[2] for row in answer.rows} == {None}
    assert "completion_rate is not known where it is empty: no track's duration is known." in answer.notes


def test_a_mart_that_is_not_published_yet_is_told_of(new_world: Callable[[Tenant], World]) -> None:
    empty = new_world(make_tenant("nightless", ("plays",)))
    with pytest.raises(QueryRefused, match="is not published"):
        ask(empty, "play_count")


# pages -------------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("order", [(), ("-play_count",), ("genre", "-skip_count"), ("skip_rate",)])
def test_pages_make_the_whole_without_overlap_or_gap(world: World, order: tuple[str, ...]) -> None:
    metrics, by = "play_count skip_count skip_rate", "genre track country"
    whole = ask(world, metrics, by, order=order, limit=10_000)
    assert not whole.has_more
    assert len(whole.rows) > 14
    pages, offset = [], 0
    while True:
        page = ask(world, metrics, by, order=order, limit=7, offset=offset)
        assert (page.publish_id, page.business_day) == (whole.publish_id, LAST)
        pages += page.rows
        offset += 7
        if not page.has_more:
            break
    assert tuple(pages) == whole.rows


def test_rows_stand_in_the_order_asked(world: World) -> None:
    counts = [row[1] for row in ask(world, "play_count", "genre", order=("-play_count",)).rows]
    assert counts == sorted(counts, reverse=True)
    assert [row[0] for row in ask(world, "play_count", "month").rows] == [date(2026, month, 1) for month in range(1, 6)]


# marts -------------------------------------------------------------------------------------------------------------------------------------
def test_the_cheapest_mart_that_can_tell_it_is_read(world: World) -> None:
    with connect(world.settings, role=world.tenant.owner_role) as connection:
        for mart in (
            "activity_days", "track_days", "plays", "genre_days", "listener_days", "territory_days", "context_days", "session_days",
            "track_months", "audience_days", "listener_months", "territory_curve_days",
        ):  # fmt: skip
            connection.execute(statement(f"ANALYZE {world.tenant.marts_schema}.{mart}"))
    assert ask(world, "play_count", "month").marts == ("activity_days",)
    assert ask(world, "play_count", "platform").marts == ("platform_days",)
    assert ask(world, "play_count", "country platform").marts == ("territory_days",)
    assert ask(world, "play_count session_count", "gender month").marts == ("audience_days",)
    assert ask(world, "listeners", "gender month").marts == ("listener_months",)
    assert ask(world, "streams_per_listener", "channel", FIRST, date(2026, 1, 10)).marts == ("audience_days", "listener_days")
    assert ask(world, "play_count", "artist").marts == ("track_months",)
    assert ask(world, "reached_50_rate", "artist week").marts == ("track_days",)
    assert ask(world, "reached_50_rate", "country month").marts == ("territory_curve_days",)
    assert ask(world, "play_count", "context_type").marts == ("context_days",)
    assert ask(world, "skip_count", "skip_bucket month").marts == ("context_days",)
    assert ask(world, "offline_count scrobble_count", "platform tier").marts == ("territory_days",)
    assert ask(world, "plays_per_session avg_session_seconds", "country platform").marts == ("session_days",)
    assert ask(world, "play_count", "context_type country").marts == ("plays",)
    assert ask(world, "held_streams", "territory holder month").marts == ("market_months",)
    assert ask(world, "play_count listeners", "country").marts == ("plays",)
    assert set(ask(world, "play_count mrr net_revenue", "month").marts) == {"activity_days", "mrr_days", "revenue_days"}


def test_metrics_of_several_marts_meet_by_their_dimensions(world: World) -> None:
    together = table(ask(world, "play_count net_revenue", "country month"), 2)
    plays, money = table(ask(world, "play_count", "country month"), 2), table(ask(world, "net_revenue", "country month"), 2)
    assert together == {key: (plays.get(key), money.get(key)) for key in plays.keys() | money.keys()}


# safety --------------------------------------------------------------------------------------------------------------------------------------
ATTACKS = (
    "pop'; DROP TABLE plays; --", "' OR '1'='1", "pop') OR (1=1", "%(v0)s", "%s", "{}", "{0}", "\\'; SELECT pg_sleep(9); --",
    "pop\"; --", "$1", "$$; SELECT 1; $$", "' UNION SELECT usename FROM pg_user --", "\x1f", "ⅷ'",
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_value_is_never_sql(world: World, attack: str) -> None:
    before = world.contents()["track_facts"]
    assert ask(world, "play_count", "genre", where=[f"genre={attack}"]).rows == ()
    assert len(ask(world, "play_count", "genre", where=[f"genre!={attack}"]).rows) == len(ask(world, "play_count", "genre").rows)
    assert world.contents()["track_facts"] == before


def test_any_text_is_a_member_that_is_not_there(world: World) -> None:
    @cases(max_examples=60, deadline=None)
    @given(text=st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=30))
    def asked(text: str) -> None:
        assert ask(world, "stream_count", "", where=[f"title=no such {text}"]).rows == ()

    asked()


@pytest.mark.parametrize(
    "attack", ['genre"; DROP TABLE plays; --', "genre, pg_sleep(9)", "plays.listener_key", "listener_key", "genre)", "*"]
)
def test_a_name_that_is_not_declared_is_refused_wherever_it_stands(world: World, attack: str) -> None:
    settings, tenant = world.settings, world.tenant
    for asked in (
        {"metrics": [attack]},
        {"metrics": ["play_count"], "dimensions": [attack]},
        {"metrics": ["play_count"], "order": [attack]},
        {"metrics": ["play_count"], "filters": [Filter(attack, "=", "x")]},
    ):
        with pytest.raises(QueryRefused):
            execute_query(tenant, settings, **asked)  # type: ignore[arg-type]


def test_a_sign_that_is_none_is_refused(world: World) -> None:
    for text in ("genre", "genre LIKE pop", "lower(genre)=pop", "1=1"):
        with pytest.raises(QueryRefused):
            ask(world, "play_count", where=[text])


def test_a_value_of_another_type_is_refused_and_zero_bytes_too(world: World) -> None:
    with pytest.raises(QueryRefused, match="does not fit"):
        ask(world, "retained_count", where=["week_number=first"])
    with pytest.raises(QueryRefused, match="zero byte"):
        ask(world, "play_count", where=["genre=a\x00b"])


def test_whoever_asks_reads_published_marts_of_this_tenant_alone(world: World, other: World) -> None:
    unreachable = [
        f"{other.tenant.marts_schema}.plays",
        f"{world.tenant.build_schema}.plays",
        f"{world.tenant.raw_schema}.plays",
        "nocturne.receipts",
    ]
    for name in unreachable:
        with (
            pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable)),
            asking(world.settings, role=world.tenant.reader_role) as connection,
        ):
            connection.execute(statement(f"SELECT * FROM {name}"))
    with asking(world.settings, role=world.tenant.reader_role) as connection:
        assert published_columns(connection, other.tenant).keys() >= {"plays"}, "names are no secret, rows are"
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            made = Compiler(CATALOGUE, other.tenant, Question(("play_count",)))
            told = made.statement({"play_count": CATALOGUE.metrics["play_count"].sources[0]})
            connection.execute(told.text, told.values)


def test_a_question_cannot_write(world: World) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), asking(world.settings, role=world.tenant.owner_role) as connection:
        connection.execute(statement(f"DELETE FROM {world.tenant.marts_schema}.plays"))


def test_what_takes_too_long_is_given_up(world: World) -> None:
    hasty = world.settings.model_copy(update={"query_seconds": 1})
    with pytest.raises(QueryRefused, match="more than 1 s"), asking(hasty, role=world.tenant.reader_role) as connection:
        connection.execute("SELECT pg_sleep(20)")
    with connect(world.settings, role=world.tenant.owner_role) as holder:
        holder.execute(statement(f"LOCK TABLE {world.tenant.marts_schema}.activity_days"))
        with pytest.raises(QueryRefused, match="more than 1 s"):
            execute_query(world.tenant, hasty, ["play_count"])


# forms ---------------------------------------------------------------------------------------------------------------------------------------
def test_an_answer_is_the_same_in_every_form(world: World) -> None:
    answer = ask(world, "play_count net_revenue avg_duration held_streams", "month")
    names = [column.name for column in answer.columns]
    parquet = pq.read_table(io.BytesIO(as_parquet(answer)))
    assert parquet.column_names == names
    assert [tuple(row.values()) for row in parquet.to_pylist()] == list(answer.rows)
    assert parquet.field("net_revenue").metadata[b"currency"] == b"EUR"
    told = json.loads(as_json(answer))
    amounts = [(row["net_revenue"], value) for row, (_, _, value, *_) in zip(told["rows"], answer.rows, strict=True) if value is not None]
    assert amounts
    assert [text for text, value in amounts if Decimal(text) != value] == []
    assert told["publish_id"] == answer.publish_id
    head, *lines = as_csv(answer).split("\r\n")
    assert head.split(",") == names
    assert lines[0].split(",")[:3] == ["2026-01-01", str(answer.rows[0][1]), f"{answer.rows[0][2]:f}"]


def test_a_page_without_rows_has_the_types_of_one_with_rows(world: World) -> None:
    def kinds(answer: Answer) -> Sequence[Any]:
        return pq.read_schema(io.BytesIO(as_parquet(answer))).types[1:]

    asked = "play_count net_revenue avg_duration held_streams mau skip_rate virality play_time_p90 ecpm arpu", "day"
    assert kinds(ask(world, *asked, first=date(1990, 1, 1), last=date(1990, 1, 2))) == kinds(ask(world, *asked))


def test_the_command_answers_and_refuses(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    settings = world.settings
    key = settings.master_key.get_secret_value() if settings.master_key else ""
    declared = world.tenant.model_dump(mode="json", by_alias=True)
    (tmp_path / "asked.yml").write_text(json.dumps(declared))
    for name, value in (("VAR", settings.var), ("TENANTS", tmp_path), ("MASTER_KEY", key), ("POSTGRES_PORT", settings.postgres_port)):
        monkeypatch.setenv(f"NOCTURNE_{name}", str(value))
    asked = ["query", "asked", "--metrics", "play_count,avg_duration", "--by", "genre,artist", "--from", str(FIRST), "--to", str(LAST)]
    assert cli.main([*asked, "--order=-play_count", "--limit", "2", "--format", "csv"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "genre,artist,play_count,avg_duration"
    assert len(said.out.splitlines()) == 3
    assert "--offset 2" in said.err
    assert cli.main([*asked, "--format", "parquet", "--output", str(tmp_path / "answer.parquet")]) == 0
    assert pq.read_table(tmp_path / "answer.parquet").num_rows > 2
    assert cli.main([*asked]) == 0
    assert cli.main(["query", "asked", "--metrics", "dau", "--by", "month"]) == 1
    assert "does not add up over days" in capsys.readouterr().err
    assert cli.main(["reader", "asked"]) == 0
    with psycopg.connect(capsys.readouterr().out.strip()) as connection:
        assert connection.execute(statement("SELECT count(*) > 0 FROM asked_marts.plays")).fetchone() == (True,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute(statement("DELETE FROM asked_marts.plays"))
