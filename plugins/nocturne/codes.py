"""Codes that the trade shares: countries, currencies, recordings, works and products, how each is written, and what makes one right.

Editions
    country    ISO 3166-1:2020, the 249 codes assigned as of January 2026 (the list of the IANA's `iso3166.tab`), and XK, which the standard
               leaves to its users and services report for Kosovo
    territory  a country, or WW for everywhere else
    currency   ISO 4217:2015, List One as of January 2026 without metals, funds and test codes; and those withdrawn since 2015, which
               statements and rates of those years carry
    isrc       ISO 3901:2019; it has no check digit
    iswc       ISO 15707:2022, with its check digit
    gtin       UPC-A, EAN-13 and GTIN-14 of the GS1 General Specifications, with their check digit

A delivered code is *conformed* first: upper case, without the separators that people read by (`US-RC1-76-07839` is `USRC17607839`). Each
code says both in Python and in SQL; a test holds the two equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from string import ascii_lowercase, ascii_uppercase
from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COUNTRIES: Final = _words(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK
    CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS
    GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV
    LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM
    PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR
    TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW
    """
)
CURRENCIES: Final = _words(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK
    DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS
    KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD
    OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP
    TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """
)
WITHDRAWN_CURRENCIES: Final = _words("ANG BGN BYR CUC HRK LTL MRO SLL STD VEF ZWL")


@dataclass(frozen=True)
class Code:
    """One kind of code.

    `title` for people; the `form` that all its codes have and the `pattern` of the codes themselves; the `separators` that people write; a
    word that may stand in `front` of a code of `length` signs; its check digit, in Python and as SQL of the conformed form.
    """

    name: str
    title: str
    form: str
    pattern: str
    separators: str = " "
    front: str = ""
    length: int = 0
    checks: Callable[[str], bool] | None = None
    checks_sql: Callable[[str], str] | None = None

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern.removesuffix("$") + r"\Z")

    @cached_property
    def _writing(self) -> dict[int, int | None]:
        """ASCII letters alone: what other letters become in upper case depends on who is asked."""
        return str.maketrans(ascii_lowercase, ascii_uppercase, self.separators)

    @cached_property
    def identity(self) -> str:
        """Tells this code's rules from what they once were: part of what decides what bronze and silver hold."""
        return f"{self.name} 1 {self.pattern}"

    def conform(self, value: str) -> str:
        """A delivered code as we write it; what is no code stays wrong."""
        written = value.translate(self._writing)
        if self.front and len(written) == len(self.front) + self.length:
            written = written.removeprefix(self.front)
        return written

    def is_right(self, value: str) -> bool:
        """Whether a conformed code is one."""
        return self._compiled.match(value) is not None and (self.checks is None or self.checks(value))

    def conform_sql(self, value: str) -> str:
        """SQL of `conform`. Most codes come as they are written: those are left alone, which costs a tenth."""
        written = f"translate({value}, '{ascii_lowercase}{self.separators}', '{ascii_uppercase}')"
        if self.front:
            written = f"regexp_replace({written}, '^{self.front}(.{{{self.length}}})$', '\\1')"
        return f"CASE WHEN regexp_matches({value}, '{self.form}') THEN {value} ELSE {written} END"

    def is_wrong_sql(self, value: str) -> str:
        """SQL: whether a conformed code is none; NULL for NULL."""
        fits = f"regexp_matches({value}, '{self.pattern}')"
        return f"NOT {fits}" if self.checks_sql is None else f"NOT ({fits} AND {self.checks_sql(value)})"


# check digits ----------------------------------------------------------------------------------------------------------------------
def gtin_checks(value: str) -> bool:
    """The digits, weighted 3 and 1 from the one before the last leftwards, add up to a multiple of ten with the last."""
    return sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(reversed(value))) % 10 == 0


def iswc_checks(value: str) -> bool:
    """1 and the nine digits, each times its place, add up to a multiple of ten with the last digit (ISO 15707, annex A)."""
    return (1 + sum(place * int(digit) for place, digit in enumerate(value[1:10], 1)) + int(value[10])) % 10 == 0


def _digit(value: str, place: int) -> str:
    return f"TRY_CAST(substr({value}, {place}, 1) AS INTEGER)"


def _gtin_sql(value: str) -> str:
    padded = f"lpad({value}, 14, '0')"
    odd = " + ".join(_digit(padded, place) for place in range(1, 15, 2))
    even = " + ".join(_digit(padded, place) for place in range(2, 15, 2))
    return f"((3 * ({odd}) + {even}) % 10 = 0)"


def _iswc_sql(value: str) -> str:
    total = " + ".join(f"{place} * {_digit(value, place + 1)}" for place in range(1, 10))
    return f"((1 + {total} + {_digit(value, 11)}) % 10 = 0)"


def _one_of(codes: frozenset[str]) -> str:
    return f"^({'|'.join(sorted(codes))})$"


COUNTRY: Final = Code("country", "ISO 3166-1 country", "^[A-Z]{2}$", _one_of(COUNTRIES))
TERRITORY: Final = Code("territory", "ISO 3166-1 country, nor WW", "^[A-Z]{2}$", _one_of(COUNTRIES | {"WW"}))
CURRENCY: Final = Code("currency", "ISO 4217 currency", "^[A-Z]{3}$", _one_of(CURRENCIES | WITHDRAWN_CURRENCIES))
_ISRC: Final = "^[A-Z]{2}[A-Z0-9]{3}[0-9]{7}$"
_ISWC: Final = "^T[0-9]{10}$"
_GTIN: Final = "^[0-9]{12,14}$"
ISRC: Final = Code("isrc", "ISRC", _ISRC, _ISRC, "-. ", "ISRC", 12)
ISWC: Final = Code("iswc", "ISWC", _ISWC, _ISWC, "-. ", "ISWC", 11, iswc_checks, _iswc_sql)
GTIN: Final = Code("gtin", "UPC or EAN", _GTIN, _GTIN, "- ", checks=gtin_checks, checks_sql=_gtin_sql)

CODES: Final[Mapping[str, Code]] = {code.name: code for code in (COUNTRY, TERRITORY, CURRENCY, ISRC, ISWC, GTIN)}
"""All codes by name."""
