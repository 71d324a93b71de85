"""A message as one line of NDJSON, from which it can be made again.

    {"_key": "k", "_partition": 0, "_offset": 7, "_timestamp": "2026-03-29T10:00:00.000Z", "_headers": {"trace": "1"}, <the value's fields>}

The value's JSON object stands there as it came, so that its numbers keep their digits; only line ends between its parts become spaces.
A message without a value (the mark of a deletion in a compacted topic) has no further fields. Of a field that is called like one of ours,
ours is read, because it stands first. What is no JSON object is kept beside the reason, with which bronze puts it into quarantine:

    ["row: its value is no UTF-8", {"_key": ..., ..., "_value_base64": "//4="}]
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

_SPACE: Final = " \t\n\r"
_json: Final = json.JSONEncoder(ensure_ascii=False).encode
_AS_SPACES: Final = str.maketrans("\r\n", "  ")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def line(about: Mapping[str, Any], value: bytes | None) -> bytes:
    """The line of a message whose value should be a JSON object; `about` are our fields of it."""
    if value is None:
        return f"{_json(about)}\n".encode()
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return refused("its value is no UTF-8", {**about, "_value_base64": b64encode(value).decode()})
    if not _is_object(text):
        return refused("its value is no JSON object", {**about, "_value": text})
    fields = text.strip(_SPACE)[1:].lstrip(_SPACE).translate(_AS_SPACES)
    comma = "" if fields.startswith("}") else ", "
    return f"{_json(about)[:-1]}{comma}{fields}\n".encode()


def line_of_fields(about: Mapping[str, Any], fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The line of a message that is a list of named texts; a name that comes several times has a list."""
    told, is_text = texts(fields)
    if not is_text:
        return refused("a field of it is no UTF-8", {**about, "_value": told})
    if told.keys().isdisjoint(about):
        return f"{_json({**about, **told})}\n".encode()
    return line(about, _json(told).encode())


def refused(why: str, message: Mapping[str, Any]) -> bytes:
    """The line of a message of which no row can be made."""
    return f"{_json([f'row: {why}', message])}\n".encode()


def texts(pairs: Iterable[tuple[bytes | str, bytes | str | None]]) -> tuple[dict[str, Any], bool]:
    """Named values as an object, and whether all of it is text: what is not stands there as {"base64": ...}."""
    found: dict[str, list[Any]] = {}
    is_text = True
    for name, value in pairs:
        key, told = text_of(name), text_of(value)
        is_text &= not isinstance(key, dict) and not isinstance(told, dict)
        found.setdefault(key if isinstance(key, str) else _json(key), []).append(told)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}, is_text


def text_of(value: bytes | str | None) -> Any:
    """Bytes as text; as {"base64": ...} if they are none."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()} if isinstance(value, bytes) else None


def instant(milliseconds: int) -> str | None:
    """An instant in ISO 8601, UTC; None if no calendar knows it."""
    try:
        return f"{(_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"
    except OverflowError:
        return None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
