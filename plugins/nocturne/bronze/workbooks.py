"""XLSX as records of text: one sheet, a row of names, and the rows below it.

Nothing is computed: a formula stands for the value that was saved with it. Dates and instants become ISO text, whole numbers lose their
`.0`, so that a workbook and the CSV that Excel would save of it are read alike. A row without any value is none.
"""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from nocturne.bronze.archives import zip_of
from nocturne.bronze.reading import SEND_AGAIN, Batch, Records, check_names
from nocturne.bronze.unpacking import Allowance, UnpackingError
from nocturne.manifests import Delivered
from nocturne.tenants import Layout

if TYPE_CHECKING:
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet

_MAX_ROWS: Final = 1_048_576  # of the format itself
_MAX_TEXTS: Final = 128 << 20
_ROWS_AT_ONCE: Final = 8_192
_SEARCHED: Final = 30
_OLD: Final = b"\xd0\xcf\x11\xe0"


@dataclass(frozen=True)
class Header:
    """Where the names of a sheet stand (its row, from 1), and which they are: (column, from 0; name)."""

    row: int
    names: tuple[tuple[int, str], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names."""
        return tuple(name for _, name in self.names)


def workbook_header(batch: Batch, file: Delivered) -> Header:
    """The header of a workbook's sheet: the row behind `lines_before`, else the first with two values, else the first with one.

    Raises DeliveryError if the file is no workbook, lacks the sheet or the header, or names a column twice.
    """
    layout = batch.source.layout
    with _sheet(batch, file) as sheet:
        rows = [(number, values) for number, values in islice(_rows(sheet), _SEARCHED + 1_000) if _filled(values)][:_SEARCHED]
    if layout is not None and "lines_before" in layout.model_fields_set:
        rows = [(number, values) for number, values in rows if number == layout.lines_before + 1]
    if not rows:
        raise batch.refuse(file.name, "is a workbook whose sheet has no header", SEND_AGAIN)
    number, values = next(((number, values) for number, values in rows if _filled(values) > 1), rows[0])
    names = tuple((at, text) for at, value in enumerate(values) if (text := (_text(value) or "").strip()))
    check_names(batch, file, [name for _, name in names], f"row {number}")
    ours = batch.source.as_named(name for _, name in names)
    return Header(number, tuple((at, name) for (at, _), name in zip(names, ours, strict=True)))


def workbook_records(batch: Batch, file: Delivered, _block: int) -> Iterator[Records]:
    """(row, raw text where a row was refused, why, values by column) of the rows below the header, in blocks."""
    header = workbook_header(batch, file)
    with _sheet(batch, file) as sheet:
        rows = (row for row in _rows(sheet) if row[0] > header.row and _filled(row[1]))
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            yield _records(header, some)


def _records(header: Header, rows: Sequence[tuple[int, Sequence[Any]]]) -> Records:
    named = {at for at, _ in header.names}
    texts = [[_text(value) for value in values] for _, values in rows]
    beside = [any(text is not None and at not in named for at, text in enumerate(row)) for row in texts]
    raw = ["\t".join(text or "" for text in row) if wrong else None for row, wrong in zip(texts, beside, strict=True)]
    why = ["row: has a value in a column without a name" if wrong else None for wrong in beside]
    values = {name: pa.array([row[at] if at < len(row) else None for row in texts], pa.string()) for at, name in header.names}
    return pa.array([number for number, _ in rows], pa.int64()), pa.array(raw, pa.string()), pa.array(why, pa.string()), values


def _rows(sheet: ReadOnlyWorksheet) -> Iterator[tuple[int, Sequence[Any]]]:
    sheet.reset_dimensions()  # what the file says of them need not be true
    for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
        if number > _MAX_ROWS:
            raise ValueError(f"row {number} is more than a sheet can have")
        yield number, values


def _filled(values: Sequence[Any]) -> int:
    return sum(value is not None and value != "" for value in values)


def _text(value: Any) -> str | None:
    """A cell's value as text."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(sep=" ")
    if isinstance(value, (date, time)):
        return value.isoformat()
    return str(value).encode("utf-8", "replace").decode()


@contextmanager
def _sheet(batch: Batch, file: Delivered) -> Iterator[ReadOnlyWorksheet]:
    """The sheet of a workbook. Whatever goes wrong in the block while it is read is the workbook's damage."""
    from xml.etree.ElementTree import ParseError

    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    damage = (  # what openpyxl, and defusedxml below it, raise on others' files
        *(zipfile.BadZipFile, zlib.error, ParseError, InvalidFileException, OSError, EOFError, OverflowError),
        *(KeyError, ValueError, TypeError, IndexError, AttributeError, NotImplementedError, RuntimeError),
    )
    layout = batch.source.layout or Layout()
    try:
        _check(batch, file)
        with warnings.catch_warnings(), batch.path(file).open("rb") as raw:
            warnings.simplefilter("ignore")  # of styles and extensions that openpyxl does not know
            workbook = load_workbook(raw, read_only=True, data_only=True, keep_links=False)
            found = {sheet.title: sheet for sheet in workbook.worksheets}
            if not found or (layout.sheet is not None and layout.sheet not in found):
                wanted = f"the sheet {layout.sheet}" if layout.sheet else "a sheet"
                what = f"lacks {wanted}; it has {', '.join(found) or 'none'}"
                raise batch.refuse(file.name, what, f"Correct `sheet` in the layout of source {batch.source.name}.")
            yield found[layout.sheet] if layout.sheet else next(iter(found.values()))
    except UnpackingError as error:
        raise batch.refuse(file.name, error.what, error.next_step or SEND_AGAIN) from error
    except damage as error:
        says = (str(error).splitlines() or [""])[0][:200]
        raise batch.refuse(file.name, f"is no readable workbook: {type(error).__name__} {says}".rstrip(), SEND_AGAIN) from error


def _check(batch: Batch, file: Delivered) -> None:
    """Raise UnpackingError if the workbook is none, or unpacks to too much; openpyxl keeps all shared texts in memory."""
    path = batch.path(file)
    with path.open("rb") as raw:
        if raw.read(4) == _OLD:
            raise UnpackingError("is a workbook of the old format, or one with a password", "Have it saved as .xlsx without a password.")
    with zip_of(path) as archive:
        allowance = Allowance(path.stat().st_size)
        for info in archive.infolist():
            allowance.take(info.file_size)
            if info.filename.endswith("sharedStrings.xml") and info.file_size > _MAX_TEXTS:
                raise UnpackingError(f"holds {info.file_size >> 20} MB of texts", "Have it delivered as CSV or Parquet.")
