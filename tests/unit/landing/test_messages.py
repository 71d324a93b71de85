"""A message is one line, and can be made again from it."""

from __future__ import annotations

import json
from base64 import b64decode
from random import Random
from typing import Any

import pytest

from nocturne.landing.messages import instant, line, line_of_fields, text_of, texts

ABOUT: dict[str, Any] = {"_key": "k\n", "_partition": 0, "_offset": 7}
WORDS = ["", "a", "_offset", "é", "\u2028", '"', "\\", "}", "{", "\n\r\t", "\x00", "🎵"]


def value_of(random: Random, depth: int = 0) -> Any:
    kind = random.randrange(8 if depth < 3 else 6)
    if kind == 6:
        return [value_of(random, depth + 1) for _ in range(random.randrange(4))]
    if kind == 7:
        return object_of(random, depth + 1)
    return [None, True, random.randrange(-(10**20), 10**20), random.random() * 10 ** random.randrange(-9, 9), *random.choices(WORDS, k=2)][
        kind
    ]


def object_of(random: Random, depth: int = 0) -> dict[str, Any]:
    return {"".join(random.choices(WORDS, k=random.randrange(3))): value_of(random, depth) for _ in range(random.randrange(4))}


def test_an_object_comes_back_whole_but_for_what_ours_hides() -> None:
    random = Random(1)
    for _ in range(10_000):
        value = object_of(random)
        text = json.dumps(value, indent=random.choice([None, 0, 2, "\t"]), ensure_ascii=random.random() < 0.5)
        sent = random.choice(["", " \r\n"]) + text.replace("\n", random.choice(["\n", "\r\n"])) + random.choice(["", "\n"])
        made = line(ABOUT, sent.encode())
        assert made.endswith(b"\n")
        assert (made.count(b"\n"), made.count(b"\r")) == (1, 0)
        pairs = json.loads(made, object_pairs_hook=list)
        assert pairs[: len(ABOUT)] == list(ABOUT.items())
        assert json.loads(made) == {**ABOUT, **value}


def test_whatever_a_value_is_it_is_kept() -> None:
    random = Random(2)
    odd = [b"", b'{"a": NaN', b"[" * 10_000, b"{" * 3, b"\xef\xbb\xbf{}", b"1" * 5_000]
    for value in [*odd, *(random.randbytes(random.randrange(12)) for _ in range(5_000)), *(_json_like(random) for _ in range(5_000))]:
        made = line(ABOUT, value)
        assert made.count(b"\n") == 1
        found = json.loads(made)
        if isinstance(found, list):
            why, message = found
            assert why in {"row: its value is no UTF-8", "row: its value is no JSON object"}
            assert message.items() >= ABOUT.items()
            assert (message["_value"].encode() if "_value" in message else b64decode(message["_value_base64"])) == value
        else:
            assert isinstance(json.loads(value), dict)


def _json_like(random: Random) -> bytes:
    return bytes(random.choices(b'{}[]":, \n1a\xff', k=random.randrange(9)))


def test_numbers_keep_their_digits() -> None:
    assert line({"_offset": 1}, b'{"a": 1.10, "b": 123456789012345678901234567890}') == (
        b'{"_offset": 1, "a": 1.10, "b": 123456789012345678901234567890}\n'
    )


def test_a_message_without_a_value_has_no_fields() -> None:
    assert json.loads(line(ABOUT, None)) == ABOUT


def test_fields_of_one_name_are_a_list_and_bytes_that_are_no_text_are_refused() -> None:
    assert json.loads(line_of_fields({"_offset": "1-0"}, [(b"a", b"1"), (b"b", b""), (b"a", b"2")])) == {
        "_offset": "1-0",
        "a": ["1", "2"],
        "b": "",
    }
    assert line_of_fields({"_offset": "1-0"}, [(b"_offset", b"2")]) == b'{"_offset": "1-0", "_offset": "2"}\n'
    assert json.loads(line_of_fields({}, [(b"a", b"\xff")])) == ["row: a field of it is no UTF-8", {"_value": {"a": {"base64": "/w=="}}}]
    assert texts([("h", None)]) == ({"h": None}, True)
    assert text_of(b"\xff") == {"base64": "/w=="}


@pytest.mark.parametrize(
    ("milliseconds", "told"),
    [(0, "1970-01-01T00:00:00.000Z"), (1_774_742_400_123, "2026-03-29T00:00:00.123Z"), (-1, "1969-12-31T23:59:59.999Z"), (10**18, None)],
)
def test_an_instant_is_told_in_utc(milliseconds: int, told: str | None) -> None:
    assert instant(milliseconds) == told
