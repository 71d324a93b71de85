"""Which data files of bronze may hold some of a few keys, without reading them.

    <lake>/<slug>/bronze/.keys/<dataset>/<data file's name>.keys     the first 32 bits of each key of that file, in order

A data file never changes, so what is kept of it is right for as long as it stands, and can be made again at any time: it is written
behind the file or when it is first missed, and `sweep_keys` removes it when the file is gone. Two keys may share these bits, so a file is
never said to hold a key, only not to.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nocturne import lake
from nocturne.lake import Connection, File, Table
from nocturne.manifests import write_whole

if TYPE_CHECKING:
    import numpy as np

    Bits = np.ndarray[Any, np.dtype[np.uint32]]

_FOLDER: Final = ".keys"
_ENDING: Final = ".keys"
_BITS: Final = "(_key >> 31)::UINTEGER"
"""Keys are 63 bits of a hash."""
_WORTH: Final = 1 << 30
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
    sought = _fetched(connection, f"SELECT {_BITS} AS bits FROM ({query}) WHERE _key IS NOT NULL LIMIT {few + 1}")
    if len(sought) > few:
        return files
    sought.sort()
    space = np.empty(most, np.uint32)
    return [file for file in files if _share(sought, _kept(connection, bronze, file, space))]


def keep_keys(connection: Connection, bronze: Table, files: Iterable[File]) -> None:
    """Keep the keys of those of these data files of which nothing is kept yet. Raises DiskFull."""
    for file in files:
        if not _place(bronze, file).exists():
            _keep(connection, bronze, file)


def sweep_keys(bronze: Table) -> int:
    """Remove what is kept of data files that stand no more; how many."""
    standing = {f"{path.name}{_ENDING}" for path in bronze.path.rglob("*.parquet")}
    gone = [path for path in _folder(bronze).glob("*") if path.name not in standing]
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)


def _share(sought: Bits, kept: Bits) -> bool:
    if not len(kept) or not len(sought):
        return False
    places = kept.searchsorted(sought).clip(max=len(kept) - 1)
    return bool((kept[places] == sought).any())


def _kept(connection: Connection, bronze: Table, file: File, space: Bits) -> Bits:
    """What is kept of a file; in `space`, which is for all files: new memory for each costs more than what is read into it."""
    try:
        with _place(bronze, file).open("rb", buffering=0) as kept:
            return space[: kept.readinto(space.data) // space.itemsize]
    except FileNotFoundError:
        return _keep(connection, bronze, file)


def _keep(connection: Connection, bronze: Table, file: File) -> Bits:
    bits = _fetched(connection, f"SELECT {_BITS} AS bits FROM {bronze.rows_of([file])} WHERE _key IS NOT NULL")
    bits.sort()
    path = _place(bronze, file)
    with lake.writing(f"the keys of {bronze.title}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, bits.tobytes())
    lake.at_write(f"kept the keys of a file of {bronze.title}")
    return bits


def _fetched(connection: Connection, query: str) -> Bits:
    import numpy as np

    return np.array(connection.execute(query).fetchnumpy()["bits"], np.uint32)


def _place(bronze: Table, file: File) -> Path:
    return _folder(bronze) / f"{file.path.name}{_ENDING}"


def _folder(bronze: Table) -> Path:
    return bronze.path.parent / _FOLDER / bronze.path.name
