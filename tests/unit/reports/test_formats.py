"""Numbers, money and dates as people read them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.reports import formats
from nocturne.reports.formats import COUNT, PERCENT, THIN, currency_unit


def plain(text: str) -> str:
    """The text with ordinary spaces."""
    return text.replace(THIN, " ").replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (9_999, "9 999"),
        (9_999.6, "10.0 k"),
        (10_000, "10.0 k"),
        (99_949, "99.9 k"),
        (99_960, "100 k"),
        (999_500, "1.00 M"),
        (1_234_567, "1.23 M"),
        (-45_600_000, "−45.6 M"),
        (7_250_000_000, "7.25 bn"),
        (None, "–"),
    ],
)
def test_short_numbers_keep_three_digits(value: float | None, shown: str) -> None:
    assert plain(formats.short(value)) == shown


@pytest.mark.parametrize(
    ("value", "currency", "full", "short"),
    [
        (Decimal("1234.5"), "EUR", "€ 1 234.50", "€ 1 235"),
        (Decimal("0.004"), "USD", "$ 0.00", "$ 0.00"),
        (Decimal("-99.999"), "USD", "−$ 100.00", "−$ 100.00"),
        (Decimal("1234567.5"), "IDR", "Rp 1 234 568", "Rp 1.23 M"),
        (Decimal("12.5"), "CHF", "CHF 12.50", "CHF 12.50"),
        (None, "EUR", "–", "–"),
    ],
)
def test_money_has_the_currencys_own_decimals(value: Decimal | None, currency: str, full: str, short: str) -> None:
    assert (plain(formats.money(value, currency)), plain(formats.money_short(value, currency))) == (full, short)


@pytest.mark.parametrize(
    ("now", "before", "shown"),
    [
        (103.1, 100, "+3.1 %"),
        (90, 100, "−10.0 %"),
        (100.04, 100, "no change"),
        (5, 0, "new"),
        (0, 0, "no change"),
        (5, None, "–"),
        (None, 5, "–"),
    ],
)
def test_a_change_is_signed_and_named_where_it_cannot_be_reckoned(now: float | None, before: float | None, shown: str) -> None:
    assert plain(formats.change(now, before)) == shown


def test_a_change_of_a_ratio_is_told_in_points() -> None:
    assert plain(formats.points(0.234, 0.241)) == "−0.7 points"


def test_nothing_is_ever_minus_nought() -> None:
    assert formats.count(-0.2) == "0"
    assert formats.percent(-0.00001) == f"0.0{THIN}%"


def test_dates_are_unambiguous() -> None:
    day = date(2026, 3, 1)
    assert plain(formats.long_date(day)) == "Sunday, 1 March 2026"
    assert (plain(formats.short_date(day)), plain(formats.day_and_month(day)), plain(formats.month(day))) == (
        "1 Mar 2026",
        "1 Mar",
        "March 2026",
    )


@pytest.mark.parametrize(
    ("unit", "values", "shown"),
    [
        (COUNT, [0, 5_000, 10_000, 15_000], ["0", "5 k", "10 k", "15 k"]),
        (COUNT, [0, 2_500, 5_000], ["0", "2 500", "5 000"]),
        (COUNT, [0, 2_500_000, 12_500_000], ["0", "2.5 M", "12.5 M"]),
        (COUNT, [0, 500_000, 1_000_000], ["0", "0.5 M", "1.0 M"]),
        (PERCENT, [0, 0.2, 0.4], ["0 %", "20 %", "40 %"]),
        (PERCENT, [0, 0.005, 0.01], ["0 %", "0.5 %", "1.0 %"]),
        (currency_unit("EUR"), [-500, 0, 500], ["−€ 500", "€ 0", "€ 500"]),
    ],
)
def test_an_axis_has_one_scale_and_as_few_decimals_as_tell_its_ticks_apart(
    unit: formats.Unit, values: list[float], shown: list[str]
) -> None:
    assert [plain(text) for text in unit.ticks(values)] == shown


@given(st.decimals(min_value=-(10**15), max_value=10**15, allow_nan=False, places=4))
def test_what_is_shown_is_within_half_of_its_last_digit(value: Decimal) -> None:
    text = plain(formats.short(value)).replace("−", "-")
    digits, _, scale = text.rpartition(" ") if text[-1].isalpha() else (text.replace(" ", ""), "", "")
    size = {"": 1, "k": 10**3, "M": 10**6, "bn": 10**9, "T": 10**12}[scale]
    places = len(digits.partition(".")[2])
    assert abs(Decimal(digits.replace(" ", "")) * size - value) <= Decimal(size) / 2 / 10**places
