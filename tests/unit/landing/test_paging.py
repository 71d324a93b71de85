"""What follows a page, for every way in which services number their pages."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from nocturne.asking import Increment, Paging
from nocturne.landing.paging import Answer, PagingError, field_of, first_address, following, parameter_of, with_parameter, without_parameter
from nocturne.landing.ranges import greatest, reduced

URL = "https://host/v1/plays?day=2026-03-29"
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1)


def paging(**declared: Any) -> Paging:
    return TypeAdapter(Paging).validate_python(declared)


@pytest.mark.parametrize(
    ("declared", "first"),
    [
        ({"kind": "next_url", "field": "next"}, URL),
        ({"kind": "link_header", "size": {"parameter": "per_page", "rows": 100}}, f"{URL}&per_page=100"),
        ({"kind": "cursor", "field": "next"}, URL),
        ({"kind": "page"}, f"{URL}&page=1"),
        ({"kind": "page", "parameter": "page[number]", "first": 0}, f"{URL}&page[number]=0"),
        ({"kind": "offset", "size": {"parameter": "limit", "rows": 50}}, f"{URL}&limit=50&offset=0"),
    ],
)
def test_the_first_page_has_an_address(declared: dict[str, Any], first: str) -> None:
    assert first_address(paging(**declared), URL) == first


@pytest.mark.parametrize(
    ("declared", "url", "content", "rows", "expected"),
    [
        ({"kind": "next_url", "field": "links.next"}, URL, {"links": {"next": "/2"}}, 1, "/2"),
        ({"kind": "next_url", "field": "links.next"}, URL, {"links.next": "/2"}, 1, "/2"),
        ({"kind": "next_url", "field": "links.next"}, URL, {"links": None}, 1, None),
        ({"kind": "cursor", "field": "meta.cursor"}, URL, {"meta": {"cursor": "a b&c"}}, 1, f"{URL}&cursor=a%20b%26c"),
        ({"kind": "cursor", "field": "c", "parameter": "after"}, f"{URL}&after=1", {"c": 2}, 1, f"{URL}&after=2"),
        ({"kind": "cursor", "field": "c"}, URL, {"c": ""}, 1, None),
        ({"kind": "cursor", "field": "c", "more": "more"}, URL, {"c": "x", "more": False}, 1, None),
        ({"kind": "page"}, f"{URL}&page=1", [], 3, f"{URL}&page=2"),
        ({"kind": "page"}, f"{URL}&page=9", [], 0, None),
        ({"kind": "page", "first": 0, "total": "pages"}, f"{URL}&page=1", {"pages": 2}, 3, None),
        ({"kind": "page", "first": 0, "total": "pages"}, f"{URL}&page=0", {"pages": 2}, 3, f"{URL}&page=1"),
        ({"kind": "page", "total": "of.@attr.pages"}, f"{URL}&page=1", {"of": {"@attr": {"pages": "2"}}}, 3, f"{URL}&page=2"),
        ({"kind": "page", "total": "of.@attr.pages"}, f"{URL}&page=2", {"of": {"@attr": {"pages": "2"}}}, 3, None),
        ({"kind": "cursor", "field": "rows.-1.at"}, URL, {"rows": [{"at": 9}, {"at": 4}]}, 2, f"{URL}&cursor=4"),
        ({"kind": "cursor", "field": "rows.0.at"}, f"{URL}&cursor=4", {"rows": []}, 0, None),
        ({"kind": "cursor", "field": "rows.2.at"}, f"{URL}&cursor=4", {"rows": [{"at": 9}]}, 1, None),
        ({"kind": "offset"}, f"{URL}&offset=10", [], 7, f"{URL}&offset=17"),
        ({"kind": "offset", "total": "count"}, f"{URL}&offset=10", {"count": 17}, 7, None),
        ({"kind": "offset", "more": "has_more"}, f"{URL}&offset=10", {"has_more": False}, 7, None),
        ({"kind": "offset", "ends_at": "short_page", "size": {"parameter": "limit", "rows": 8}}, f"{URL}&offset=8", [], 7, None),
    ],
)
def test_a_page_tells_what_follows_it(declared: dict[str, Any], url: str, content: Any, rows: int, expected: str | None) -> None:
    assert following(paging(**declared), url, Answer(content, rows)) == expected


def test_the_link_header_is_followed_and_no_paging_is_one_page() -> None:
    assert following(paging(kind="link_header"), URL, Answer([], 1, "/2")) == "/2"
    assert following(None, URL, Answer([], 1, "/2")) is None


@pytest.mark.parametrize(
    ("declared", "content", "told"),
    [
        ({"kind": "next_url", "field": "next"}, {"next": 7}, "names no address in 'next' but a int"),
        ({"kind": "cursor", "field": "c"}, {"c": True}, "names no cursor in 'c' but a bool"),
        ({"kind": "cursor", "field": "c", "more": "m"}, {"c": "x"}, "says neither true nor false in 'm' but nothing"),
        ({"kind": "page", "total": "t"}, {"t": "3 of 5"}, "says no number in 't' but a str"),
        ({"kind": "cursor", "field": "rows.0"}, {"rows": [{"at": 1}]}, "names no cursor in 'rows.0' but a dict"),
    ],
)
def test_a_page_that_does_not_keep_its_word_is_told(declared: dict[str, Any], content: Any, told: str) -> None:
    with pytest.raises(PagingError, match=told):
        following(paging(**declared), URL, Answer(content, 1))


@pytest.mark.parametrize(
    "declared",
    [
        {"kind": "scroll"},
        {"kind": "next_url"},
        {"kind": "link_header", "field": "next"},
        {"kind": "page", "parameter": "a=b"},
        {"kind": "offset", "ends_at": "short_page"},
        {"kind": "page", "size": {"parameter": "limit", "rows": 0}},
    ],
)
def test_paging_that_makes_no_sense_is_refused(declared: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        paging(**declared)


@given(st.lists(st.tuples(words, words), max_size=4), words, words)
def test_one_parameter_is_set_and_the_others_stay(others: list[tuple[str, str]], name: str, value: str) -> None:
    url = "https://host/x"
    for other, its in others:
        url = with_parameter(url, other, its)
    changed = with_parameter(with_parameter(url, name, "before"), name, value)
    assert parameter_of(changed, name) == value
    assert dict(parse_qsl(urlsplit(changed).query, keep_blank_values=True)) == {**dict(others), name: value}
    assert parameter_of(without_parameter(changed, name), name) is None


def test_a_field_is_found_by_its_name_or_its_path() -> None:
    assert field_of({"a": {"b": {"c": 1}}}, "a.b.c") == 1
    assert field_of({"a": [1]}, "a.b") is None
    assert field_of([1], "a") is None


# what grows ----------------------------------------------------------------------------------------------------------------------
def test_instants_are_compared_as_such_and_kept_as_they_were_written() -> None:
    growth = Increment(parameter="since", field="at")
    values = ["2026-03-29T00:00:00Z", "2026-03-29T00:00:00.5Z", "2026-03-29T02:00:00+03:00"]
    assert greatest(growth, values) == "2026-03-29T00:00:00.5Z"
    assert greatest(growth, []) is None
    assert greatest(Increment(parameter="since", field="at", type="number"), [9, 10, "9.5"]) == "10"
    assert greatest(Increment(parameter="since", field="at", type="text"), ["9", "10"]) == "9"
    for wrong in (7, "yesterday", True):
        with pytest.raises(ValueError, match="is no instant"):
            greatest(growth, [wrong])


@pytest.mark.parametrize(
    ("kind", "overlap", "value", "asked"),
    [
        ("instant", 0, "2026-03-29T00:00:00Z", "2026-03-29T00:00:00Z"),
        ("instant", 90, "2026-03-29T00:00:00Z", "2026-03-28T23:58:30Z"),
        ("instant", 90, "2026-03-29 00:00:00", "2026-03-28 23:58:30"),
        ("number", 5, "100", "95"),
        ("number", 0.5, "1e3", "999.5"),
    ],
)
def test_the_overlap_is_taken_from_where_the_last_night_ended(kind: Any, overlap: float, value: str, asked: str) -> None:
    assert reduced(Increment(parameter="since", field="at", type=kind, overlap=Decimal(str(overlap))), value) == asked


@pytest.mark.parametrize(
    "declared", [{"type": "text", "overlap": 1}, {"start": "yesterday"}, {"type": "number", "start": "NaN"}, {"overlap": -1}]
)
def test_growth_that_makes_no_sense_is_refused(declared: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Increment(parameter="since", field="at", **declared)
