"""Sources of kind `database`: the rows of a table or of one SELECT, typed, as Parquet.

PostgreSQL is read through its door, `nocturne.postgres` (ADBC); every other database through SQLAlchemy, with the driver that the
connection names. Rows come as a stream of one statement, so of one snapshot, in a transaction that cannot write, and memory holds a few
thousand of them at a time. Without a watermark the batch is the state of the night; with one, what is new since the last batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.asking import Watermark, checked_query
from nocturne.errors import DeliveryError, NocturneError, SourceUnavailable
from nocturne.landing.batches import Shelf, Staged, Taken, seal
from nocturne.landing.connections import Connection
from nocturne.landing.ranges import Reach, greatest, marked, not_ahead, reach, reduced
from nocturne.ledger import Mark
from nocturne.manifests import Range
from nocturne.postgres import ForeignError, Identifier, Selection, read_foreign
from nocturne.tenants import Source

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine
    from sqlalchemy import Connection as SqlConnection

_ROWS_AT_ONCE = 20_000
_POSTGRES = {"postgres", "postgresql"}
_DIALECTS = {"mariadb": "mysql", "mssql": "tsql", "postgresql": "postgres"}
_READ_ONLY = dict.fromkeys(("mysql", "mariadb", "oracle", "postgresql"), "SET TRANSACTION READ ONLY")
_SNAPSHOTS = ("SNAPSHOT", "REPEATABLE READ", "SERIALIZABLE")


def take_database(shelf: Shelf, day: date, marks: Mapping[str, Mark], connection: Connection) -> Iterator[Taken]:
    """Take the state of the night, or what is new, unless it is taken; yields what the batch brought.

    Reads the database; writes a batch of Parquet, with the watermark in its manifest. Run again, it asks for nothing that stands; a run
    that was killed is begun again from the same watermark. Raises DeliveryError for what a person must look into, else SourceUnavailable.
    """
    if shelf.source.database is not None and shelf.source.database.watermark is not None:
        yield _take_new(shelf, day, shelf.source.database.watermark, marks.get(shelf.batch(day)), connection)
    else:
        yield _take_state(shelf, day, marks.get(shelf.batch(day)), connection)


def _take_state(shelf: Shelf, day: date, mark: Mark | None, connection: Connection) -> Taken:
    taken = Taken(is_there=True)
    newest = max(shelf.days(), default=day)
    same_as = mark.facts.get("same_as") if mark else None
    if shelf.holds(day) or newest > day or (same_as and shelf.holds(date.fromisoformat(same_as))):
        return taken
    with shelf.taking(f"{day.isoformat()}-database") as folder:
        found = _read(shelf, folder, connection, None, None)
        manifest = shelf.manifest(newest) if newest < day else None
        if manifest and [file.sha256 for file in manifest.files] == [file.sha256 for file in found.files]:
            facts = {"received_on": day.isoformat(), "same_as": newest.isoformat()}
            taken.marks = {shelf.batch(day): Mark(manifest.fingerprint, facts)}
            return taken
        if shelf.is_refused(day, found.files, taken):
            return taken
        manifest = shelf.put(day, found.files)
    taken.add(manifest, found.files)
    taken.marks = {manifest.batch: Mark(manifest.fingerprint, {"received_on": day.isoformat(), "rows": found.rows})}
    return taken


def _take_new(shelf: Shelf, day: date, watermark: Watermark, mark: Mark | None, connection: Connection) -> Taken:
    """The batch of what is new; none if nothing is, so that the next night, or this one again, asks from the same place."""
    started = datetime.now(UTC)
    wanted = None if shelf.holds(day) else reach(shelf, day, mark)
    if wanted is None:
        return Taken(is_there=True)
    begin, end = wanted.since(watermark.column), (wanted.until or {}).get(watermark.column)
    with shelf.taking(f"{day.isoformat()}-database") as folder:
        asked = reduced(watermark, begin) if begin is not None else watermark.start
        found = _read(shelf, folder, connection, asked, end)
        reached = greatest(watermark, [value for value in (found.greatest, begin) if value is not None])
        refused = Taken(is_there=True)
        if found.rows and shelf.is_refused(day, found.files, refused):
            return refused
        if not found.rows or _is_old(shelf, wanted, day, found):
            return Taken()
        if reached is None:
            raise _wrong(shelf, f"has no row with a value in {watermark.column}", "name another column in `watermark`")
        until = end or not_ahead(watermark, reached, started)
        manifest = shelf.put(day, found.files, ranges=[Range(part=watermark.column, since=begin, until=until)])
    taken = Taken(is_there=True, marks=marked(manifest, rows=found.rows))
    taken.add(manifest, found.files)
    if found.without_value:
        name = shelf.source.name
        taken.warnings.append(f"{name}: {found.without_value} rows have no {watermark.column}; such rows are taken every night")
    return taken


def _is_old(shelf: Shelf, wanted: Reach, day: date, found: _Found) -> bool:
    """Whether all that was found, within the overlap, is what the last batch holds too."""
    before = max((a_day for a_day in shelf.days() if a_day < day), default=None)
    manifest = shelf.manifest(before) if before and wanted.after else None
    return manifest is not None and [file.sha256 for file in manifest.files] == [file.sha256 for file in found.files]


# reading and writing -------------------------------------------------------------------------------------------------------------
@dataclass
class _Found:
    """What was read: files of rows, and of the watermark's column the greatest value and the number of rows without one."""

    files: list[Staged] = field(default_factory=list)
    greatest: str | None = None
    without_value: int = 0

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(file.rows or 0 for file in self.files)


def _read(shelf: Shelf, folder: Path, connection: Connection, since: str | None, until: str | None) -> _Found:
    """Write what is asked for below `folder`."""
    found = _Found()
    watermark = shelf.source.database.watermark if shelf.source.database else None
    rows = _postgres_rows if connection.scheme in _POSTGRES and "driver" not in connection.extra else _other_rows
    with _told(shelf), rows(shelf.source, connection, since, until) as batches:
        for path, count in _written(folder, _watched(shelf, found, watermark, batches)):
            size, sha256 = seal(path)
            origin = f"{connection.scheme}://{connection.host}/{connection.path}: {shelf.source.place}"
            found.files.append(Staged(path, path.name, origin, size, sha256, count))
    return found


def _watched(shelf: Shelf, found: _Found, watermark: Watermark | None, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches, while the greatest value of the watermark's column is kept in mind."""
    for batch in batches:
        if watermark is not None:
            if watermark.column not in batch.schema.names:
                raise _wrong(shelf, f"has no column {watermark.column}; it has {', '.join(batch.schema.names)}", "correct `watermark`")
            column = batch.column(watermark.column)
            found.without_value += column.null_count
            values = [] if found.greatest is None else [found.greatest]
            try:
                found.greatest = greatest(watermark, values + _candidates(watermark, column))
            except ValueError:
                raise _wrong(
                    shelf, f"has a row whose {watermark.column} is no {watermark.type}", "correct `type` of the watermark"
                ) from None
        yield batch


def _candidates(watermark: Watermark, column: pa.Array) -> list[str]:
    """Values of a column among which its greatest is, as text."""
    if pa.types.is_string(column.type) and watermark.type != "text":  # whose order is not that of the letters
        return [str(value) for value in pc.unique(column.drop_null()).to_pylist()]
    value = pc.max(column).as_py() if column.null_count < len(column) else None
    return [] if value is None else [value.isoformat() if isinstance(value, date) else str(value)]


def _written(folder: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[Path, int]]:
    """Write batches as Parquet, each file of one schema; yields the files, and the rows in each. Without any row there is no file."""
    with ExitStack() as stack:
        writer, path, rows = None, folder, 0
        for number, batch in enumerate(batches, start=1):
            fitting = _fitted(batch, writer.schema) if writer else None
            if writer is None or fitting is None:
                if writer is not None:
                    writer.close()
                    yield path, rows
                path, rows, fitting = folder / f"rows-{number:05}.parquet", 0, batch
                writer = stack.enter_context(pq.ParquetWriter(path, batch.schema, compression="zstd"))
            writer.write_batch(fitting)
            rows += batch.num_rows
        if writer is not None:
            writer.close()
            yield path, rows


def _fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch | None:
    """The batch with the types of `schema`; None if it would lose by it."""
    kinds = zip(batch.schema.types, schema.types, strict=True)
    safe = all(mine == its or pa.types.is_null(mine) or (pa.types.is_integer(mine) and pa.types.is_float64(its)) for mine, its in kinds)
    try:
        return batch.cast(schema) if safe else None
    except pa.ArrowInvalid:
        return None


# PostgreSQL ----------------------------------------------------------------------------------------------------------------------
@contextmanager
def _postgres_rows(source: Source, connection: Connection, since: str | None, until: str | None) -> Iterator[Iterator[pa.RecordBatch]]:
    assert source.database is not None  # noqa: S101 (the tenant's file says so of this kind)
    watermark = source.database.watermark
    if source.database.query is not None:
        query = checked_query(source.database.query, "postgres")
    else:
        query = f"SELECT * FROM {Identifier(*str(source.database.table).split('.')).as_string()}"
    with read_foreign(postgres_uri(connection), Selection(query, watermark.column if watermark else None, since, until)) as reader:
        yield (batch for batch in reader if batch.num_rows)


def postgres_uri(connection: Connection) -> str:
    """The URI of a connection; of its extra fields those of TLS and time are heard. Holds the password: never log it."""
    host = f"[{connection.host}]" if ":" in connection.host else quote(connection.host)
    login = quote(connection.login or "", safe="") + (f":{quote(connection.password, safe='')}" if connection.password else "")
    heard = {name: str(value) for name, value in connection.extra.items() if name.startswith(("ssl", "keepalives", "target_session"))}
    query = urlencode({"connect_timeout": "10", "application_name": "nocturne", **heard})
    port = f":{connection.port}" if connection.port else ""
    return f"postgresql://{login}{'@' if login else ''}{host}{port}/{quote(connection.path, safe='')}?{query}"


# every other database ------------------------------------------------------------------------------------------------------------
@contextmanager
def _other_rows(source: Source, connection: Connection, since: str | None, until: str | None) -> Iterator[Iterator[pa.RecordBatch]]:
    """Rows through SQLAlchemy, by a cursor on the server's side where the driver has one."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    engine = create_engine(_url(connection), poolclass=NullPool)
    with engine.connect() as opened:
        _begin(engine, opened)
        statement, values = _statement(source, engine, since, until)
        streamed = {"stream_results": True, "max_row_buffer": _ROWS_AT_ONCE}
        result = opened.execute(text(statement), values, execution_options=streamed)
        names, decimals = list(result.keys()), _decimals(result.cursor)
        if len(set(names)) < len(names):
            raise ForeignError("the query has two columns of one name", may_pass=False)
        yield (_batch(names, decimals, [tuple(row) for row in part]) for part in result.partitions(_ROWS_AT_ONCE))


def _url(connection: Connection) -> URL:
    from sqlalchemy import URL

    driver = str(connection.extra.get("driver") or connection.scheme)
    if driver.partition("+")[0] == "sqlite":
        place = connection.path or connection.host
        return URL.create(driver, database=f"file:{quote(place)}", query={"mode": "ro", "uri": "true"})
    heard = {name: str(value) for name, value in connection.extra.items() if name.startswith(("ssl", "charset"))}
    return URL.create(
        driver, connection.login, connection.password, connection.host or None, connection.port, connection.path or None, heard
    )


def _begin(engine: Engine, opened: SqlConnection) -> None:
    """Begin a transaction that sees one state of the database and cannot write, as far as it knows such."""
    from sqlalchemy import text

    if engine.dialect.name == "sqlite":
        return  # it was opened for reading alone, and one statement is one snapshot
    known = engine.dialect.get_isolation_level_values(opened.connection.dbapi_connection)  # type: ignore[arg-type]
    if level := next((level for level in _SNAPSHOTS if level in known), None):
        opened.execution_options(isolation_level=level)
    if engine.dialect.name in _READ_ONLY:
        opened.execute(text(_READ_ONLY[engine.dialect.name]))


def _statement(source: Source, engine: Engine, since: str | None, until: str | None) -> tuple[str, dict[str, Any]]:
    declared, quoted = source.database, engine.dialect.identifier_preparer.quote_identifier
    assert declared is not None  # noqa: S101 (the tenant's file says so of this kind)
    if declared.query is not None:
        spoken = _DIALECTS.get(engine.dialect.name, engine.dialect.name)
        if spoken != declared.dialect:
            raise ForeignError(f"the database speaks {spoken}, and the query was checked as {declared.dialect}", may_pass=False)
        query = checked_query(declared.query, declared.dialect).replace(":", r"\:")
    else:
        query = f"SELECT * FROM {'.'.join(map(quoted, str(declared.table).split('.')))}"
    mark = declared.watermark
    values = {name: _bound(mark, engine.dialect.name, value) for name, value in (("since", since), ("until", until)) if mark and value}
    if mark is None or not values:
        return query, {}
    column = quoted(mark.column)
    tests = " AND ".join(f"{column} {'>=' if name == 'since' else '<='} :{name}" for name in values)
    return f"SELECT * FROM ({query}) taken WHERE ({tests}) OR {column} IS NULL", values


def _bound(watermark: Watermark | None, dialect: str, value: str) -> Any:
    """A watermark's value as the driver takes it. SQLite keeps instants as text."""
    if watermark is None or watermark.type == "text" or (watermark.type == "instant" and dialect == "sqlite"):
        return value
    if watermark.type == "instant":
        return datetime.fromisoformat(value)
    number = Decimal(value)
    return int(number) if number == number.to_integral_value() else float(number) if dialect == "sqlite" else number


def _decimals(cursor: Any) -> dict[str, pa.DataType]:
    """The columns of which the driver says how many digits they have."""
    found = {}
    for name, _, _, _, precision, scale, *_ in getattr(cursor, "description", None) or ():
        if isinstance(precision, int) and isinstance(scale, int) and 0 <= scale <= precision <= 38 and precision:
            found[name] = pa.decimal128(precision, scale)
    return found


def _batch(names: list[str], decimals: Mapping[str, pa.DataType], rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True))
    return pa.RecordBatch.from_arrays([_column(values, decimals.get(name)) for name, values in zip(names, columns, strict=True)], names)


def _column(values: tuple[Any, ...], decimal: pa.DataType | None) -> pa.Array:
    """Values with the type that they have in common; as text if they have none, and if they are decimals of any number of digits."""
    kinds = {type(value) for value in values if value is not None}
    if decimal is not None and kinds == {Decimal}:
        return pa.array(values, decimal)
    if Decimal not in kinds:
        try:
            return pa.array(values)
        except (pa.ArrowException, OverflowError):
            pass  # they are of several types, or of one that Arrow lacks
    return pa.array([value if value is None or isinstance(value, str) else str(value) for value in values], pa.string())


# errors --------------------------------------------------------------------------------------------------------------------------
@contextmanager
def _told(shelf: Shelf) -> Iterator[None]:
    """Turn what a database or its driver says into errors of ours, without what rows or connections hold."""
    try:
        yield
    except (NocturneError, OSError):
        raise
    except ForeignError as error:
        what, may_pass = str(error), error.may_pass
    except Exception as error:
        if not type(error).__module__.startswith("sqlalchemy"):
            raise
        what, may_pass = _said(error)
    else:
        return
    if may_pass:
        raise SourceUnavailable(
            f"Source {shelf.source.name}: its database gave no rows: {what}.",
            next_step="Nothing, if that database is up again soon: the task is tried again by itself.",
            tenant=shelf.tenant.slug,
        ) from None
    raise _wrong(shelf, f"cannot be read: {what}", "correct the connection, its user's rights, or the source's `database`") from None


def _said(error: Exception) -> tuple[str, bool]:
    """(what SQLAlchemy or the driver says, whether that may pass)."""
    from sqlalchemy import exc

    if not isinstance(error, exc.DBAPIError):
        return f"{type(error).__name__}, so the connection's type or its extra field `driver` names no driver that is installed", False
    if isinstance(error, exc.DataError):
        return "a value of the rows is none of its type", False
    may_pass = error.connection_invalidated or isinstance(error, (exc.OperationalError, exc.InterfaceError))
    said = (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0]
    return said, may_pass and "no such" not in said and "syntax error" not in said


def _wrong(shelf: Shelf, what: str, next_step: str) -> DeliveryError:
    connection = shelf.tenant.connection_id(shelf.source.connection or "")
    return DeliveryError(
        f"Source {shelf.source.name}: {shelf.source.place} {what}.",
        next_step=f"{next_step[0].upper()}{next_step[1:]} (connection {connection}), then run `land` again.",
        tenant=shelf.tenant.slug,
    )
