"""Raw files as streams of Arrow batches: one row a delivered row, with its batch, file and line.

Data flow: landing (NDJSON, CSV, JSON; plain or compressed) -> Arrow -> DuckDB. Parquet is read by DuckDB itself.

A row that cannot be read stays, with its raw text and why; a file that cannot be read raises DeliveryError. What counts as a row: of
NDJSON each line that is not empty, of CSV each record after the header (its number, the header being 1, stands for its line), of JSON each
element of the array.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow.csv import ConvertOptions, InvalidRow, ParseOptions, ReadOptions, open_csv

from nocturne import at_rest
from nocturne.bronze.encodings import as_utf8
from nocturne.bronze.unpacking import Raw, UnpackingError, unpacked
from nocturne.errors import DeliveryError, NocturneError
from nocturne.manifests import Delivered, Manifest
from nocturne.tenants import Layout, Source, Tenant

BATCH: Final = "__nocturne_batch"
FILE: Final = "__nocturne_file"
LINE: Final = "__nocturne_line"
DELIVERED: Final = "__nocturne_delivered"
RECORD: Final = "__nocturne_record"
UNREADABLE: Final = "__nocturne_unreadable"
DOCUMENT: Final = "__nocturne_document"

BLOCK: Final = 4 << 20
MAX_LINE: Final = 16 << 20
MAX_DOCUMENT: Final = 256 << 20
SAMPLE: Final = 100
_NAMES: Final = pa.dictionary(pa.int32(), pa.string())
TEXT: Final = pa.string_view()


def _ours(delivered: pa.DataType) -> list[tuple[str, pa.DataType]]:
    return [(BATCH, _NAMES), (FILE, _NAMES), (LINE, pa.int64()), (DELIVERED, delivered), (UNREADABLE, pa.string())]


@dataclass(frozen=True)
class Batch:
    """One batch of landing with the source that declares it; `places`: where those of its files stand that were unpacked."""

    tenant: Tenant
    source: Source
    manifest: Manifest
    folder: Path
    places: Mapping[str, Path] = field(default_factory=dict)
    key: at_rest.Key = field(default=at_rest.no_key, repr=False)

    @property
    def id(self) -> str:
        """Its id."""
        return self.manifest.batch

    def path(self, file: Delivered) -> Path:
        """Where a file of it stands; if it `is_sealed`, only `raw` can read it."""
        return self.places.get(file.name, self.folder / file.name)

    def is_sealed(self, file: Delivered) -> bool:
        """Whether a file of it does not stand as it was delivered."""
        return file.name not in self.places and at_rest.is_sealed(self.path(file))

    def raw(self, file: Delivered) -> Raw:
        """A file of it as it was delivered."""
        if file.name in self.places:
            return Raw.at(self.places[file.name])
        return Raw(partial(at_rest.opened, self.path(file), self.key), file.bytes)

    def refuse(self, file: str | None, what: str, next_step: str) -> DeliveryError:
        """The error that says what is wrong with a file of it."""
        where = self.folder / file if file else self.folder
        return DeliveryError(
            f"{self.manifest.dataset}: {where} (source {self.source.name}) {what}.",
            next_step=next_step,
            tenant=self.tenant.slug,
            day=self.manifest.received_on,
        )

    def check_files(self) -> None:
        """Raise DeliveryError if landing does not hold what the manifest says."""
        for file in self.manifest.files:
            path = self.path(file)
            if not path.is_file():
                raise self.refuse(file.name, "is in the manifest, but not there", _TAKE_AGAIN)
            if (size := at_rest.size_as_delivered(path)) != file.bytes:
                raise self.refuse(file.name, f"has {size} bytes, the manifest says {file.bytes}", _TAKE_AGAIN)


_TAKE_AGAIN: Final = "Remove the batch's folder in landing and run `land` again."
SEND_AGAIN: Final = "Have the source deliver the file again, whole; `land` takes it in, and the night goes on."


Records = tuple[pa.Array, pa.Array, pa.Array, dict[str, pa.Array]]
"""(number, raw text where a record was refused, why, values by column) of some records of a file."""
RecordsOf = Callable[[Batch, Delivered, int], Iterator[Records]]


@dataclass
class Reading:
    """A pass over some batches: counts their rows, and keeps the error that ended it (DuckDB would tell only its text)."""

    batches: Sequence[Batch]
    block: int = BLOCK
    rows: Counter[str] = field(default_factory=Counter)
    failure: NocturneError | None = None

    @cached_property
    def _batch_names(self) -> pa.Array:
        return pa.array([batch.id for batch in self.batches], pa.string())

    def _file_names(self, batch: Batch) -> pa.Array:
        return pa.array([file.name for file in batch.manifest.files], pa.string())

    def lines(self) -> pa.RecordBatchReader:
        """Each line of the NDJSON files, as text."""
        return self.stream(pa.schema(_ours(TEXT)), self._lines)

    def documents(self) -> pa.RecordBatchReader:
        """Each JSON file, whole."""
        return self.stream(pa.schema([(BATCH, pa.string()), (FILE, pa.string()), (DOCUMENT, pa.string())]), self._documents)

    def records(self, columns: Sequence[str], read: RecordsOf | None = None) -> pa.RecordBatchReader:
        """Each record that `read` (default: of CSV) gives; `columns` as text, NULL where a file lacks the column or the value is empty."""
        schema = pa.schema([*_ours(pa.string()), *((column, pa.string()) for column in columns)])
        return self.stream(schema, lambda batch, index: self._records(batch, index, columns, read or _csv_records))

    def stream(self, schema: pa.Schema, rows: Callable[[Batch, int], Iterator[list[Any]]]) -> pa.RecordBatchReader:
        """What `rows` gives of each batch (and its position), as one stream; an error of ours that ends it is kept."""

        def stream() -> Iterator[pa.RecordBatch]:
            try:
                for index, batch in enumerate(self.batches):
                    for arrays in rows(batch, index):
                        yield pa.record_batch(arrays, schema=schema)
            except NocturneError as error:
                self.failure = error
                raise

        return pa.RecordBatchReader.from_batches(schema, stream())

    def _lines(self, batch: Batch, index: int) -> Iterator[list[Any]]:
        names = self._file_names(batch)
        for position, file in enumerate(batch.manifest.files):
            for numbers, values, unreadable in _text_lines(batch, file, self.block):
                self.rows[batch.id] += len(values)
                yield [*self._names(index, names, position, len(values)), numbers, values, unreadable]

    def _names(self, index: int, names: pa.Array, position: int, count: int) -> list[pa.Array]:
        return [_repeated(self._batch_names, index, count), _repeated(names, position, count)]

    def _documents(self, batch: Batch, _index: int) -> Iterator[list[Any]]:
        for file in batch.manifest.files:
            yield [pa.array([batch.id]), pa.array([file.name]), pa.array([_document(batch, file)], pa.string())]

    def _records(self, batch: Batch, index: int, columns: Sequence[str], read: RecordsOf) -> Iterator[list[Any]]:
        names = self._file_names(batch)
        for position, file in enumerate(batch.manifest.files):
            for numbers, raw, unreadable, values in read(batch, file, self.block):
                self.rows[batch.id] += len(numbers)
                texts = [values.get(column, pa.nulls(len(numbers), pa.string())) for column in columns]
                yield [*self._names(index, names, position, len(numbers)), numbers, raw, unreadable, *texts]


def _repeated(names: pa.Array, position: int, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.full(count, position, np.int32)), names)


# bytes -------------------------------------------------------------------------------------------------------------------------
def chunks(batch: Batch, file: Delivered, block: int = BLOCK) -> Iterator[bytes]:
    """The text of a file as UTF-8 without a byte order mark: unpacked if it is compressed, decoded if it is in another encoding."""
    declared = batch.source.layout.encoding if batch.source.layout else None
    yield from as_utf8(stored(batch, file, block), declared, finds=batch.source.format == "csv")


def stored(batch: Batch, file: Delivered, block: int = BLOCK) -> Iterator[bytes]:
    """The bytes of a file, unpacked if it is compressed."""
    try:
        yield from unpacked(batch.raw(file), block)
    except UnpackingError as error:
        raise batch.refuse(file.name, error.what, error.next_step or SEND_AGAIN) from error
    except OSError as error:
        raise batch.refuse(file.name, f"cannot be read: {error.strerror}", _TAKE_AGAIN) from error


# NDJSON ------------------------------------------------------------------------------------------------------------------------
def _text_lines(batch: Batch, file: Delivered, size: int = BLOCK) -> Iterator[tuple[pa.Array, pa.Array, pa.Array]]:
    """(number, text, why it is unreadable) of the lines of a file, in blocks."""
    number, rest = 1, b""
    for chunk in chunks(batch, file, size):
        end = chunk.rfind(b"\n") + 1
        block = b"".join((rest, memoryview(chunk)[:end])) if end else b""
        rest = chunk[end:] if end else rest + chunk
        if len(rest) > MAX_LINE:
            line = number + block.count(b"\n")
            raise batch.refuse(file.name, f"has a line of more than {MAX_LINE >> 20} MB (line {line})", SEND_AGAIN)
        if end:
            numbers, values, unreadable, count = _split(block, number)
            number += count
            yield numbers, values, unreadable
    if rest:
        numbers, values, unreadable, _ = _split(rest, number)
        yield numbers, values, unreadable


def _split(block: bytes, number: int) -> tuple[pa.Array, pa.Array, pa.Array, int]:
    """(number, text, why it is unreadable) of the lines of `block`, whose first one has this number, and how many lines it has.

    Empty lines are left out. Of what nearly every block is (UTF-8, line feeds alone, no short line) the texts are views into it.
    """
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    starts = np.concatenate(([0], ends[:-1] + 1))
    numbers = pa.array(np.arange(number, number + len(ends)))
    if int((ends - starts).min()) > _LONGEST_INLINE and b"\r" not in block and _is_utf8(block):
        return numbers, _views(block, starts, ends), pa.nulls(len(ends), pa.string()), len(ends)
    offsets = np.append(starts, len(block)).astype(np.int32)
    texts, unreadable = _as_text(pa.Array.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(block)]))
    texts = pc.ascii_rtrim(texts, characters="\r\n")
    filled = pc.not_equal(pc.binary_length(texts), 0)
    return numbers.filter(filled), texts.filter(filled).cast(TEXT), unreadable.filter(filled), len(ends)


_VIEW: Final = np.dtype([("length", "<i4"), ("prefix", "<u4"), ("buffer", "<i4"), ("offset", "<i4")])
"""Arrow's view of a text that is too long to stand in the view itself: its first four bytes do, all of them stand in a buffer."""
_LONGEST_INLINE: Final = 12


def _views(block: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> pa.Array:
    """Parts of a block, which is UTF-8, as texts that stand where they are."""
    views = np.zeros(len(starts), _VIEW)
    views["length"], views["offset"] = ends - starts, starts
    views["prefix"] = np.ndarray((len(block) - 3,), "<u4", block, strides=(1,))[starts]
    return pa.Array.from_buffers(TEXT, len(starts), [None, pa.py_buffer(views), pa.py_buffer(block)])


def _is_utf8(block: bytes) -> bool:
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _as_text(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Bytes as text, and which of them were no UTF-8 (their text then holds replacement characters)."""
    try:
        return values.cast(pa.string()), pa.nulls(len(values), pa.string())
    except pa.ArrowInvalid:
        pass
    texts: list[str | None] = []
    unreadable: list[str | None] = []
    for value in values.to_pylist():
        try:
            texts.append(None if value is None else value.decode())
            unreadable.append(None)
        except UnicodeDecodeError:
            texts.append(value.decode(errors="replace"))
            unreadable.append("row: is no UTF-8")
    return pa.array(texts, pa.string()), pa.array(unreadable, pa.string())


EVERY_ROW: Final = "in every row"
SOME_ROWS: Final = "in some rows"


def sampled_keys(batch: Batch) -> dict[str, str]:
    """The keys of the first objects of the batch's NDJSON files: whether each of these has it, or some have."""
    found: Counter[str] = Counter()
    objects = 0
    for file in batch.manifest.files:
        lines = (text for _, texts, _ in _text_lines(batch, file) for text in texts[:SAMPLE].to_pylist())
        for _, line in zip(range(SAMPLE), lines, strict=False):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                found.update(value.keys())
                objects += 1
    return how_many_have(found, objects)


def how_many_have(keys: Mapping[str, int], objects: int) -> dict[str, str]:
    """Of each key, whether every object has it or some have; `keys`: how many do."""
    return {key: EVERY_ROW if count >= objects else SOME_ROWS for key, count in keys.items()}


# JSON --------------------------------------------------------------------------------------------------------------------------
def _document(batch: Batch, file: Delivered) -> str:
    size, parts = 0, []
    for chunk in chunks(batch, file):
        size += len(chunk)
        if size > MAX_DOCUMENT:
            step = "Have the source deliver smaller pages, or NDJSON, which is read line by line."
            raise batch.refuse(file.name, f"is one JSON document of more than {MAX_DOCUMENT >> 20} MB", step)
        parts.append(chunk)
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError as error:
        raise batch.refuse(file.name, f"is no UTF-8 at byte {error.start}", SEND_AGAIN) from error


# CSV ---------------------------------------------------------------------------------------------------------------------------
_DELIMITERS: Final = ",;\t|"
_HEAD: Final = 1 << 16
_HEAD_RECORDS: Final = 50


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written: its delimiter, the quote (None: there is none), the lines before the header and the names in it."""

    delimiter: str
    columns: tuple[str, ...]
    quote: str | None = '"'
    lines_before: int = 0


def csv_dialect(batch: Batch, file: Delivered) -> Dialect:
    """The dialect of a CSV file: as `layout` declares it; a delimiter that is not declared is found in the first records.

    A column that the source knows by other names is called as the source calls it.
    """
    layout = batch.source.layout or Layout()
    before = layout.lines_before
    quote = None if layout.quote == "none" else layout.quote
    head = b""
    for chunk in without_lines(chunks(batch, file), before):
        head += chunk
        if len(head) >= _HEAD:
            break
    header = head.split(b"\n", 1)[0].rstrip(b"\r")
    where = f"line {before + 1}"
    try:
        line = header.decode()
    except UnicodeDecodeError as error:
        raise batch.refuse(file.name, f"is no CSV: its header is no UTF-8 at byte {error.start}", SEND_AGAIN) from error
    if not line.strip() or "\0" in line:
        what = "is empty: a CSV file has a header even if it has no rows"
        raise batch.refuse(file.name, what if not head.strip() else f"is no CSV: it has no header ({where})", SEND_AGAIN)
    delimiter = layout.delimiter or _delimiter(line, head, quote)
    try:
        columns = tuple(next(_parsed([line], delimiter, quote)))
    except csv.Error as error:
        raise batch.refuse(file.name, f"is no CSV: {error} ({where})", SEND_AGAIN) from error
    check_names(batch, file, columns, where)
    return Dialect(delimiter, batch.source.as_named(columns), quote, before)


def check_names(batch: Batch, file: Delivered, columns: Sequence[str], where: str) -> None:
    """Raise DeliveryError if two columns have the same name, in capitals or not: SQL would not tell them apart."""
    twice = sorted(column for column, count in Counter(name.lower() for name in columns).items() if count > 1)
    if twice:
        what = f"has the columns {', '.join(twice)} twice ({where})"
        raise batch.refuse(file.name, what, "Have the source name each column once.")


def without_lines(parts: Iterator[bytes], count: int) -> Iterator[bytes]:
    """`parts` of text from behind the first `count` lines on."""
    for part in parts:
        rest = part
        while count and rest:
            _, ended, rest = rest.partition(b"\n")
            count -= bool(ended)
        if rest:
            yield rest


def _delimiter(header: str, head: bytes, quote: str | None) -> str:
    """Of the delimiters that the header holds, the one with which most of the first records have as many values as the header."""
    lines = head.decode(errors="replace").replace("\0", "").splitlines(keepends=True)
    if len(head) >= _HEAD:
        del lines[-1:]  # which is cut

    def fits(delimiter: str) -> tuple[float, int]:
        widths = []
        with suppress(csv.Error):
            for record in islice(_parsed(lines, delimiter, quote), _HEAD_RECORDS):
                widths += [len(record)] if record else []
        width = widths[0] if widths else 0
        return (sum(other == width for other in widths) / len(widths) if width > 1 else 0.0), header.count(delimiter)

    return max(_DELIMITERS, key=fits)


def _parsed(lines: Iterable[str], delimiter: str, quote: str | None) -> Iterator[list[str]]:
    if quote is None:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter, quotechar=quote)


class _Stream(io.RawIOBase):
    """Chunks of bytes as a file of UTF-8: what is none is replaced and told, because pyarrow loses a refused record that is no UTF-8.

    Counts the quotes that pass.
    """

    def __init__(self, parts: Iterator[bytes], quote: str | None) -> None:
        self._parts = parts
        self._quote = quote.encode() if quote else None
        self._rest = b""
        self._incomplete = b""  # the first bytes of a letter, whose other bytes come with the next chunk
        self._last = b""
        self.quotes = 0
        self.is_damaged = False
        self.failure: NocturneError | None = None

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with what comes next."""
        while not self._rest:
            try:
                chunk = next(self._parts, None)
            except NocturneError as error:
                self.failure = error
                raise OSError(str(error)) from error
            self._rest = self._as_utf8(chunk or b"", is_last=chunk is None)
            if chunk is None and self._last != b"\n":
                self._rest += b"\n"  # pyarrow reads no header that does not end
            if chunk is None and not self._rest:
                return 0
            self._last = self._rest[-1:] or self._last
            self.quotes += self._rest.count(self._quote) if self._quote else 0
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _as_utf8(self, chunk: bytes, *, is_last: bool) -> bytes:
        data, self._incomplete = self._incomplete + chunk, b""
        try:
            data.decode()
        except UnicodeDecodeError as error:
            if error.end == len(data) and not is_last and error.reason == "unexpected end of data":
                data, self._incomplete = data[: error.start], data[error.start :]
            else:
                self.is_damaged = True
                data = data.decode(errors="replace").encode()
        return data


def _csv_records(batch: Batch, file: Delivered, block: int) -> Iterator[Records]:
    """(number, raw text where a record was refused, why, values by column) of the records of a file, in blocks."""
    dialect = csv_dialect(batch, file)
    before = dialect.lines_before
    stream = _Stream(without_lines(chunks(batch, file, block), before), dialect.quote)
    refused: list[InvalidRow] = []
    count = 0
    last: tuple[int, dict[str, pa.Array]] | None = None
    try:
        for rows in _open_csv(stream, dialect, refused):
            numbers = _record_numbers(count, rows.num_rows, refused)
            count += rows.num_rows
            values, unreadable = _values(rows, stream)
            last = (numbers[-1].as_py(), values) if rows.num_rows else last
            yield pc.add(numbers, before), pa.nulls(len(numbers), pa.string()), unreadable, values
    except (pa.ArrowInvalid, OSError) as error:
        if stream.failure:
            raise stream.failure from error
        raise batch.refuse(file.name, f"is damaged CSV: {str(error).splitlines()[0]}", SEND_AGAIN) from error
    if stream.quotes % 2 and (record := _holding_line_ends(last, refused)):
        raise batch.refuse(file.name, f"opens a quote that is never closed (record {record + before})", SEND_AGAIN)
    if refused:
        numbers, *rest = _refused_rows(refused, dialect)
        yield pc.add(numbers, before), *rest


def _open_csv(stream: _Stream, dialect: Dialect, refused: list[InvalidRow]) -> Iterator[pa.RecordBatch]:
    def refuse(row: InvalidRow) -> str:
        refused.append(row)
        return "skip"

    source = pa.PythonFile(io.BufferedReader(stream, BLOCK), mode="r")
    with open_csv(
        source,
        read_options=ReadOptions(block_size=BLOCK, use_threads=False, column_names=list(dialect.columns), skip_rows=1),
        parse_options=ParseOptions(
            delimiter=dialect.delimiter, quote_char=dialect.quote or False, newlines_in_values=True, invalid_row_handler=refuse
        ),
        convert_options=ConvertOptions(
            column_types=dict.fromkeys(dialect.columns, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            check_utf8=False,
        ),
    ) as reader:
        yield from reader


def _record_numbers(before: int, count: int, refused: Sequence[InvalidRow]) -> pa.Array:
    """The numbers of `count` good records behind `before` earlier good ones: refused ones between them count too."""
    good = np.arange(before, before + count)
    good_before_refused = np.array(sorted(row.number for row in refused), np.int64) - 2 - np.arange(len(refused))
    return pa.array(good + 2 + np.searchsorted(good_before_refused, good, side="right"))


def _values(rows: pa.RecordBatch, stream: _Stream) -> tuple[dict[str, pa.Array], pa.Array]:
    """The values by column, and which records hold what was no UTF-8."""
    values = {column: rows.column(column) for column in rows.schema.names}
    unreadable = pa.nulls(rows.num_rows, pa.string())
    if stream.is_damaged:
        for value in values.values():
            replaced = pc.fill_null(pc.match_substring(value, "\ufffd"), fill_value=False)
            unreadable = pc.if_else(replaced, "row: is no UTF-8", unreadable)
    return values, unreadable


def _holding_line_ends(last: tuple[int, dict[str, pa.Array]] | None, refused: Sequence[InvalidRow]) -> int | None:
    """The number of the last record, good or refused, if its text goes over several lines."""
    ends = [(row.number, row.text) for row in refused[-1:]]
    if last:
        ends.append((last[0], "".join(value[-1].as_py() or "" for value in last[1].values())))
    number, text = max(ends, default=(0, ""))
    return number if "\n" in text else None


def _refused_rows(refused: Sequence[InvalidRow], dialect: Dialect) -> Records:
    why = [f"row: has {row.actual_columns} values, the header has {row.expected_columns}" for row in refused]
    nothing = pa.nulls(len(refused), pa.string())
    values = dict.fromkeys(dialect.columns, nothing)
    return (
        pa.array([row.number for row in refused], pa.int64()),
        pa.array([row.text for row in refused], pa.string()),
        pa.array(why, pa.string()),
        values,
    )
