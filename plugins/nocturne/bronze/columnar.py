"""Arrow IPC (files, streams, Feather version 2) as streams of Arrow batches, with the types that the files have.

Each record batch is validated whole before anyone looks into it: what is damaged is refused, and never read out of bounds. A stream
must end with Arrow's end mark, without which half of one could not be told from all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import pyarrow as pa

from nocturne.bronze.reading import SEND_AGAIN, Batch, Reading
from nocturne.manifests import Delivered

_FILE: Final = b"ARROW1"
_FEATHER_1: Final = b"FEA1"
_END: Final = b"\xff\xff\xff\xff\0\0\0\0"


def arrow_schema(batch: Batch, file: Delivered) -> pa.Schema:
    """The schema of a file. Raises DeliveryError if it is no Arrow."""
    with _opened(batch, file) as source:
        schema = source.schema.remove_metadata()
        for field in schema:
            _check_name(field)
        return schema


def arrow_rows(reading: Reading, schema: pa.Schema, ours: tuple[str, str, str]) -> pa.RecordBatchReader:
    """All rows of the batches' files with the columns of `schema`, and `ours`: the names for batch, file and line."""
    names = pa.schema([(ours[0], pa.string()), (ours[1], pa.string()), (ours[2], pa.int64())])

    def rows(batch: Batch, _index: int) -> Iterator[list[pa.Array]]:
        for file in batch.manifest.files:
            for first, found in _batches(batch, file):
                count = found.num_rows
                reading.rows[batch.id] += count
                numbers = pa.array(np.arange(first, first + count))
                yield [pa.repeat(batch.id, count), pa.repeat(file.name, count), numbers, *_as(batch, file, found, schema)]

    return reading.stream(pa.schema([*names, *schema]), rows)


def _batches(batch: Batch, file: Delivered) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(number of its first row, rows) of the record batches of a file."""
    first = 1
    with _opened(batch, file) as source:
        for found in _each(source):
            found.validate(full=True)
            yield first, found
            first += found.num_rows


def _each(source: pa.RecordBatchReader | pa.RecordBatchFileReader) -> Iterator[pa.RecordBatch]:
    if isinstance(source, pa.RecordBatchFileReader):
        for index in range(source.num_record_batches):
            yield source.get_batch(index)
    else:
        yield from source


def _as(batch: Batch, file: Delivered, found: pa.RecordBatch, schema: pa.Schema) -> list[pa.Array]:
    """The columns of `schema`; NULL where the file has none of that name."""
    columns = []
    for field in schema:
        at = found.schema.get_field_index(field.name)
        try:
            columns.append(found.column(at).cast(field.type) if at >= 0 else pa.nulls(found.num_rows, field.type))
        except pa.ArrowException as error:
            what = f"has values in {field.name} that are no {field.type}, as in other files of the delivery: {_first_line(error)}"
            raise batch.refuse(file.name, what, SEND_AGAIN) from error
    return columns


def _check_name(field: pa.Field) -> None:
    """Ask for the name of a field and of those within it: pyarrow raises ValueError, whoever asks, if one is no UTF-8."""
    _ = field.name
    for at in range(field.type.num_fields):
        _check_name(field.type.field(at))


@contextmanager
def _opened(batch: Batch, file: Delivered) -> Iterator[pa.RecordBatchReader | pa.RecordBatchFileReader]:
    try:
        with pa.OSFile(str(batch.path(file))) as raw:
            head = raw.read(8)
            raw.seek(max(0, raw.size() - len(_END)))
            tail = raw.read()
            raw.seek(0)
            if head.startswith(_FEATHER_1):
                raise batch.refuse(file.name, "is Feather of version 1", "Have it written as Feather version 2, Arrow or Parquet.")
            if head.startswith(_FILE):
                yield pa.ipc.open_file(raw)
            elif tail == _END:
                yield pa.ipc.open_stream(raw)
            else:
                raise batch.refuse(file.name, "is no Arrow, or a stream that ends in the middle", SEND_AGAIN)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise batch.refuse(file.name, f"is no readable Arrow: {_first_line(error)}", SEND_AGAIN) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
