"""Rows as lines of text, NDJSON or CSV, put together column by column in Arrow and never row by row.

What is looked up by the same indices (all that a session says of its plays) is joined once for each entry, with the names and commas
between, and then looked up whole: so a line costs a handful of copies, however many columns it has. NDJSON may bring such columns
together; CSV keeps the order of its header.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.simulator.foreign import iso

Text = Literal["ndjson", "csv"]
Columns: TypeAlias = Sequence[tuple[str, pa.Array]]
_ROWS = 16_384  # of an array of lines: it stays in the processor's cache
_Key: TypeAlias = tuple[int, int, int, int]


@dataclass
class _Run:
    """A part of every line: constants alone, one column of texts (`key` None), or texts that each row looks up, with constants between."""

    parts: list[pa.Array | str]
    index: pa.Array | None = None
    key: _Key | None = None

    @property
    def is_constant(self) -> bool:
        """Whether it is the same in every row."""
        return all(isinstance(part, str) for part in self.parts)

    def finished(self) -> pa.Array | str:
        """Its parts as one."""
        if len(self.parts) == 1:
            return self.parts[0]
        return "".join(self.parts) if self.is_constant else pc.binary_join_element_wise(*self.parts, "")


def lines(columns: Columns, form: Text) -> Iterator[pa.Array]:
    """The rows as lines with their line end, in arrays of some thousand."""
    count = len(columns[0][1])
    runs = [(run.finished(), run.index) for run in _runs(columns, form)]
    for begin in range(0, count, _ROWS):
        length = min(_ROWS, count - begin)
        yield pc.binary_join_element_wise(*(_slice(texts, index, begin, length) for texts, index in runs), "")


def header(names: Sequence[str]) -> bytes:
    """The first line of a CSV file."""
    return (",".join(names) + "\n").encode()


def as_bytes(texts: pa.Array) -> memoryview:
    """The bytes of an array of lines, one after the other, without a copy."""
    begin, end = np.frombuffer(texts.buffers()[1], np.int32)[[texts.offset, texts.offset + len(texts)]].tolist()
    return memoryview(texts.buffers()[2])[begin:end]


def _slice(texts: pa.Array | str, index: pa.Array | None, begin: int, length: int) -> pa.Array | str:
    if isinstance(texts, str):
        return texts
    return texts.slice(begin, length) if index is None else texts.take(index.slice(begin, length))


def _runs(columns: Columns, form: Text) -> list[_Run]:
    runs: list[_Run] = []
    for number, (name, values) in enumerate(_neighbours(columns) if form == "ndjson" else columns):
        comma = "," if number else ""
        if form == "ndjson":
            comma = ("," if number else "{") + json.dumps(name, ensure_ascii=False) + ":"
        _add_constant(runs, comma)
        if isinstance(values, pa.DictionaryArray) and len(values.dictionary) <= len(values):
            _add_looked_up(runs, values, form)
        else:
            before, texts, after = _texts(values.dictionary_decode() if isinstance(values, pa.DictionaryArray) else values, form)
            _add_constant(runs, before)
            runs.append(_Run([texts]))
            _add_constant(runs, after)
    _add_constant(runs, "}\n" if form == "ndjson" else "\n")
    return runs


def _add_constant(runs: list[_Run], text: str) -> None:
    """At the end of what is looked up, or on its own."""
    if text and runs and (runs[-1].index is not None or runs[-1].is_constant):
        runs[-1].parts.append(text)
    elif text:
        runs.append(_Run([text]))


def _add_looked_up(runs: list[_Run], values: pa.DictionaryArray, form: Text) -> None:
    """To what is looked up by the same indices, or as a new run that takes in the constants before it."""
    index, dictionary = values.indices, values.dictionary
    if index.null_count:
        index = pc.fill_null(index, len(dictionary))
        dictionary = pa.concat_arrays([dictionary, pa.nulls(1, dictionary.type)])
    before, texts, after = _texts(dictionary, form)
    key = _key(values)
    if not (runs and key is not None and runs[-1].key == key):
        taken = runs.pop().parts if runs and runs[-1].is_constant else []
        runs.append(_Run([*taken], index, key))
    runs[-1].parts += [part for part in (before, texts, after) if not isinstance(part, str) or part]


def _neighbours(columns: Columns) -> Columns:
    """The columns, those that look up by the same indices beside each other."""
    groups: dict[_Key | str, list[tuple[str, pa.Array]]] = {}
    for name, values in columns:
        groups.setdefault(_key(values) or name, []).append((name, values))
    return [column for group in groups.values() for column in group]


def _key(values: pa.Array) -> _Key | None:
    """What two columns have in common that look up by the same indices: where these stand in memory, and how many entries there are."""
    if not isinstance(values, pa.DictionaryArray) or values.indices.null_count:
        return None
    index = values.indices
    return index.buffers()[1].address, index.offset, index.type.bit_width, len(values.dictionary)


def _texts(values: pa.Array, form: Text) -> tuple[str, pa.Array, str]:
    """(constant before, each value as it stands in a line, constant after); NULL is `null` in JSON and nothing in CSV."""
    kind = values.type
    if pa.types.is_decimal(kind):
        texts = pc.utf8_rtrim(pc.utf8_rtrim(values.cast(pa.string()), "0"), ".")
    elif pa.types.is_timestamp(kind) and kind.tz:
        texts = iso(values)
    else:
        texts = values.cast(pa.string())
    is_text = pa.types.is_string(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    if not is_text or form == "csv":
        texts = _escaped(texts, form) if is_text else texts
        return "", pc.fill_null(texts, "null" if form == "ndjson" else ""), ""
    if _needs_escapes(texts, form):
        return "", pc.fill_null(_escaped(texts, form), "null"), ""
    if texts.null_count:
        return "", pc.fill_null(pc.binary_join_element_wise('"', texts, '"', ""), "null"), ""
    return '"', texts, '"'


def _escaped(texts: pa.Array, form: Text) -> pa.Array:
    """Texts as JSON strings, or as CSV fields with quotes where they need them."""
    if not _needs_escapes(texts, form):
        return texts
    if form == "ndjson":
        return pa.array([None if text is None else json.dumps(text, ensure_ascii=False) for text in texts.to_pylist()], pa.string())
    doubled = pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")
    return pc.if_else(pc.match_substring_regex(texts, '[",\r\n]'), doubled, texts)


def _needs_escapes(texts: pa.Array, form: Text) -> bool:
    """Whether any byte of any text does; all are looked at at once."""
    if len(texts) == 0 or texts.buffers()[2] is None:
        return False
    data = np.frombuffer(as_bytes(texts), np.uint8)
    if form == "csv":
        return bool(((data == 34) | (data == 44) | (data == 10) | (data == 13)).any())
    return bool(((data < 32) | (data == 34) | (data == 92)).any())
