"""Numbers, money and dates as people read them: thin spaces between thousands, a true minus sign, names of months in full.

Every function takes None (not known) and says `–`, so that what is not known never looks like 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

THIN: Final = "\u202f"  # narrow no-break space
MINUS: Final = "\u2212"
UNKNOWN: Final = "–"
NO_CHANGE: Final = "no change"
Number = int | float | Decimal

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"
)  # fmt: skip
_SYMBOLS: Final = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "INR": "₹", "IDR": "Rp"}
_WITHOUT_CENTS: Final = frozenset({"CLP", "IDR", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF"})
_SCALES: Final = ((Decimal(10**12), "T"), (Decimal(10**9), "bn"), (Decimal(10**6), "M"), (Decimal(10**3), "k"))


def count(value: Number | None) -> str:
    """A whole number in full: 1 234 567."""
    return UNKNOWN if value is None else _grouped(_rounded(value, 0))


def short(value: Number | None) -> str:
    """A number with three significant digits and its scale (1.23 M); below 10 000 in full."""
    if value is None:
        return UNKNOWN
    exact = Decimal(str(value))
    if abs(_rounded(exact, 0)) < 10_000:
        return _grouped(_rounded(exact, 0))
    return _scaled(exact)


def money(value: Number | None, currency: str) -> str:
    """An amount in full, with the currency's own number of decimals: € 1 234.50."""
    if value is None:
        return UNKNOWN
    exact = _rounded(value, decimals(currency))
    return f"{_sign(exact)}{symbol(currency)}\u00a0{_grouped(abs(exact))}"


def money_short(value: Number | None, currency: str) -> str:
    """An amount with three significant digits and its scale: € 1.23 M."""
    if value is None:
        return UNKNOWN
    exact = Decimal(str(value))
    if abs(exact) < 10_000:
        return _amount(exact, currency)
    return f"{_sign(exact)}{symbol(currency)}\u00a0{_scaled(abs(exact))}"


def percent(value: Number | None, places: int = 1) -> str:
    """A ratio as a percentage: 0.0314 is 3.1 %."""
    return UNKNOWN if value is None else f"{_grouped(_rounded(Decimal(str(value)) * 100, places))}{THIN}%"


def change(now: Number | None, before: Number | None) -> str:
    """How much `now` is above `before`, in percent of it; `new` if there was nothing before."""
    if now is None or before is None:
        return UNKNOWN
    if not before:
        return "new" if now else NO_CHANGE
    return _signed(_rounded((Decimal(str(now)) / Decimal(str(before)) - 1) * 100, 1), f"{THIN}%")


def points(now: Number | None, before: Number | None) -> str:
    """How much the ratio `now` is above the ratio `before`, in percentage points."""
    if now is None or before is None:
        return UNKNOWN
    return _signed(_rounded((Decimal(str(now)) - Decimal(str(before))) * 100, 1), "\u00a0points")


def difference(now: Number | None, before: Number | None) -> str:
    """How much `now` is above `before`, as a signed number."""
    if now is None or before is None:
        return UNKNOWN
    return _signed(_rounded(Decimal(str(now)) - Decimal(str(before)), 0), "")


def hours(milliseconds: Number | None) -> str:
    """A duration in whole hours."""
    return UNKNOWN if milliseconds is None else f"{short(Decimal(str(milliseconds)) / 3_600_000)}{THIN}h"


@dataclass(frozen=True)
class Unit:
    """How the values of a chart are written: the sign before them, the sign behind them, what they are multiplied by, how many
    decimals single ones have, and the least step of an axis (0: any).
    """

    before: str = ""
    behind: str = ""
    factor: int = 1
    places: int = 0
    least: float = 0.0

    def text(self, value: Number) -> str:
        """One value, short."""
        exact = Decimal(str(value)) * self.factor
        shown = _scaled(abs(exact)) if abs(exact) >= 10_000 else _grouped(_rounded(abs(exact), self._places(exact)))
        return f"{_sign(_rounded(exact, 2))}{self.before}{shown}{self.behind}"

    def ticks(self, values: Sequence[Number]) -> list[str]:
        """The values of an axis: all in one scale, with as few decimals as tell them apart."""
        exact = [Decimal(str(value)) * self.factor for value in values]
        top = max(map(abs, exact), default=Decimal(0))
        size, name = next(((size, name) for size, name in _SCALES if top >= max(size, Decimal(10_000))), (Decimal(1), ""))
        parts = [value / size for value in exact]
        places = next((places for places in range(4) if all(part == _rounded(part, places) for part in parts)), 4)
        scale = f"{THIN}{name}" if name else ""
        return [
            f"{_sign(part)}{self.before}{_grouped(_rounded(abs(part), places))}{scale}{self.behind}"
            if part
            else f"{self.before}0{self.behind}"
            for part in parts
        ]

    def _places(self, exact: Decimal) -> int:
        return self.places if abs(exact) < 1_000 else 0


COUNT: Final = Unit(least=1)
PERCENT: Final = Unit(behind=f"{THIN}%", factor=100)


def currency_unit(currency: str) -> Unit:
    """Amounts of a currency."""
    return Unit(before=f"{symbol(currency)}\u00a0", places=decimals(currency), least=10.0 ** -decimals(currency))


def shortened(text: str, length: int) -> str:
    """At most `length` characters, with an ellipsis where some are left out."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def long_date(day: date | None) -> str:
    """Sunday, 1 March 2026."""
    return UNKNOWN if day is None else f"{WEEKDAYS[day.weekday()]}, {day.day}\u00a0{_MONTHS[day.month - 1]}\u00a0{day.year}"


def short_date(day: date | None) -> str:
    """1 Mar 2026."""
    return UNKNOWN if day is None else f"{day.day}\u00a0{_MONTHS[day.month - 1][:3]}\u00a0{day.year}"


def day_and_month(day: date) -> str:
    """1 Mar."""
    return f"{day.day}\u00a0{_MONTHS[day.month - 1][:3]}"


def month_short(day: date) -> str:
    """Mar 2026."""
    return f"{_MONTHS[day.month - 1][:3]}\u00a0{day.year}"


def month(day: date | None) -> str:
    """March 2026."""
    return UNKNOWN if day is None else f"{_MONTHS[day.month - 1]}\u00a0{day.year}"


def symbol(currency: str) -> str:
    """The sign of a currency, or its code."""
    return _SYMBOLS.get(currency, currency)


def decimals(currency: str) -> int:
    """How many decimals people write in this currency."""
    return 0 if currency in _WITHOUT_CENTS else 2


def _amount(exact: Decimal, currency: str) -> str:
    places = 0 if abs(exact) >= 1_000 else decimals(currency)
    rounded = _rounded(exact, places)
    return f"{_sign(rounded)}{symbol(currency)}\u00a0{_grouped(abs(rounded))}"


def _scaled(exact: Decimal) -> str:
    for size, name in _SCALES:
        if abs(exact) >= size * Decimal("0.9995"):
            part = exact / size
            places = 2 if abs(part) < Decimal("9.995") else 1 if abs(part) < Decimal("99.95") else 0
            return f"{_grouped(_rounded(part, places))}{THIN}{name}"
    return _grouped(_rounded(exact, 0))


def _rounded(value: Number, places: int) -> Decimal:
    rounded = Decimal(str(value)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return rounded if rounded else abs(rounded)  # never minus nought


def _grouped(value: Decimal) -> str:
    return f"{value:,f}".replace(",", THIN).replace("-", MINUS)


def _sign(value: Decimal) -> str:
    return MINUS if value < 0 else ""


def _signed(value: Decimal, unit: str) -> str:
    if not value:
        return NO_CHANGE
    return f"{'+' if value > 0 else ''}{_grouped(value)}{unit}"
