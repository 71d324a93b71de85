"""Pseudonyms: DuckDB makes the same HMAC-SHA256 as Python, and a key cannot be read from what is told of it."""

from __future__ import annotations

import random

import pyarrow as pa

from nocturne.lake import duck
from nocturne.settings import Settings
from nocturne.silver.pseudonyms import key_id, pseudonym, pseudonym_sql


def identifiers(chance: random.Random, count: int) -> list[str]:
    letters = "abcXYZ0189-_@. éß漢🎵'\"\\\n"
    return ["", "'", *("".join(chance.choices(letters, k=chance.randrange(200))) for _ in range(count - 2))]


def test_duckdb_makes_the_same_pseudonyms_as_python(settings: Settings) -> None:
    """10,000 identifiers with 10 keys of several lengths."""
    chance = random.Random(1)
    with duck(settings) as connection:
        for length in (1, 16, 31, 32, 32, 32, 33, 48, 63, 64):
            key = chance.randbytes(length)
            given = identifiers(chance, 1_000)
            connection.register("given", pa.table({"id": given, "place": range(len(given))}))
            found = connection.execute(f"SELECT {pseudonym_sql(key, 'id')} FROM given ORDER BY place").fetchall()
            assert [value for (value,) in found] == [pseudonym(key, one) for one in given]


def test_a_known_answer() -> None:
    """RFC 4231, test case 2."""
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert pseudonym(b"Jefe", "what do ya want for nothing?") == expected


def test_an_unknown_person_has_no_pseudonym(settings: Settings) -> None:
    with duck(settings) as connection:
        assert connection.execute(f"SELECT {pseudonym_sql(b'key', 'NULL::VARCHAR')}").fetchone() == (None,)


def test_keys_are_told_apart_without_being_told() -> None:
    assert key_id(b"a" * 32) == key_id(b"a" * 32) != key_id(b"b" * 32)
    assert (b"a" * 32).hex()[:16] not in key_id(b"a" * 32)
