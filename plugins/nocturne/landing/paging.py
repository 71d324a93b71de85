"""Which page follows a page: addresses alone, so that a page that was landed tells its successor without asking again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

from nocturne.asking import Cursor, LinkHeader, NextUrl, Offset, PageNumber, Paging

_INDEX: Final = re.compile(r"-?[0-9]{1,9}", re.ASCII)


class PagingError(ValueError):
    """A page that does not say what its declaration promises; the message is the end of a sentence that begins with its address."""


@dataclass(frozen=True)
class Answer:
    """What a page said: its content, the number of its records, and the address that its header `Link` calls next."""

    content: Any
    rows: int
    link: str | None = None


def first_address(paging: Paging | None, url: str) -> str:
    """The address of the first page."""
    if paging is None:
        return url
    if paging.size is not None:
        url = with_parameter(url, paging.size.parameter, str(paging.size.rows))
    if isinstance(paging, PageNumber):
        return with_parameter(url, paging.parameter, str(paging.first))
    return with_parameter(url, paging.parameter, "0") if isinstance(paging, Offset) else url


def following(paging: Paging | None, url: str, answer: Answer) -> str | None:
    """What leads to the page after the one at `url`: an address (perhaps relative); None if there is none. Raises PagingError."""
    match paging:
        case None:
            return None
        case NextUrl():
            return _text(answer.content, paging.field, "address")
        case LinkHeader():
            return answer.link
        case Cursor():
            cursor = _text(answer.content, paging.field, "cursor", also=(int,))
            is_last = paging.more is not None and not _flag(answer.content, paging.more)
            return None if cursor is None or is_last else with_parameter(url, paging.parameter, cursor)
        case PageNumber():
            number = int(parameter_of(url, paging.parameter) or paging.first)
            past = number - paging.first + 1
            return None if _is_last(paging, answer, past) else with_parameter(url, paging.parameter, str(number + 1))
        case Offset():
            past = int(parameter_of(url, paging.parameter) or 0) + answer.rows
            return None if _is_last(paging, answer, past) else with_parameter(url, paging.parameter, str(past))


def _is_last(paging: PageNumber | Offset, answer: Answer, past: int) -> bool:
    """Whether a page is the last one, after `past` pages or rows."""
    if answer.rows == 0:
        return True
    if paging.ends_at == "short_page" and paging.size is not None and answer.rows < paging.size.rows:
        return True
    if paging.more is not None and not _flag(answer.content, paging.more):
        return True
    if paging.total is None:
        return False
    total = field_of(answer.content, paging.total)
    if isinstance(total, str) and total.isascii() and total.isdecimal():
        total = int(total)
    if isinstance(total, bool) or not isinstance(total, int):
        raise PagingError(f"says no number in {paging.total!r} but {_kind(total)}")
    return past >= int(total)


def field_of(content: Any, path: str) -> Any:
    """The value of a field, None where there is none: by its whole name, or led to by the dots in it; numbers lead into arrays."""
    if isinstance(content, Mapping) and path in content:
        return content[path]
    for name in path.split("."):
        if isinstance(content, list) and _INDEX.fullmatch(name):
            at = int(name)
            content = content[at] if -len(content) <= at < len(content) else None
        elif isinstance(content, Mapping):
            content = content.get(name)
        else:
            return None
    return content


def with_parameter(url: str, name: str, value: str) -> str:
    """The address with one parameter of its query set; all else stays as it is written."""
    parts = urlsplit(url)
    kept = [piece for piece in parts.query.split("&") if piece and not _is_called(piece, name)]
    return urlunsplit(parts._replace(query="&".join([*kept, f"{quote(name, safe='[]$.')}={quote(value, safe='')}"])))


def without_parameter(url: str, name: str) -> str:
    """The address without a parameter of its query."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="&".join(piece for piece in parts.query.split("&") if not _is_called(piece, name))))


def parameter_of(url: str, name: str) -> str | None:
    """The value of a parameter of the query."""
    found = [piece for piece in urlsplit(url).query.split("&") if _is_called(piece, name)]
    return unquote_plus(found[-1].partition("=")[2]) if found else None


def _is_called(piece: str, name: str) -> bool:
    return unquote_plus(piece.partition("=")[0]) == name


def _text(content: Any, path: str, what: str, also: tuple[type, ...] = ()) -> str | None:
    given = field_of(content, path)
    if given is None or given == "":
        return None
    if isinstance(given, bool) or not isinstance(given, (str, *also)):
        raise PagingError(f"names no {what} in {path!r} but {_kind(given)}")
    return str(given)


def _flag(content: Any, path: str) -> bool:
    given = field_of(content, path)
    if not isinstance(given, bool):
        raise PagingError(f"says neither true nor false in {path!r} but {_kind(given)}")
    return given


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
