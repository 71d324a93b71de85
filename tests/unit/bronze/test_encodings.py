"""Text in any encoding as UTF-8."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from nocturne.bronze.encodings import as_utf8

FRENCH = "titre;artiste\n" + "Été à Paris;Françoise Hébert\nNoël où ça;Zoé Lefèvre\nÇa suffit déjà;René Müller\n" * 20
GERMAN = "titel;name\nÜber den Wolken;Grönemeyer\nMädchen;Die Ärzte\nStraße;Österreich\n"
POLISH = "tytuł;artysta\nŻółta łódź;Kraków\nŚwięty;Dżem\nGdańsk;Łąki Łan\n"
JAPANESE = "title;artist\n上を向いて歩こう;坂本九\nさくら;森山直太朗\n"
RUSSIAN = "title;artist\n" + "Звезда по имени Солнце;Виктор Цой\nГруппа крови на рукаве;Кино\nПоследний герой;Борис Гребенщиков\n" * 20


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return iter([content[at : at + size] for at in range(0, len(content), size)])


def read(content: bytes, declared: str | None = None, *, finds: bool = False, size: int = 7) -> bytes:
    return b"".join(as_utf8(pieces(content, size), declared, finds=finds))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_unicode_is_told_by_its_mark_or_its_zeros(encoding: str) -> None:
    """In pieces of any size, which cut letters and surrogate pairs."""
    text = '{"title": "Été 🎵 звезда"}\n' * 50
    for size in (1, 2, 3, 5, 64, 100_000):
        assert read(text.encode(encoding), size=size).decode() == text


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_a_mark_alone_is_an_empty_text(mark: bytes) -> None:
    assert read(mark) == b""
    assert read(b"") == b""


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *((FRENCH, "cp1252"), (FRENCH, "latin-1"), (GERMAN, "cp1252"), (POLISH, "cp1250"), (RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r")),
        (JAPANESE, "cp932"),
    ],
)
def test_the_encoding_of_csv_is_found(text: str, encoding: str) -> None:
    assert read(text.encode(encoding), finds=True, size=1_000).decode() == text


def test_the_evidence_may_come_late() -> None:
    text = "id;name\n" + "1;plain\n" * 50_000 + FRENCH
    assert read(text.encode("cp1252"), finds=True, size=65_536).decode() == text


def test_a_declared_encoding_holds() -> None:
    assert read("é".encode("cp1252"), "cp1252") == "é".encode()
    assert read("é".encode("cp850"), "cp850", finds=True) == "é".encode()


def test_a_mark_goes_over_what_is_declared() -> None:
    assert read("é".encode("utf-8-sig"), "cp1252") == "é".encode()


def test_a_few_damaged_letters_do_not_make_another_encoding() -> None:
    content = "é;ü\nà;ç\n".encode() * 20 + b"caf\xe9;x\n" * 4
    assert read(content, finds=True) == content


def test_utf8_and_json_stay_as_they_are() -> None:
    for content in ("Été 🎵".encode(), b"\xe9t\xe9", b"\0a\0", b"a\0"):
        assert read(content) == content


def test_what_is_no_text_is_no_utf8_either() -> None:
    """So that the readers mark its row: half a surrogate pair, half a letter, a byte without a letter."""
    for content, encoding in (
        ("a\n".encode("utf-16-le") + b"\x00\xd8" + "b\n".encode("utf-16-le"), "utf-16-le"),
        ("a\nb\n".encode("utf-16-le") + b"c", "utf-16-le"),
        (b"a\nb\x81c\n", "cp1252"),
    ):
        found = read(content, encoding)
        assert b"\xff" in found
        assert found.split(b"\n")[0] == b"a"


def test_noise_never_raises() -> None:
    chance = random.Random(4)
    for _ in range(2_000):
        content = chance.choice((b"", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\0\0", b"a,b\n")) + chance.randbytes(chance.randrange(60))
        read(content, finds=chance.random() < 0.1)
