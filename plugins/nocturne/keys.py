"""Which data files of bronze may hold some of a few keys, without reading them.

    <lake>/<slug>/bronze/.keys/<dataset>/<data file's name>.bits     the first 40 bits of each key of that file, in their order:
                                                                     of all keys the first 32, then of all the other 8

A data file never changes, so what is kept of it is right for as long as it stands, and can be made again at any time: it is written
behind the file or when it is first missed, and `sweep_keys` removes it when the file is gone. Two keys may share these bits, so a file is
never said to hold a key, only not to. The first 32 bits rule nearly every file out, and the others are seldom read; of 365 files of
200,000 keys they leave some fifteen that hold none of 1,000 keys that are sought, the other 8 of these hardly one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nocturne import lake
from nocturne.lake import Connection, File, Table
from nocturne.manifests import write_whole

if TYPE_CHECKING:
    import numpy as np

    Bits = np.ndarray[Any, np.dtype[np.uint64]]
    High = np.ndarray[Any, np.dtype[np.uint32]]
    Low = np.ndarray[Any, np.dtype[np.uint8]]

_FOLDER: Final = ".keys"
_ENDING: Final = ".bits"
_BITS: Final = "(_key >> 23)::UBIGINT"
"""Keys are 63 bits of a hash."""
_WORTH: Final = 1 << 38
"""Keys sought times keys of a file: beyond it, one of four files would be taken to hold what it does not."""
_FEW: Final = 20_000
"""Keys sought: beyond it, reading a file is cheaper."""


def files_that_may_hold(connection: Connection, bronze: Table, query: str, files: Iterable[File]) -> list[File]:
    """Those of these data files that may hold a `_key` of `query`.

    Reads what is kept of the files' keys, and writes it for files of which nothing is kept yet. More keys than are worth it are sought in
    no file: then all may hold them. Raises DiskFull.
    """
    import numpy as np

    files = list(files)
    most = max((file.rows for file in files), default=1)
    few = min(_FEW, _WORTH // most)
    bits = _fetched(connection, f"SELECT {_BITS} AS bits FROM ({query}) WHERE _key IS NOT NULL LIMIT {few + 1}")
    if len(bits) > few:
        return files
    sought, space = _halves(bits), np.empty(most, np.uint32)
    return [file for file in files if _may_hold(connection, bronze, file, sought, space)]


def keep_keys(connection: Connection, bronze: Table, files: Iterable[File]) -> None:
    """Keep the keys of those of these data files of which nothing is kept yet. Raises DiskFull."""
    for _ in lake.at_once(connection, lambda own, file: _kept(own, bronze, file), list(files)):
        pass


def sweep_keys(bronze: Table) -> int:
    """Remove what is kept of data files that stand no more; how many."""
    standing = {f"{path.name}{_ENDING}" for path in bronze.path.rglob("*.parquet")}
    gone = [path for path in _folder(bronze).glob("*") if path.name not in standing]
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)


def _halves(bits: Bits) -> tuple[High, Low]:
    """The first 32 bits and the other 8, in the order of all 40."""
    import numpy as np

    bits.sort()
    return (bits >> np.uint64(8)).astype(np.uint32), bits.astype(np.uint8)


def _may_hold(connection: Connection, bronze: Table, file: File, sought: tuple[High, Low], space: High) -> bool:
    """Whether a file may hold what is sought; `space` is for all files: new memory for each costs more than what is read into it."""
    import numpy as np

    with _kept(connection, bronze, file).open("rb", buffering=0) as kept:
        count = os.fstat(kept.fileno()).st_size // 5
        high = space[: kept.readinto(memoryview(space.data).cast("B")[: 4 * count]) // 4]
        if not count or not len(sought[0]):
            return False
        found = high.searchsorted(sought[0])
        alike = (high[found.clip(max=count - 1)] == sought[0]).nonzero()[0]
        if not len(alike):
            return False
        low = np.frombuffer(kept.read(), np.uint8)
    ends = high.searchsorted(sought[0][alike], "right")
    return any(sought[1][one] in low[found[one] : end] for one, end in zip(alike, ends, strict=True))


def _kept(connection: Connection, bronze: Table, file: File) -> Path:
    """Where the keys of a file are kept; kept now, if they were not."""
    path = _folder(bronze) / f"{file.path.name}{_ENDING}"
    if not path.exists():
        _keep(connection, bronze, file, path)
    return path


def _keep(connection: Connection, bronze: Table, file: File, path: Path) -> None:
    high, low = _halves(_fetched(connection, f"SELECT {_BITS} AS bits FROM {bronze.rows_of([file])} WHERE _key IS NOT NULL"))
    with lake.writing(f"the keys of {bronze.title}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, high.tobytes() + low.tobytes())
    lake.at_write(f"kept the keys of a file of {bronze.title}")


def _fetched(connection: Connection, query: str) -> Bits:
    import numpy as np

    return np.array(connection.execute(query).fetchnumpy()["bits"], np.uint64)


def _folder(bronze: Table) -> Path:
    return bronze.path.parent / _FOLDER / bronze.path.name
