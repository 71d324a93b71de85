"""The door to the lake: the only importer of deltalake and DuckDB.

    <lake>/<slug>/landing/<dataset>/...        raw bytes (see `manifests`)
    <lake>/<slug>/bronze/<dataset>             Delta, one partition a batch (`_batch` holds the batch's id, `<source>/<date>`)
    <lake>/<slug>/silver/<dataset>             Delta, one partition an event date; reference datasets: not partitioned
    <lake>/<slug>/quarantine/<dataset>         Delta, one partition a batch

Ask

    with duck(settings) as connection:                         # DuckDB: UTC, memory cap, threads, temporary files below var/
        silver = table(settings, tenant, "silver", "plays")
        connection.execute(f"SELECT count(*) FROM {silver.scan('play_id', parts=['2026-03-01'])}").fetchall()

`duck(settings, only=[folders])` reads and writes below these folders alone and its configuration is locked: for what is not trusted.
`limited(connection, seconds, doing="...")` interrupts what takes longer. Small results are taken with `fetchall()` (after a `fetchone()`
DuckDB refuses the connection's next statement), large ones leave through `reader(connection, query)` (Arrow).

Table
    exists() version() history() partitions() files()      what stands, from the Delta log alone
    scan(*columns, parts=None)                             SQL text for FROM; a table that does not exist yet is an empty one
    replace(connection, query, parts)                      the rows of `query` are all that `parts` hold afterwards: one commit
    write(...) and commit(written, parts)                  the same in two steps, to look at the rows before they count
    delete(parts) optimise() cluster(...) vacuum(hours)

Data are written as Parquet by DuckDB and committed as Delta add actions: a reader sees the old rows of the parts or the new ones. A
writer that is killed before its commit leaves files that no version names; `vacuum` removes them.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar
from urllib.parse import quote, unquote

import duckdb

from nocturne.datasets import DATASETS, Dataset
from nocturne.errors import DiskFull, NocturneError, PermanentError, TransientError
from nocturne.settings import Settings
from nocturne.tenants import Tenant

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

Connection = duckdb.DuckDBPyConnection
QueryError = duckdb.Error
Layer = Literal["bronze", "silver", "quarantine"]
BATCH: Final = "_batch"

at_write: Callable[[str], None] = lambda _what: None  # noqa: E731
"""Called with what was done at every boundary of a write. A test that kills the process at each of them puts itself here."""

Item = TypeVar("Item")
Done = TypeVar("Done")

_COMMIT_ATTEMPTS: Final = 20
GROUP_ROWS: Final = 61_440
_PARQUET: Final = (
    f"FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {GROUP_ROWS},"
    " DICTIONARY_SIZE_LIMIT 1000, RETURN_STATS"
)
"""Row groups of half of DuckDB's usual size: they are what threads share, and a day of most services has few. How the second version
packs instants, numbers and identifiers takes a quarter less time to write and a sixth less room. A column of more values than that in a
group of rows is not worth a dictionary, which identifiers would fill in vain."""

_CLUSTERED: Final = "-clustered"
"""How the name of a data file ends that holds the rows of another one, whose name goes before, in order."""
_CLUSTERED_AT_ONCE: Final = 32


# DuckDB ------------------------------------------------------------------------------------------------------------------------
def duck(settings: Settings, *, only: Sequence[Path] = (), memory: str | None = None, threads: int | None = None) -> Connection:
    """Open a DuckDB in memory: instants in UTC, a memory cap, temporary files below `var/tmp`.

    With `only`, it reaches no file outside of these folders, loads no extension, and none of this can be changed any more. Close it
    (it is a context manager).
    """
    temporary = settings.var / "tmp" / "duckdb" / uuid.uuid4().hex
    temporary.parent.mkdir(parents=True, exist_ok=True)  # DuckDB makes the last folder alone, and only when it spills
    connection = duckdb.connect(
        config={
            "memory_limit": memory or settings.duckdb_memory,
            "threads": threads or settings.threads,
            "temp_directory": str(temporary),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    connection.execute("SET GLOBAL TimeZone = 'UTC'")  # global: for those that `at_once` opens beside it too
    if only:
        folders = ", ".join(text(f"{folder.resolve()}/") for folder in only)
        connection.execute(f"SET allowed_directories = [{folders}]")
        connection.execute(f"SET allowed_paths = [{', '.join(text(folder.resolve()) for folder in only)}]")  # COPY names the folder itself
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    return connection


def at_once(connection: Connection, work: Callable[[Connection, Item], Done], items: Sequence[Item]) -> Iterator[Done]:
    """`work` of each item, as they come to be done, on as many connections to the same DuckDB as it has threads.

    One query leaves threads idle where it opens a file, sorts its last rows or closes a file; another one fills them. They share the memory
    cap. What `work` raises is raised here; items that were not begun are left.
    """
    count = min(len(items), int(connection.execute("SELECT current_setting('threads')").fetchall()[0][0]))
    if count < 2:
        yield from (work(connection, item) for item in items)
        return
    idle: SimpleQueue[Connection] = SimpleQueue()
    for _ in range(count):
        idle.put(connection.cursor())

    def run(item: Item) -> Done:
        own = idle.get()
        try:
            return work(own, item)
        finally:
            idle.put(own)

    pool = ThreadPoolExecutor(count, thread_name_prefix="at once")
    try:
        for done in as_completed([pool.submit(run, item) for item in items]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)
        for _ in range(count):
            idle.get().close()


@contextmanager
def limited(connection: Connection, seconds: float, *, doing: str, tenant: Tenant | None = None) -> Iterator[None]:
    """Interrupt what the block runs on `connection` after `seconds`.

    Raises PermanentError if the time was over or the memory cap was reached, DiskFull if there was no space left.
    """
    over = threading.Event()
    ended = threading.Event()

    def interrupt() -> None:
        if ended.wait(seconds):
            return
        over.set()
        while not ended.wait(0.2):  # an interrupt between two statements would be lost
            connection.interrupt()

    watch = threading.Thread(target=interrupt, daemon=True, name="time limit")
    watch.start()
    try:
        yield
    except duckdb.Error as error:
        explained = _explained(error, doing, seconds if over.is_set() else None, tenant)
        if explained is None:
            raise
        raise explained from error
    finally:
        ended.set()
        watch.join()


def _explained(error: duckdb.Error, doing: str, seconds: float | None, tenant: Tenant | None) -> NocturneError | None:
    """What an error of DuckDB means to the people who run a night; None if it means nothing special."""
    slug = tenant.slug if tenant else None
    if seconds is not None:
        return PermanentError(
            f"{doing} took longer than the {seconds:g} s allowed.",
            next_step="Simplify the mapping's expressions, or have the source deliver smaller files.",
            tenant=slug,
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return PermanentError(
            f"{doing} needed more memory than is allowed: {_first_line(error)}.",
            next_step="Raise NOCTURNE_DUCKDB_MEMORY, or have the source deliver smaller files.",
            tenant=slug,
        )
    return _disk_full(error, slug)


def reader(connection: Connection, query: str) -> pa.RecordBatchReader:
    """The rows of `query` as a stream of Arrow batches; valid while `connection` is open and runs nothing else."""
    return connection.sql(query).to_arrow_reader()


def text(value: str | Path) -> str:
    """An SQL string."""
    return "'" + str(value).replace("'", "''") + "'"


def name(value: str) -> str:
    """An SQL identifier."""
    return '"' + value.replace('"', '""') + '"'


# Delta -------------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Part:
    """What the current version holds of one partition (of the whole table, if it has none)."""

    rows: int
    files: int
    bytes: int


@dataclass(frozen=True)
class File:
    """A data file that was written; it counts once it is committed."""

    path: Path
    part: str | None
    rows: int
    bytes: int


@dataclass(frozen=True)
class Written:
    """Data files that await their commit."""

    files: tuple[File, ...]

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(file.rows for file in self.files)

    def discard(self) -> None:
        """Remove the files: they will not be committed."""
        for file in self.files:
            file.path.unlink(missing_ok=True)


def table(settings: Settings, tenant: Tenant, layer: Layer, dataset: Dataset | str) -> Table:
    """The Delta table of a dataset in a layer; it need not exist yet."""
    dataset = DATASETS[dataset] if isinstance(dataset, str) else dataset
    columns, partition = _LAYERS[layer](dataset)
    path = tenant.lake_folder(settings.lake_root) / layer / dataset.name
    return Table(f"{layer} {dataset.name} of {tenant.slug}", path, columns, partition)


@dataclass(frozen=True)
class Table:
    """One Delta table: `columns` are (name, DuckDB type), `partition` is the column that it is partitioned by."""

    title: str
    path: Path
    columns: tuple[tuple[str, str], ...]
    partition: str | None = None
    _opened: list[Any] = field(default_factory=list, repr=False, compare=False)
    _told: list[tuple[DeltaTable, int, list[File]]] = field(default_factory=list, repr=False, compare=False)

    # what stands
    def exists(self) -> bool:
        """Whether it was ever written."""
        return self._open() is not None

    def version(self) -> int | None:
        """The newest version; None if it does not exist."""
        delta = self._open()
        return None if delta is None else delta.version()

    def history(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Its commits, the newest first."""
        delta = self._open()
        return [] if delta is None else list(delta.history(limit))

    def files(self, parts: Iterable[str] | None = None) -> list[File]:
        """The data files of the newest version, those of `parts` alone if they are named."""
        delta = self._open()
        if delta is None:
            return []
        wanted = None if parts is None else set(parts)
        return [file for file in self._files(delta) if wanted is None or file.part in wanted]

    def partitions(self) -> dict[str, Part]:
        """What each partition holds, by its value as text; the whole table under "" if it has no partitions."""
        found: dict[str, Part] = {}
        for file in self.files():
            before = found.get(file.part or "", Part(0, 0, 0))
            found[file.part or ""] = Part(before.rows + file.rows, before.files + 1, before.bytes + file.bytes)
        return dict(sorted(found.items()))

    def scan(self, *columns: str, parts: Iterable[str] | None = None) -> str:
        """SQL text for FROM: these columns (default: all) of the newest version, of these parts (default: all).

        The files are fixed when the text is made: a later commit does not change what the query reads.
        """
        chosen = columns or [column for column, _ in self.columns]
        return f"(SELECT {', '.join(map(name, chosen))} FROM {self.rows_of(self.files(parts))})"

    def file_names(self, parts: Iterable[str]) -> dict[str, list[str]]:
        """The names of the data files of each of these parts, below the table's folder."""
        found: dict[str, list[str]] = {}
        for file in self.files(parts):
            found.setdefault(file.part or "", []).append(str(file.path.relative_to(self.path)))
        return found

    def has_files(self, names: Iterable[str]) -> bool:
        """Whether the rows of all these data files still stand, whichever version names them."""
        return all(self._standing(name).is_file() for name in names)

    def rows_of_names(self, names: Iterable[str]) -> str:
        """SQL text for FROM: all columns of these data files, whose rows must stand."""
        return self.rows_of(File(self._standing(name), None, 0, 0) for name in names)

    def rows_of(self, files: Iterable[File]) -> str:
        """SQL text for FROM: all columns of these data files, committed or not.

        A file that was written before a column was declared has NULL there; what was written as another type is cast, NULL where it
        does not fit.
        """
        paths = ", ".join(text(file.path) for file in files)
        if not paths:
            return f"({self._no_rows(dict(self.columns))})"
        hive = "hive_partitioning = false"
        if self.partition is not None:
            hive = f"hive_partitioning = true, hive_types = {{{text(self.partition)}: {dict(self.columns)[self.partition]}}}"
        written = f"SELECT * FROM read_parquet([{paths}], union_by_name = true, {hive})"
        declared = ", ".join(f"TRY_CAST({name(column)} AS {kind}) AS {name(column)}" for column, kind in self.columns)
        return f"(SELECT {declared} FROM ({written} UNION ALL BY NAME {self._no_rows(dict(self.columns))}))"

    # changing it
    def replace(self, connection: Connection, query: str, parts: Sequence[str] = ()) -> Written:
        """Make the rows of `query` all that `parts` hold (the whole table, if it has no partitions).

        Writes data files and one commit. Run again, it writes the same rows again. Raises what `write` and `commit` raise.
        """
        written = self.write(connection, query, parts)
        self.commit(written, parts)
        return written

    def write(self, connection: Connection, query: str, parts: Sequence[str] = ()) -> Written:
        """Write the rows of `query` as data files that await their `commit`.

        One part becomes one file, written by all threads; several parts are split by DuckDB. A part without rows gets no file. Raises
        DiskFull, or DuckDB's error.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        columns = ", ".join(name(column) for column, _ in self.columns if column != self.partition)
        if self.partition is None or len(parts) == 1:
            query, target, how = f"SELECT {columns} FROM ({query})", self._one_file(parts), _PARQUET
        else:
            query, target = f"SELECT {columns}, {name(self.partition)} FROM ({query})", self.path
            how = f"{_PARQUET}, PARTITION_BY ({name(self.partition)}), FILENAME_PATTERN '{{uuid}}', OVERWRITE_OR_IGNORE"
        with writing(self.title):
            done = connection.execute(f"COPY ({query}) TO {text(target)} ({how})").fetchall()
        files = [self._file(*row, parts=parts) for row in done]
        for file in files:
            if not file.rows:  # one file for one part is written even if there are no rows
                file.path.unlink()
        written = Written(tuple(file for file in files if file.rows))
        at_write(f"wrote {self.title}")
        return written

    def commit(self, written: Written, parts: Sequence[str] = ()) -> None:
        """Make `written` all that `parts` hold, in one commit; a part without files is empty afterwards.

        Writes one commit. A commit that meets another one is made again on the refreshed table. Raises TransientError if it meets
        others every time, DiskFull if no space is left.
        """
        if self.partition is not None and not parts:
            return
        self._commit(written, parts)
        at_write(f"committed {self.title}")

    def delete(self, parts: Sequence[str]) -> None:
        """Remove these parts, in one commit. Of a part that is not there it changes nothing."""
        there = sorted(set(parts) & set(self.partitions()))
        if there:
            self._commit(Written(()), there)
            at_write(f"deleted from {self.title}")

    def optimise(self) -> Mapping[str, Any]:
        """Merge small files of each part; what was done. Changes no row."""
        delta = self._open()
        done = {} if delta is None else delta.optimize.compact()
        at_write(f"merged files of {self.title}")
        return done

    def cluster(self, connection: Connection, by: str, *, above: int = GROUP_ROWS) -> int:
        """Put the rows of large files in the order of the column `by`, so that few groups of rows hold one of its values; how many files.

        Of files of more than `above` rows that are alone in their part and were not ordered before. Changes no row: those of a file stand
        in one of the same name and `-clustered`. What is older stays until `vacuum`. Parts that another writer commits to meanwhile
        are left to the next time. Raises DiskFull.
        """
        loose = [file for file in self._alone() if file.rows > above and not file.path.stem.endswith(_CLUSTERED)]
        chunks = (loose[start : start + _CLUSTERED_AT_ONCE] for start in range(0, len(loose), _CLUSTERED_AT_ONCE))
        return sum(self._cluster(connection, by, chunk) for chunk in chunks)

    def vacuum(self, hours: float = 168) -> list[str]:
        """Remove the files that no version younger than `hours` names, those of killed writers among them; their names."""
        delta = self._open()
        if delta is None:
            return []

        def vacuum(*, dry_run: bool) -> list[str]:
            return list(delta.vacuum(retention_hours=int(hours), enforce_retention_duration=False, dry_run=dry_run, full=True))

        # Of files that went before it tells again, for as long as the log tells of them; without any, it would commit that it did nothing.
        # It tells some names as they stand in the log, which quotes them, and some as they stand on the disk.
        told = {form for name in vacuum(dry_run=True) for form in (name, unquote(name))}
        there = [path for path in map(self.path.joinpath, told) if path.exists()]
        if there:
            vacuum(dry_run=False)
            at_write(f"removed files of {self.title}")
        return sorted(str(path.relative_to(self.path)) for path in there)

    # within
    @staticmethod
    def _no_rows(columns: Mapping[str, str]) -> str:
        return f"SELECT {', '.join(f'NULL::{kind} AS {name(column)}' for column, kind in columns.items())} WHERE false"

    def _open(self) -> DeltaTable | None:
        """The newest version: what was opened before reads only the commits that came since."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        delta: DeltaTable | None = self._opened[0] if self._opened else None
        try:
            if delta is not None:
                delta.update_incremental()
        except DeltaError:  # it was removed, or made anew
            delta = None
        try:
            delta = delta or DeltaTable(str(self.path))
        except TableNotFoundError:
            delta = None
        self._opened[:] = [delta] if delta else []
        return delta

    def _create(self) -> DeltaTable:
        from deltalake import DeltaTable

        by = [self.partition] if self.partition else None
        return DeltaTable.create(str(self.path), _delta_schema(self.columns), mode="ignore", partition_by=by, name=self.title)

    def _files(self, delta: DeltaTable) -> list[File]:
        """All data files of a version, which are many in a long history: told once of each version."""
        told = next(iter(self._told), None)
        if told is None or told[:2] != (delta, delta.version()):
            told = delta, delta.version(), self._files_of(delta)
            self._told[:] = [told]
        return told[2]

    def _files_of(self, delta: DeltaTable) -> list[File]:
        import pyarrow as pa

        actions = pa.table(delta.get_add_actions(flatten=True))
        values = actions[f"partition.{self.partition}"].to_pylist() if self.partition else [None] * len(actions)
        rows = zip(actions["path"].to_pylist(), values, actions["num_records"].to_pylist(), actions["size_bytes"].to_pylist(), strict=True)
        found = [File(self.path / unquote(path), _as_part(value), count, size) for path, value, count, size in rows]
        return sorted(found, key=lambda file: (file.part or "", str(file.path)))

    def _alone(self) -> list[File]:
        """The data files that are all that their parts hold."""
        parts = self.partitions()
        return [file for file in self.files() if parts[file.part or ""].files == 1]

    def _standing(self, name: str) -> Path:
        """Where the rows of this data file are: in itself, or, once it was removed, in the one that holds them in order."""
        path = self.path / name
        return path if path.is_file() else _clustered(path)

    def _cluster(self, connection: Connection, by: str, files: Sequence[File]) -> int:
        """Order the rows of these files, in one commit; how many."""
        from deltalake.exceptions import CommitFailedError

        delta = self._open()
        standing = {file.path for file in self._files(delta)} if delta else set()
        files = [file for file in files if file.path in standing]
        written = Written(tuple(at_once(connection, lambda own, file: self._in_order(own, by, file), files)))
        at_write(f"wrote {self.title} in order")
        try:  # from the version whose files were read: a commit that came since and touches a part of theirs makes this one fail
            if delta and files:
                self._transact(delta, written, [file.part for file in files if file.part], changes_rows=False)
        except CommitFailedError:
            written.discard()
            return 0
        at_write(f"ordered {self.title}")
        return len(files)

    def _in_order(self, connection: Connection, by: str, file: File) -> File:
        """Write the rows of a file in the order of a column, those of one value as they stood."""
        rows = f"read_parquet({text(file.path)}, file_row_number = true, hive_partitioning = false)"
        query = f"SELECT * EXCLUDE (file_row_number) FROM {rows} ORDER BY {name(by)}, file_row_number"
        with writing(self.title):
            done = connection.execute(f"COPY ({query}) TO {text(_clustered(file.path))} ({_PARQUET})").fetchall()
        return self._file(*done[0], parts=[file.part] if file.part else [])

    def _one_file(self, parts: Sequence[str]) -> Path:
        folder = self.path / f"{self.partition}={quote(parts[0], safe='')}" if parts else self.path
        folder.mkdir(exist_ok=True)
        return folder / f"{uuid.uuid4()}.parquet"

    def _file(self, path: str, rows: int, size: int, *rest: Any, parts: Sequence[str]) -> File:
        keys: Mapping[str, str] | None = rest[2]
        part = keys[self.partition] if keys and self.partition else (parts[0] if parts else None)
        return File(Path(path), part, rows, size)

    def _transact(self, delta: DeltaTable, written: Written, parts: Sequence[str], *, changes_rows: bool = True) -> None:
        """One attempt to commit. Raises CommitFailedError if it meets another commit."""
        actions = [_add_action(self, file, changes_rows=changes_rows) for file in written.files]
        filters = [(self.partition, "in", list(parts))] if self.partition else None
        by = [self.partition] if self.partition else None
        with writing(self.title):
            delta.create_write_transaction(actions, "overwrite", _delta_schema(self.columns), partition_by=by, partition_filters=filters)

    def _commit(self, written: Written, parts: Sequence[str]) -> None:
        from deltalake.exceptions import CommitFailedError

        for attempt in range(_COMMIT_ATTEMPTS):
            try:
                delta = self._open() or self._create()  # writers that meet before the first version also meet at its creation
                self._transact(delta, written, parts)
                return
            except CommitFailedError:
                time.sleep(0.01 * 2 ** min(attempt, 6))
        raise TransientError(
            f"{self.title}: {_COMMIT_ATTEMPTS} commits in a row met another writer's.",
            next_step="Nothing: the task is tried again by itself. If it stays, look for two runs of this tenant at once.",
        )


def _clustered(path: Path) -> Path:
    return path.with_stem(path.stem + _CLUSTERED)


def _add_action(table: Table, file: File, *, changes_rows: bool) -> Any:
    from deltalake.transaction import AddAction

    return AddAction(
        path=str(file.path.relative_to(table.path)),
        size=file.bytes,
        partition_values={table.partition: file.part} if table.partition else {},
        modification_time=int(time.time() * 1000),
        data_change=changes_rows,
        stats=json.dumps({"numRecords": file.rows}),
    )


def _as_part(value: Any) -> str | None:
    return value.isoformat() if isinstance(value, date) else value


def _delta_schema(columns: Iterable[tuple[str, str]]) -> Any:
    from deltalake import Field, Schema
    from deltalake.schema import ArrayType, PrimitiveType

    primitive = {
        "VARCHAR": "string", "BIGINT": "long", "DOUBLE": "double", "DECIMAL(18,6)": "decimal(18,6)", "BOOLEAN": "boolean",
        "TIMESTAMPTZ": "timestamp", "DATE": "date",
    }  # fmt: skip
    kinds = {kind: PrimitiveType(delta) for kind, delta in primitive.items()} | {
        "VARCHAR[]": ArrayType(PrimitiveType("string"), contains_null=True)
    }
    return Schema([Field(column, kinds[kind]) for column, kind in columns])


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn what the block raises when no space is left into DiskFull, which says what could not be written."""
    try:
        yield
    except Exception as error:
        full = None if isinstance(error, NocturneError) else _disk_full(error, None, what)
        if full is None:
            raise
        raise full from error


def _disk_full(error: Exception, tenant: str | None, what: str = "the lake") -> DiskFull | None:
    if "No space left on device" not in str(error) and "max_temp_directory_size" not in str(error):
        return None
    return DiskFull(
        f"No space is left to write {what}: {_first_line(error)}.",
        next_step="Free space below var/ (the DAG `<tenant>__maintenance` does, weekly); the task is tried again by itself.",
        tenant=tenant,
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


# what each layer holds -----------------------------------------------------------------------------------------------------------
Shape = tuple[tuple[tuple[str, str], ...], str | None]


def _bronze(dataset: Dataset) -> Shape:
    """Rows as mapped, and where landing holds them as delivered; `_delivered`: the text of those that `rules` refuses alone.

    `_key` and `_content` are hashes of the key and of the mapped row.
    """
    ours = (
        (BATCH, "VARCHAR"), ("_received_on", "DATE"), ("_file", "VARCHAR"), ("_line", "BIGINT"), ("_delivered", "VARCHAR"),
        ("_problems", "VARCHAR[]"), ("_is_bad", "BOOLEAN"), ("_key", "BIGINT"), ("_content", "BIGINT"), ("_event_on", "DATE"),
    )  # fmt: skip
    return ours + tuple((column.name, column.type.value) for column in dataset.columns), BATCH


def _silver(dataset: Dataset) -> Shape:
    return tuple((column, kind.value) for column, kind, _ in dataset.silver_columns), dataset.event_date


def _quarantine(_dataset: Dataset) -> Shape:
    ours = (
        (BATCH, "VARCHAR"), ("_received_on", "DATE"), ("_file", "VARCHAR"), ("_line", "BIGINT"), ("_event_on", "DATE"),
        ("reasons", "VARCHAR[]"), ("_delivered", "VARCHAR"),
    )  # fmt: skip
    return ours, BATCH


_LAYERS: Final[Mapping[Layer, Callable[[Dataset], Shape]]] = {"bronze": _bronze, "silver": _silver, "quarantine": _quarantine}
