"""What is usual for a source, and what is measured of a batch beside it."""

from __future__ import annotations

import random
from datetime import date, timedelta
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.gates.comparison import Measured, measure
from nocturne.gates.history import (
    LEAST_SPREAD,
    STEPS,
    Past,
    Usual,
    beyond,
    chi_square,
    clock,
    crowding,
    distance,
    novelty,
    shift,
    skew,
    usual_mix,
    usual_rows,
    usual_share,
)
from nocturne.gates.measures import Batch, Counts, Profile

FIRST = date(2026, 1, 5)  # a Monday


def days(rows: list[int], first: date = FIRST) -> list[Past]:
    return [Past(first + timedelta(days=number), count) for number, count in enumerate(rows)]


def test_nothing_is_usual_at_the_start() -> None:
    assert usual_rows(days([100] * 6), FIRST + timedelta(days=6), is_daily=True) is None


def test_after_a_week_all_days_together_are_usual() -> None:
    usual = usual_rows(days([100, 110, 90, 100, 100, 300, 300]), FIRST + timedelta(days=7), is_daily=True)
    assert usual is not None
    assert usual.rows == 100


def test_after_five_weeks_a_weekday_is_compared_with_itself() -> None:
    week = [100, 100, 100, 100, 100, 300, 400]
    saturday = FIRST + timedelta(days=40)
    usual = usual_rows(days(week * 6), saturday, is_daily=True)
    assert usual is not None
    assert usual.rows == 300


def test_a_source_that_grows_is_compared_with_where_it_has_got_to() -> None:
    week = [1_000, 1_020, 980, 1_010, 990, 1_500, 1_400]
    growing = [round(rows * 1.012**day) for day, rows in enumerate(week * 9)]
    usual = usual_rows(days(growing[:-7]), FIRST + timedelta(days=56), is_daily=True)
    assert usual is not None
    assert usual.rows == pytest.approx(growing[56], rel=0.03)
    assert (usual.deviation(round(growing[56] * 0.7)) or 0) < -4.5


def test_weekdays_of_which_little_is_known_say_nothing_of_the_spread() -> None:
    mondays = [Past(FIRST + timedelta(days=7 * week), rows) for week, rows in enumerate([90, 110, 95, 105, 100])]
    others = [Past(FIRST + timedelta(days=day), 4_000) for day in (22, 23, 24, 25, 26)]
    usual = usual_rows([*mondays, *others], FIRST + timedelta(days=35), is_daily=True)
    assert usual is not None
    assert usual.rows == pytest.approx(100, rel=0.1)
    assert usual.spread < 1


def test_a_step_up_is_no_trend() -> None:
    usual = usual_rows(days([100] * 49 + [200] * 7), FIRST + timedelta(days=56), is_daily=True)
    assert usual is not None
    assert usual.rows == pytest.approx(100, rel=0.01)


@given(
    rows=st.lists(st.integers(0, 10**7), min_size=1, max_size=60),
    gone=st.sets(st.integers(0, 59)),
    others=st.randoms(use_true_random=False),
)
def test_whatever_came_the_usual_is_a_number_of_rows_with_a_spread_and_no_order_changes_it(
    rows: list[int], gone: set[int], others: random.Random
) -> None:
    past = [one for day, one in enumerate(days(rows)) if day not in gone]
    on = FIRST + timedelta(days=len(rows))
    usual = usual_rows(past, on, is_daily=True)
    shuffled = others.sample(past, len(past))
    assert usual_rows(shuffled, on, is_daily=True) == usual
    if usual is not None:
        assert 0 <= usual.rows < inf
        assert usual.spread >= LEAST_SPREAD
        assert usual.ratio(0) in {None, 0.0}


def test_a_state_is_compared_whatever_the_weekday() -> None:
    usual = usual_rows(days([1_000, 1_010, 1_020]), FIRST + timedelta(days=3), is_daily=False)
    assert usual is not None
    assert usual.rows == 1_010


def test_one_broken_day_does_not_move_the_usual() -> None:
    usual = usual_rows(days([100, 100, 100, 2, 100, 100, 100, 100]), FIRST + timedelta(days=8), is_daily=True)
    assert usual is not None
    assert usual.rows == 100


def test_later_batches_say_nothing_about_an_earlier_one() -> None:
    assert usual_rows(days([100] * 30), FIRST + timedelta(days=3), is_daily=True) is None


def test_a_small_usual_is_no_measure() -> None:
    usual = usual_rows(days([3] * 10), FIRST + timedelta(days=10), is_daily=True)
    assert usual is not None
    assert usual.ratio(0) is None
    assert usual.deviation(400) is None


def test_a_column_is_usually_filled_once_enough_batches_say_so() -> None:
    assert usual_share([1.0] * 6) is None
    assert usual_share([1.0] * 6 + [0.0]) == 1.0


# measures of one batch -----------------------------------------------------------------------------------------------------
def batch(number: int, rows: int = 100, left_out: int = 0) -> Batch:
    day = FIRST + timedelta(days=number)
    return Batch(f"app/{day}", day, rows, left_out, f"f{number}")


def measured(one: Batch, counts: Counts, *, past: list[Batch] | None = None, shares: float = 1.0, may_be_empty: bool = False) -> Measured:
    earlier = [batch(number) for number in range(40)] if past is None else past
    filled = [Profile({"a": 1.0, "b": shares}) for _ in earlier]
    return measure(one, counts, earlier, filled, required=("a",), is_daily=True, may_be_empty=may_be_empty)


def test_an_ordinary_batch() -> None:
    values = measured(batch(40), Counts(100, {"a": 100, "b": 100})).values
    assert values == {
        "rows": 100,
        "rows_lost": 0,
        "rows_to_floor": 2.0,
        "rows_to_usual": 1.0,
        "state_to_usual": None,
        "rows_deviation": 0.0,
        "empty_required_count": 0,
        "fill_drop": 0.0,
        "unknown_rise": None,
        "skew": None,
        "chi_square": None,
        "shift": None,
        "crowding": None,
        "novelty": None,
        "clock": None,
    }


def test_an_empty_batch_has_no_rows() -> None:
    one = measured(batch(40, rows=0, left_out=50), Counts(0, {}))
    assert one.values["rows"] == 0
    assert one.observed("rows") == "rows is 0 (50 were left out by the source's condition)"


def test_an_empty_batch_is_ordinary_only_where_the_suite_says_so_and_the_history_does_not_speak_against_it() -> None:
    assert measured(batch(40, rows=0), Counts(0, {}), past=[], may_be_empty=True).values["rows"] is None
    assert measured(batch(40, rows=0), Counts(0, {}), past=[batch(n, rows=3) for n in range(40)], may_be_empty=True).values["rows"] is None
    assert measured(batch(40, rows=0), Counts(0, {}), may_be_empty=True).values["rows"] == 0


def test_a_required_column_without_a_value_is_counted_and_named() -> None:
    one = measured(batch(40), Counts(100, {"a": 0, "b": 100}))
    assert one.observed("empty_required_count") == "empty_required_count is 1 (a)"


def test_rows_that_the_lake_lost_are_counted() -> None:
    assert measured(batch(40), Counts(90, {"a": 90, "b": 90})).values["rows_lost"] == 10


def test_a_column_that_was_filled_and_is_not_is_named() -> None:
    one = measured(batch(40), Counts(100, {"a": 100, "b": 0}))
    assert one.observed("fill_drop") == "fill_drop is 1 (b: 0.0% of 100 rows have it, usual are 100.0%)"


def test_chance_alone_is_no_drop() -> None:
    drop = measured(batch(40, rows=40), Counts(40, {"a": 40, "b": 16}), shares=0.5).values["fill_drop"]
    assert drop is not None
    assert drop < 0.05


def test_few_rows_say_nothing_of_a_column() -> None:
    assert measured(batch(40, rows=10), Counts(10, {"a": 10, "b": 0})).values["fill_drop"] is None


# how far below is too far --------------------------------------------------------------------------------------------------
def test_the_floor_is_half_the_usual_of_a_steady_source_and_lower_where_rows_scatter() -> None:
    assert Usual(900, 1).of_floor(450) == 1.0
    assert Usual(900, 3).of_floor(225) == 1.0
    assert Usual(900, 5).of_floor(90) == 1.0  # a tenth is too little in any case
    assert Usual(10, 1).of_floor(0) is None


def test_few_rows_of_a_small_source_are_too_few() -> None:
    usual = usual_rows(days([24, 20, 29, 25, 22, 31, 26]), FIRST + timedelta(days=7), is_daily=True)
    assert usual is not None
    assert (usual.of_floor(3) or 1) < 1
    assert (usual.of_floor(12) or 0) > 1


def test_a_weekend_is_not_held_against_a_monday() -> None:
    weekly = days([1_000, 1_000, 1_000, 1_000, 1_000, 420, 380] * 8)
    sunday, monday = FIRST + timedelta(days=55), FIRST + timedelta(days=56)
    for on, rows in ((sunday, 380), (monday, 1_000)):
        usual = usual_rows([one for one in weekly if one.received_on < on], on, is_daily=True)
        assert usual is not None
        assert usual.rows == rows
    cut_off = usual_rows(weekly, monday, is_daily=True)
    assert cut_off is not None
    assert (cut_off.of_floor(380) or 1) < 1


# who listens, and to what --------------------------------------------------------------------------------------------------
def with_mix(france: float) -> Profile:
    return Profile({"a": 1.0}, {"country": {"FR": france, "BE": 1 - france}})


def skewed(values: dict[str, int]) -> Measured:
    rows = sum(values.values())
    counts = Counts(rows, {"a": rows, "country": rows}, {"country": values})
    past = [with_mix(0.78 + number % 5 / 100) for number in range(20)]
    return measure(batch(40, rows), counts, [], past, required=("a",), is_daily=True, may_be_empty=False)


def test_another_mix_of_countries_is_skew_and_names_what_moved() -> None:
    assert (skewed({"FR": 815, "BE": 185}).values["skew"] or 0) < 0.05
    cut = skewed({"FR": 300, "BE": 700})
    assert (cut.values["skew"] or 0) > 0.9
    assert "country BE: 70.0% of 1000 rows, usual are 20.0%" in cut.observed("skew")
    assert skewed({"FR": 20, "BE": 40}).values["skew"] is None  # so few rows have no mix
    foreign = skewed({"ZA": 900, "FR": 80, "BE": 20})
    assert "country ZA: 90.0% of 1000 rows, usual are 0.0%" in foreign.observed("skew")


def test_chance_alone_is_no_skew() -> None:
    """1,000 batches of 200 rows drawn from the usual mix of ten countries, each beside others of the same."""
    chance = random.Random(4)
    usual = {f"C{number}": (10 - number) / 55 for number in range(10)}

    def drawn() -> dict[str, float]:
        rows = chance.choices(list(usual), list(usual.values()), k=200)
        return {value: rows.count(value) / 200 for value in usual}

    past = [drawn() for _ in range(1_028)]
    assert max(skew(mix, past[number : number + 28], 200) or 0 for number, mix in enumerate(past[28:])) < 0.1


HOURS = {str(hour): (1 + (hour % 24 >= 7) + 3 * (17 <= hour <= 22)) / 59 for hour in range(24)}


def of_hours(rows: dict[str, float], past: list[dict[str, float]]) -> Measured:
    counted = {hour: round(2_000 * share) for hour, share in rows.items()}
    counts = Counts(2_000, {"a": 2_000}, {"hour": counted})
    profiles = [Profile({"a": 1.0}, {"hour": mix}) for mix in past]
    return measure(batch(40, 2_000), counts, [], profiles, required=("a",), is_daily=True, may_be_empty=False)


def hours_of(chance: random.Random, rows: int = 2_000) -> dict[str, float]:
    """A day whose hours are drawn from the usual ones."""
    drawn = chance.choices(list(HOURS), list(HOURS.values()), k=rows)
    return {hour: drawn.count(hour) / rows for hour in HOURS}


def turned_by(mix: dict[str, float], hours: int) -> dict[str, float]:
    return {str((int(hour) + hours) % 24): share for hour, share in mix.items()}


def test_a_clock_that_is_an_hour_off_is_another_mix_of_hours_and_no_other_people() -> None:
    chance = random.Random(5)
    past = [hours_of(chance) for _ in range(28)]
    ordinary = of_hours(hours_of(chance), past)
    assert (ordinary.values["chi_square"] or 9) < 1
    assert (ordinary.values["clock"] or 9) < 0
    late = of_hours(turned_by(HOURS, 1), past)
    assert (late.values["chi_square"] or 0) > 2
    assert (late.values["clock"] or 0) > 0.3
    assert "+1 h" in late.observed("clock")
    assert late.values["skew"] is None


@pytest.mark.parametrize("hours", [-7, -1, 1, 2, 12])
def test_a_clock_is_off_by_so_many_hours(hours: int) -> None:
    chance = random.Random(hours)
    past = [hours_of(chance) for _ in range(28)]
    found, by = clock(turned_by(hours_of(chance), hours), past, 2_000)
    assert (found or 0) > 0
    assert by == hours


def test_chance_alone_turns_no_clock() -> None:
    """500 days of 500 plays, each beside the 28 before it."""
    chance = random.Random(3)
    days = [hours_of(chance, 500) for _ in range(528)]
    found = [clock(days[number], days[number - 28 : number], 500)[0] or 0 for number in range(28, 528)]
    assert sum(one > 0 for one in found) <= 1
    assert clock(days[20], days[:20], 500) == clock(days[28], days[:28], 499) == (None, 0)


def test_what_no_day_had_is_new_even_in_few_rows() -> None:
    past = [{"EUR": 1.0}] * 8
    assert novelty({"EUR": 0.5, "JPY": 0.5}, past, 20) == 0.5
    assert novelty({"EUR": 1.0}, past, 20) == 0
    assert novelty({"JPY": 1.0}, past[:6], 20) is None
    assert novelty({"JPY": 1.0}, past, 9) is None
    many = [{"FR": 0.9, "": 0.1}] * 8
    assert novelty({"FR": 0.9, "MT": 0.1}, many, 20) == 0  # what is not remembered may have been there


def test_what_lies_beyond_all_that_was_is_told_as_a_share() -> None:
    past = [USUAL] * 8
    assert beyond([point * 100 for point in USUAL], past, 20) == pytest.approx(20 / 21)
    assert beyond(USUAL, past, 20) == 0
    assert beyond(USUAL, past[:6], 20) is None


def test_chance_alone_does_not_make_another_mix() -> None:
    """1,000 batches of 200 to 2,000 rows drawn from one mix of ten countries, each beside others of the same."""
    chance = random.Random(6)
    usual = {f"C{number}": (10 - number) / 55 for number in range(10)}

    def drawn(rows: int) -> dict[str, float]:
        found = chance.choices(list(usual), list(usual.values()), k=rows)
        return {value: found.count(value) / rows for value in usual}

    sizes = [chance.choice((200, 500, 2_000)) for _ in range(1_028)]
    mixes = [drawn(rows) for rows in sizes]
    beyond = [chi_square(mixes[number], mixes[number - 28 : number], sizes[number]) or 0 for number in range(28, 1_028)]
    assert sum(one > 1 for one in beyond) == 0


def test_a_mix_is_usual_after_a_week() -> None:
    assert usual_mix([{"FR": 1.0}] * 6) is None
    assert usual_mix([{"FR": 1.0}] * 6 + [{"BE": 1.0}]) == {"FR": pytest.approx(6 / 7), "BE": pytest.approx(1 / 7)}


def test_what_no_register_has_is_counted_against_the_usual() -> None:
    past = [Profile({"a": 1.0}, unknown={"track_id": 0.02, "artist_id": 0.0})] * 10
    one = measure(
        batch(40),
        Counts(100, {"a": 100}, {}, {"track_id": 30, "artist_id": 0}),
        [],
        past,
        required=("a",),
        is_daily=True,
        may_be_empty=False,
    )
    assert 0.2 < (one.values["unknown_rise"] or 0) < 0.28
    assert "track_id: 30.0% of 100 rows name tracks that nothing tells of, usual are 2.0%" in one.observed("unknown_rise")
    few = measure(batch(40), Counts(100, {"a": 100}, {}, {"track_id": 4}), [], past, required=("a",), is_daily=True, may_be_empty=False)
    assert (few.values["unknown_rise"] or 0) < 0


def test_a_profile_is_what_its_mark_tells() -> None:
    for profile in (with_mix(0.5), Profile({"a": 0.5}, unknown={"track_id": 0.0}), Profile({"a": 1.0}, crowds={"a": 0.2}), Profile()):
        assert Profile.of(profile.facts) == profile


USUAL = [float(point) for point in range(0, 210, 10)]


def test_the_distance_of_two_columns_is_that_of_their_distributions() -> None:
    assert distance(USUAL, USUAL) == 0
    assert distance(USUAL, [point / 1000 for point in USUAL]) >= 0.9
    assert distance(USUAL, [point + 1000 for point in USUAL]) == 1
    assert distance(USUAL, [point + 50 for point in USUAL]) == pytest.approx(0.25, abs=1 / STEPS)
    assert distance([0.0] * 21, [0.0] * 15 + [float(point) for point in range(1, 7)]) == pytest.approx(0.3, abs=1 / STEPS)


def test_another_unit_is_a_shift_and_the_usual_swing_is_none() -> None:
    past = [[point * (1 + day % 3 / 20) for point in USUAL] for day in range(10)]
    assert shift([point / 1000 for point in USUAL], past, 1_000) == pytest.approx(0.8, abs=0.15)
    ordinary = shift([point * 1.07 for point in USUAL], past, 1_000)
    assert ordinary is not None
    assert ordinary < 0


def test_a_shift_is_unknown_of_few_rows_and_of_a_young_source() -> None:
    assert shift(USUAL, [USUAL] * 6, 1_000) is None
    assert shift(USUAL, [USUAL] * 7, 99) is None
    assert shift(USUAL, [USUAL] * 7, 100) == pytest.approx(-0.163)


def test_one_value_with_the_rows_of_many_is_crowding_and_the_usual_hit_is_none() -> None:
    past = [0.04, 0.05, 0.03] * 5
    assert (crowding(0.98, past, 1_000) or 0) > 0.8
    assert (crowding(0.3, past, 1_000) or 0) > 0.15
    assert (crowding(0.09, past, 1_000) or 0) < 0
    assert crowding(0.98, past[:6], 1_000) is None
    assert crowding(0.98, past, 99) is None


def test_the_most_crowded_column_is_told_without_its_value() -> None:
    past = [Profile({"a": 1.0}, crowds={"listener_id": 0.02, "track_id": 0.05})] * 10
    counts = Counts(1_000, {"a": 1_000, "listener_id": 1_000, "track_id": 1_000}, crowds={"listener_id": 0.02, "track_id": 0.6})
    one = measure(batch(40, rows=1_000), counts, [], past, required=("a",), is_daily=True, may_be_empty=False)
    assert one.observed("crowding") == "crowding is 0.4793 (track_id: one value has 60.0% of 1000 rows, at most 5.0% before)"
