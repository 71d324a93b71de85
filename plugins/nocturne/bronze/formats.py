"""The formats that sources deliver in, each with the same three answers.

shape      what batches must have in common to be read in one pass; reads the files' heads
check      the delivered columns, by file; raises Lacking if one is not there that the mapping reads
open       the delivered rows as SQL
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from nocturne.bronze.columnar import arrow_rows, arrow_schema
from nocturne.bronze.mapping import (
    Plan,
    elements_of_documents,
    json_path,
    lines_as_delivered,
    record,
    records_as_delivered,
    records_of,
)
from nocturne.bronze.markup import declared_columns, markup_records
from nocturne.bronze.reading import (
    BATCH,
    DELIVERED,
    DOCUMENT,
    FILE,
    LINE,
    RECORD,
    SEND_AGAIN,
    SOME_ROWS,
    UNREADABLE,
    Batch,
    Reading,
    RecordsOf,
    check_names,
    csv_dialect,
    how_many_have,
    sampled_keys,
)
from nocturne.bronze.sales_reports import report_columns, report_records
from nocturne.bronze.workbooks import workbook_header, workbook_records
from nocturne.errors import DeliveryError
from nocturne.lake import Connection, name, text
from nocturne.manifests import Delivered

_ROWS: Final = "__nocturne_rows"

Columns = Mapping[str, Mapping[str, str]]
"""By file (of JSON, all of them together), the kind of each column: its type where the format has types."""


class Lacking(DeliveryError):
    """A delivery that lacks columns which the mapping reads: those that are `missing`, and those that it `has`."""

    missing: frozenset[str] = frozenset()
    has: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Opened:
    """Delivered rows: the columns found with their types, SQL of the rows for a plan, and how many rows each batch has (when read)."""

    found: Mapping[str, str]
    rows: Callable[[Plan], str]
    count: Callable[[], Mapping[str, int]]


class Format(Protocol):
    """One format."""

    @property
    def is_stream(self) -> bool:
        """Whether it is read from its first byte to its last, and may be compressed on the way."""

    def shape(self, batch: Batch) -> Hashable:
        """What batches must have in common to be read in one pass. Raises DeliveryError if a file's head cannot be read."""

    def check(self, connection: Connection, batch: Batch, must: Collection[str]) -> Columns:
        """The columns of the batch's files. Raises Lacking if it has rows, but lacks one of the columns `must`."""

    def open(self, connection: Connection, reading: Reading, wanted: Collection[str]) -> Opened:
        """The rows of batches of one shape, with those of the columns `wanted` that they have."""


def _lacks(batch: Batch, file: str | None, missing: Collection[str], has: Collection[str]) -> Lacking:
    columns = "the column" if len(missing) == 1 else "the columns"
    told = batch.refuse(
        file,
        f"lacks {columns} {', '.join(sorted(missing))}, which the mapping reads; it has {', '.join(sorted(has)) or 'none'}",
        f"Correct `map` of source {batch.source.name} in the tenant's file, or have the source deliver {columns}.",
    )
    error = Lacking(told.what, next_step=told.next_step, tenant=told.tenant, day=told.day)
    error.missing, error.has = frozenset(missing), frozenset(has)
    return error


class Ndjson:
    """A JSON object a line."""

    is_stream = True

    def shape(self, batch: Batch) -> Hashable:
        """All NDJSON is read alike."""
        return ()

    def check(self, connection: Connection, batch: Batch, must: Collection[str]) -> Columns:
        """The first lines have nearly always all keys; only if not, all lines are asked.

        A topic mixes kinds of messages, and a quiet night may hold none of a kind: what no message has is NULL there.
        """
        if batch.source.kind == "topic":
            return {}
        keys = sampled_keys(batch)
        doubtful = sorted(set(must) - set(keys))
        if not keys or not doubtful:
            return {"": keys}
        reading = Reading([batch])
        connection.register(_ROWS, reading.lines())
        asked = ", ".join(f"coalesce(bool_or(TRY(json_exists({DELIVERED}, {text(json_path(column))}))), false)" for column in doubtful)
        answers = connection.execute(f"SELECT {asked} FROM {_ROWS}").fetchall()[0]
        missing = [column for column, there in zip(doubtful, answers, strict=True) if not there]
        if missing:
            raise _lacks(batch, batch.manifest.files[0].name, missing, keys)
        return {"": keys | dict.fromkeys(doubtful, SOME_ROWS)}

    def open(self, connection: Connection, reading: Reading, wanted: Collection[str]) -> Opened:
        """Every wanted column is there as text; NULL where an object lacks the key."""
        connection.register(_ROWS, reading.lines())
        return Opened(dict.fromkeys(sorted(wanted), "VARCHAR"), lambda plan: lines_as_delivered(plan, _ROWS), lambda: reading.rows)


class Json:
    """Documents that are an array of objects, or hold one in the field `records`."""

    is_stream = True

    def shape(self, batch: Batch) -> Hashable:
        """All documents are read alike."""
        return ()

    def check(self, connection: Connection, batch: Batch, must: Collection[str]) -> Columns:
        """Also raises DeliveryError for a document without the array."""
        connection.register(_ROWS, Reading([batch]).documents().read_all())
        records = records_of(batch.source, DOCUMENT)
        kinds = connection.execute(
            f"SELECT {FILE}, TRY(json_type({DOCUMENT})), TRY(json_type({records})) FROM {_ROWS} ORDER BY 1"
        ).fetchall()
        for file, whole, kind in kinds:
            if whole is None:
                raise batch.refuse(file, "is no JSON document", SEND_AGAIN)
            if kind != "ARRAY":
                where = f"in its field {batch.source.records}" if batch.source.records else "as a whole"
                raise batch.refuse(file, f"is JSON, but no array {where}", f"Correct `records` of source {batch.source.name}.")
        elements = elements_of_documents(batch.source, _ROWS, DOCUMENT)
        counted = f"SELECT unnest(list_append(json_keys({DELIVERED}), NULL)) AS key FROM {elements}"
        counts = dict(connection.execute(f"SELECT key, count(*) FROM ({counted}) GROUP BY 1").fetchall())
        objects = counts.pop(None, 0)
        if counts and (missing := set(must) - set(counts)):
            raise _lacks(batch, batch.manifest.files[0].name, missing, counts)
        return {"": how_many_have(counts, objects)}

    def open(self, connection: Connection, reading: Reading, wanted: Collection[str]) -> Opened:
        """Every wanted column is there as text, as in NDJSON."""
        connection.register(_ROWS, reading.documents().read_all())
        elements = elements_of_documents(reading.batches[0].source, _ROWS, DOCUMENT)

        def count() -> Mapping[str, int]:
            return dict(connection.execute(f"SELECT {BATCH}, count(*) FROM {elements} GROUP BY 1").fetchall())

        return Opened(dict.fromkeys(sorted(wanted), "VARCHAR"), lambda plan: lines_as_delivered(plan, elements), count)


class _Headed(Protocol):
    """What the files of a format of records say of themselves, at least their columns."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names in the header."""


@dataclass(frozen=True)
class Headed:
    """Records of text whose columns `header` tells; `records` reads them."""

    header: Callable[[Batch, Delivered], _Headed]
    records: RecordsOf | None
    is_stream: bool

    def shape(self, batch: Batch) -> Hashable:
        """The headers of the files."""
        return frozenset(self._headers(batch).values())

    def check(self, connection: Connection, batch: Batch, must: Collection[str]) -> Columns:
        """Each file must have each column."""
        headers = self._headers(batch)
        for file, header in headers.items():
            if missing := set(must) - set(header.columns) - batch.source.may_lack:
                raise _lacks(batch, file, missing, header.columns)
        return {file: dict.fromkeys(header.columns, "text") for file, header in headers.items()}

    def open(self, connection: Connection, reading: Reading, wanted: Collection[str]) -> Opened:
        """The wanted columns that a header names or need not name, as text."""
        headers = [header for batch in reading.batches for header in self._headers(batch).values()]
        optional = sorted(reading.batches[0].source.may_lack & set(wanted))
        columns = tuple(dict.fromkeys([*(column for header in headers for column in header.columns), *optional]))
        connection.register(_ROWS, reading.records(columns, self.records))
        found = {column: "VARCHAR" for column in columns if column in wanted}
        return Opened(found, lambda plan: records_as_delivered(plan, _ROWS, columns), lambda: reading.rows)

    def _headers(self, batch: Batch) -> dict[str, _Headed]:
        return {file.name: self.header(batch, file) for file in batch.manifest.files}


class Arrow:
    """Arrow IPC, whose own types hold."""

    is_stream = False

    def shape(self, batch: Batch) -> Hashable:
        """The schemas of the files."""
        return frozenset(str(schema) for schema in self._schemas(batch).values())

    def check(self, connection: Connection, batch: Batch, must: Collection[str]) -> Columns:
        """Each file must have each column."""
        return _checked(batch, self._schemas(batch), must)

    def open(self, connection: Connection, reading: Reading, wanted: Collection[str]) -> Opened:
        """The wanted columns with the types that the files have; columns of several types in several files take the wider one."""
        schemas = [schema for batch in reading.batches for schema in self._schemas(batch).values()]
        try:
            schema = pa.unify_schemas(schemas, promote_options="permissive") if schemas else pa.schema([])
        except pa.ArrowException as error:
            what = f"has files whose columns have types that do not go together: {str(error).splitlines()[0]}"
            raise reading.batches[0].refuse(None, what, SEND_AGAIN) from error
        connection.register(_ROWS, arrow_rows(reading, schema, (BATCH, FILE, LINE)))
        described = connection.execute(f"DESCRIBE SELECT * EXCLUDE ({BATCH}, {FILE}, {LINE}) FROM {_ROWS}").fetchall() if schema else []
        types = {column: kind for column, kind, *_ in described}
        found = {column: kind for column, kind in types.items() if column in wanted}
        query = (
            f"SELECT {BATCH}, {FILE}, {LINE}, NULL::VARCHAR AS {DELIVERED}, {record(types)} AS {RECORD}, NULL::VARCHAR AS {UNREADABLE}"
            + "".join(f", {name(column)}" for column in found)
            + f" FROM {_ROWS}"
        )
        return Opened(found, lambda _: query if types else _NO_ROWS, lambda: reading.rows)

    @staticmethod
    def _schemas(batch: Batch) -> dict[str, pa.Schema]:
        schemas = {}
        for file in batch.manifest.files:
            schemas[file.name] = arrow_schema(batch, file)
            check_names(batch, file, schemas[file.name].names, "its schema")
        return schemas


def _checked(batch: Batch, schemas: Mapping[str, pa.Schema], must: Collection[str]) -> Columns:
    """The columns of files that have types. Raises Lacking if one lacks one of the columns `must`."""
    for file, schema in schemas.items():
        if missing := set(must) - set(schema.names):
            raise _lacks(batch, file, missing, schema.names)
    return {file: {field.name: str(field.type) for field in schema} for file, schema in schemas.items()}


class Parquet:
    """Parquet, whose own types hold."""

    is_stream = False

    def shape(self, batch: Batch) -> Hashable:
        """The schemas of the files."""
        return frozenset(str(schema) for schema in self._schemas(batch).values())

    def check(self, connection: Connection, batch: Batch, must: Collection[str]) -> Columns:
        """Each file must have each column."""
        return _checked(batch, self._schemas(batch), must)

    def open(self, connection: Connection, reading: Reading, wanted: Collection[str]) -> Opened:
        """The wanted columns with the types that the files have; columns of several types in several files take the wider one."""
        paths = {str(batch.path(file)): (batch, file.name) for batch in reading.batches for file in batch.manifest.files}
        for path, (batch, _) in paths.items():
            reading.rows[batch.id] += pq.read_metadata(path).num_rows
        if not paths:
            return Opened({}, lambda _: _NO_ROWS, lambda: reading.rows)
        places = ", ".join(f"({text(path)}, {text(batch.id)}, {text(file)})" for path, (batch, file) in paths.items())
        files = f"read_parquet([{', '.join(map(text, paths))}], union_by_name = true, filename = '{FILE}', hive_partitioning = false)"
        types = {column: kind for column, kind, *_ in connection.execute(f"DESCRIBE SELECT * EXCLUDE {FILE} FROM {files}").fetchall()}
        found = {column: kind for column, kind in types.items() if column in wanted}
        query = (
            f"SELECT places.batch AS {BATCH}, places.file AS {FILE}, rows.file_row_number + 1 AS {LINE},"
            f" NULL::VARCHAR AS {DELIVERED}, {record(types, 'rows.')} AS {RECORD}, NULL::VARCHAR AS {UNREADABLE}"
            + "".join(f", rows.{name(column)}" for column in found)
            + f" FROM (SELECT *, file_row_number FROM {files}) AS rows JOIN (VALUES {places}) AS places (path, batch, file)"
            f" ON rows.{FILE} = places.path"
        )
        return Opened(found, lambda _: query, lambda: reading.rows)

    @staticmethod
    def _schemas(batch: Batch) -> dict[str, pa.Schema]:
        schemas = {}
        for file in batch.manifest.files:
            try:
                schemas[file.name] = pq.read_schema(batch.path(file)).remove_metadata()
            except (pa.ArrowException, OSError) as error:
                raise batch.refuse(file.name, f"is no readable Parquet: {str(error).splitlines()[0]}", SEND_AGAIN) from error
            check_names(batch, file, schemas[file.name].names, "its schema")
        return schemas


_NO_ROWS: Final = (
    f"SELECT NULL::VARCHAR AS {BATCH}, NULL::VARCHAR AS {FILE}, NULL::BIGINT AS {LINE}, NULL::VARCHAR AS {DELIVERED},"
    f" NULL AS {RECORD}, NULL::VARCHAR AS {UNREADABLE} WHERE false"
)

FORMATS: Final[Mapping[str, Format]] = {
    "ndjson": Ndjson(),
    "json": Json(),
    "csv": Headed(csv_dialect, None, is_stream=True),
    "xlsx": Headed(workbook_header, workbook_records, is_stream=False),
    "xml": Headed(declared_columns, markup_records, is_stream=True),
    "dsr": Headed(report_columns, report_records, is_stream=True),
    "parquet": Parquet(),
    "arrow": Arrow(),
}
