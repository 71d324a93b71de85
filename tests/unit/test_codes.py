"""Codes: what is conformed, what is refused, and that Python and SQL say the same of 10,000 texts."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pyarrow as pa
import pytest

from nocturne.codes import CODES, COUNTRIES, CURRENCIES, WITHDRAWN_CURRENCIES, Code
from nocturne.lake import Connection, duck
from nocturne.settings import Settings


@pytest.fixture(scope="module")
def connection(session_settings: Settings) -> Iterator[Connection]:
    """One DuckDB for all questions."""
    with duck(session_settings) as opened:
        yield opened


@pytest.mark.parametrize(
    ("code", "delivered", "conformed"),
    [
        ("country", "fr", "FR"),
        ("country", " FR ", "FR"),
        ("country", "xk", "XK"),
        ("territory", "ww", "WW"),
        ("currency", "eur", "EUR"),
        ("currency", "HRK", "HRK"),
        ("isrc", "US-RC1-76-07839", "USRC17607839"),
        ("isrc", "ISRC US-RC1-76-07839", "USRC17607839"),
        ("isrc", "gbayE 68 00011", "GBAYE6800011"),
        ("isrc", "ISRC12600001", "ISRC12600001"),  # of Iceland: its prefix is no label
        ("iswc", "T-034.524.680-1", "T0345246801"),
        ("iswc", "ISWC T-034.524.680-1", "T0345246801"),
        ("iswc", "t0000000010", "T0000000010"),
        ("gtin", "036000291452", "036000291452"),
        ("gtin", "4 006381 333931", "4006381333931"),
        ("gtin", "0-36000-29145-2", "036000291452"),
        ("gtin", "00012345600012", "00012345600012"),
    ],
)
def test_what_people_write_is_conformed_and_right(code: str, delivered: str, conformed: str) -> None:
    assert CODES[code].conform(delivered) == conformed
    assert CODES[code].is_right(conformed)


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("country", "UK"),  # reserved for the United Kingdom, whose code is GB
        ("country", "ZZ"),
        ("country", "WW"),
        ("country", "FRA"),
        ("country", "FR\n"),
        ("currency", "XTS"),
        ("currency", "XAU"),
        ("currency", "EU"),
        ("isrc", "USRC1760783"),
        ("isrc", "USRC17607839X"),
        ("isrc", "USÄC17607839"),
        ("iswc", "T0345246802"),
        ("iswc", "0345246801"),
        ("gtin", "036000291453"),
        ("gtin", "36000291452"),  # a leading zero was lost
        ("gtin", "٠٣٦٠٠٠٢٩١٤٥٢"),  # digits, but not those of the standard
    ],
)
def test_what_is_no_code_stays_wrong(code: str, wrong: str) -> None:
    assert not CODES[code].is_right(CODES[code].conform(wrong))


def test_the_lists_have_the_size_of_their_editions() -> None:
    assert len(COUNTRIES) == 249 + 1
    assert (len(CURRENCIES), len(WITHDRAWN_CURRENCIES & CURRENCIES)) == (155, 0)


def _some(chance: random.Random, code: Code) -> str:
    """A right code, a right one with one sign changed, or anything."""
    right = {
        "country": lambda: chance.choice(sorted(COUNTRIES)),
        "territory": lambda: chance.choice([*sorted(COUNTRIES), "WW"]),
        "currency": lambda: chance.choice(sorted(CURRENCIES)),
        "isrc": lambda: f"USRC1{chance.randrange(10**7):07}",
        "iswc": lambda: f"T{chance.randrange(10**10):010}",
        "gtin": lambda: str(chance.randrange(10**14)).zfill(chance.choice((12, 13, 14))),
    }[code.name]()
    letters = list(right)
    for _ in range(chance.choice((0, 0, 1, 2))):
        letters[chance.randrange(len(letters))] = chance.choice("AZaz09-. ßÄ'\n\t\\")
    if chance.random() < 0.2:
        letters.insert(chance.randrange(len(letters) + 1), chance.choice(("-", " ", ".", "ISRC", "iswc ", "x")))
    return "".join(letters) if chance.random() < 0.97 else ""


@pytest.mark.parametrize("code", CODES.values(), ids=lambda code: code.name)
def test_sql_says_what_python_says(connection: Connection, code: Code) -> None:
    """1,700 texts of each of the codes: more than 10,000."""
    chance = random.Random(code.name)
    texts = [_some(chance, code) for _ in range(1_700)]
    connection.register("given", pa.table({"value": texts, "place": range(len(texts))}))
    conformed = f"SELECT {code.conform_sql('value')} AS code, place FROM given"
    found = connection.execute(f"SELECT code, {code.is_wrong_sql('code')} FROM ({conformed}) ORDER BY place").fetchall()
    expected = [(written, not code.is_right(written)) for written in map(code.conform, texts)]
    assert found == expected
    assert 50 < sum(wrong for _, wrong in found) < 1_690


def test_of_nothing_nothing_is_said(connection: Connection) -> None:
    for code in CODES.values():
        (row,) = connection.execute(f"SELECT {code.conform_sql('v')}, {code.is_wrong_sql('v')} FROM (SELECT NULL::VARCHAR AS v)").fetchall()
        assert row[0] is None
        assert not row[1]
