"""Archives as files: each member of a zip or tar in a delivery becomes a file of its own, `<archive>!<member>`.

Data flow: landing -> a scratch folder below `var/tmp`, for as long as its batch is read. A member is written there under a number, never
under its own name. Refused, by name: archives in archives; names that are absolute or lead upwards; links, devices and holes; members
that are encrypted, packed in a rare way or named twice; archives that end in the middle, hold no file, or unpack to too much.
Left out: folders and hidden members (what macOS adds), as hidden files are left out at the source.
"""

from __future__ import annotations

import errno
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, NoReturn, Self

from nocturne.at_rest import as_file
from nocturne.bronze.reading import BLOCK, SEND_AGAIN, Batch
from nocturne.bronze.unpacking import HEAD, Allowance, Raw, UnpackingError, compression, unpacked
from nocturne.errors import DiskFull
from nocturne.manifests import Delivered

MAX_MEMBERS: Final = 10_000
_MAX_DIRECTORY: Final = 16 << 20
_MAX_EXTENSION: Final = 1 << 20
_WORKBOOK: Final = "xl/workbook.xml"
_EXTENSIONS: Final = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_AS_FILES: Final = "Have its files delivered plain, or in a zip or tar of plain files."

Members = Iterator[tuple[str, Iterator[bytes]]]
"""(name, content) of the files in an archive; each content is read before the next one is asked for."""


@contextmanager
def scratch_of(folder: Path) -> Iterator[Path]:
    """A scratch folder, empty at first (what a killed run left is removed) and gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def without_archives(batch: Batch, scratch: Path, *, plain: bool) -> Batch:
    """The batch with the members of its archives as files; with `plain`, its compressed files are unpacked too.

    `plain` is for formats that are not read as streams. Writes below `scratch`, which must be empty. Raises DeliveryError for an
    archive that cannot be read or is not safe, and DiskFull.
    """
    files: list[Delivered] = []
    places: dict[str, Path] = {}
    for file in batch.manifest.files:
        found = _Unpacked(batch, file, scratch, plain=plain, first=len(places))
        with _diagnosed(batch, file, scratch):
            found.run()
        files += found.files or [file]
        places |= found.places
    if not places:
        return batch
    manifest = batch.manifest.model_copy(update={"files": tuple(sorted(files, key=lambda file: file.name))})
    return replace(batch, manifest=manifest, places=places)


@contextmanager
def _diagnosed(batch: Batch, file: Delivered, scratch: Path) -> Iterator[None]:
    try:
        yield
    except UnpackingError as error:
        raise batch.refuse(file.name, error.what, error.next_step or SEND_AGAIN) from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFull(
                f"There is no space left below {scratch} to unpack {file.name}.",
                next_step="Make room there; the task is tried again by itself.",
                tenant=batch.tenant.slug,
            ) from error
        raise batch.refuse(file.name, f"cannot be unpacked: {error.strerror or error}", SEND_AGAIN) from error


@dataclass
class _Unpacked:
    """One delivered file: its members, if it is an archive; itself unpacked, if it must be plain; else nothing."""

    batch: Batch
    file: Delivered
    scratch: Path
    plain: bool
    first: int

    def __post_init__(self) -> None:
        self.raw = self.batch.raw(self.file)
        self.files: list[Delivered] = []
        self.places: dict[str, Path] = {}

    def run(self) -> None:
        """Write what is packed."""
        head = head_of(self.raw)
        if is_tar(head):
            self._take(_tar_members(unpacked(self.raw, BLOCK)))
        elif compression(self.raw.head()):
            self._run_compressed(head)
        elif is_zip(head):
            self._run_zip()
        elif self.plain and self.batch.is_sealed(self.file):
            self._write(self.file.name, unpacked(self.raw, BLOCK))

    def _run_zip(self) -> None:
        path = self.batch.path(self.file)
        if self.batch.is_sealed(self.file):
            path = self.scratch / f"{self.first}.zip"
            _copy(unpacked(self.raw, BLOCK), path)
        with zip_of(path) as archive:
            if _WORKBOOK not in archive.NameToInfo:
                self._take(_zip_members(archive, Allowance(self.file.bytes)))
        if not self.places and self.plain and self.batch.is_sealed(self.file):
            self._write(self.file.name, unpacked(self.raw, BLOCK))

    def _run_compressed(self, head: bytes) -> None:
        if self.plain:
            self._write(self.file.name, unpacked(self.raw, BLOCK))
        if is_zip(head) and not (self.plain and is_workbook(self.places[self.file.name])):
            raise UnpackingError("is a compressed zip", _AS_FILES)

    def _take(self, members: Members) -> None:
        for member, content in members:
            name = f"{self.file.name}!{_safe(member)}"
            if name in self.places:
                raise UnpackingError(f"holds {_safe(member)} twice", "Have each file put into the archive once.")
            if len(self.places) == MAX_MEMBERS:
                raise UnpackingError(f"holds more than {MAX_MEMBERS} files", "Have it delivered in several archives.")
            self._write(name, content)
            self._check_member(name, member)
        if not self.places:
            raise UnpackingError("is an archive without a file")

    def _write(self, name: str, content: Iterator[bytes]) -> None:
        path = self.scratch / str(self.first + len(self.places))
        size = _copy(content, path)
        self.places[name] = path
        self.files.append(self.file.model_copy(update={"name": name, "bytes": size}))

    def _check_member(self, name: str, member: str) -> None:
        path = self.places[name]
        try:
            raw = Raw.at(path)
            head = head_of(raw)
            if is_tar(head) or (is_zip(head) and not is_workbook(path)):
                raise UnpackingError("is an archive", _AS_FILES)
            if self.plain and compression(raw.head()):
                fresh = path.with_suffix(".plain")
                _copy(unpacked(raw, BLOCK), fresh)
                fresh.replace(path)
        except UnpackingError as error:
            raise UnpackingError(f"holds {_safe(member)}, which {error.what}", error.next_step) from error


def _copy(content: Iterator[bytes], path: Path) -> int:
    with path.open("wb") as out:
        return sum(out.write(piece) for piece in content)


def head_of(raw: Raw) -> bytes:
    """The first bytes of a file, decompressed if it is compressed."""
    head = b""
    for piece in unpacked(raw, HEAD):
        head += piece
        if len(head) >= HEAD:
            break
    return head


def is_tar(head: bytes) -> bool:
    """Whether a file that begins so is a tar archive."""
    return head[257:262] == b"ustar"


def is_zip(head: bytes) -> bool:
    """Whether a file that begins so is a zip archive (or a workbook, which is one too)."""
    return head[:4] in {b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"}


def is_workbook(path: Path) -> bool:
    """Whether a zip is an XLSX workbook. Raises UnpackingError if it is damaged."""
    with zip_of(path) as archive:
        return _WORKBOOK in archive.NameToInfo


def _safe(member: str) -> str:
    """A member's name as it may be told. Raises UnpackingError if it leads out of the archive."""
    printable = re.sub(r"[\x00-\x1f\x7f]", "_", member.replace("\\", "/")).encode("utf-8", "backslashreplace").decode()
    path = PurePosixPath(printable)
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", printable):
        raise UnpackingError(
            f"holds a file whose name leads out of it ({printable[:200]!r})", "See who sends that: it looks like an attack."
        )
    return str(path)


def _is_hidden(member: str) -> bool:
    parts = member.replace("\\", "/").split("/")
    return parts[-1].startswith(".") or "__MACOSX" in parts


# zip ---------------------------------------------------------------------------------------------------------------------------
@contextmanager
def zip_of(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive with a directory of bounded size."""
    try:
        with path.open("rb") as raw:
            _check_directory(raw)
            with zipfile.ZipFile(raw) as archive:
                yield archive
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error, struct.error, OverflowError) as error:
        raise UnpackingError(f"is a damaged zip archive: {error}") from error


def _check_directory(raw: BinaryIO) -> None:
    """Python reads the whole directory into memory, as large as the archive says it is."""
    end = raw.seek(0, 2)
    raw.seek(max(0, end - 66_000))
    tail = raw.read()
    size = 0
    if (at := tail.rfind(b"PK\x05\x06")) >= 0 and len(tail) >= at + 16:
        size = int.from_bytes(tail[at + 12 : at + 16], "little")
    if (at := tail.rfind(b"PK\x06\x06")) >= 0 and len(tail) >= at + 48:
        size = max(size if size < 0xFFFFFFFF else 0, int.from_bytes(tail[at + 40 : at + 48], "little"))
    raw.seek(0)
    if size > _MAX_DIRECTORY:
        raise UnpackingError(f"is a zip archive with a directory of {size} bytes", "Have it delivered in several archives.")


def _zip_members(archive: zipfile.ZipFile, allowance: Allowance) -> Members:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir():
            continue
        name = _safe(info.filename)
        if kind not in {0, stat.S_IFREG}:
            raise UnpackingError(f"holds a link or a device ({name})", _AS_FILES)
        if _is_hidden(name):
            continue
        if info.flag_bits & 0x1:
            raise UnpackingError(f"holds {name} encrypted", "Have it delivered without a password.")
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise UnpackingError(f"holds {name}, packed with method {info.compress_type}", "Have it packed with deflate.")
        yield name, _zip_content(archive, info, allowance)


def _zip_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, allowance: Allowance) -> Iterator[bytes]:
    with archive.open(info) as content:
        while piece := content.read(BLOCK):
            allowance.take(len(piece))
            yield piece


# tar ---------------------------------------------------------------------------------------------------------------------------
class _Header(tarfile.TarInfo):
    """A header that is read strictly: Python takes a damaged one for the archive's end, and believes what others say of their size."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> Self:
        """The header in a block."""
        try:
            header = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise UnpackingError("is a tar archive that ends in the middle") from error
        except tarfile.HeaderError as error:
            raise UnpackingError(f"is a damaged tar archive: {error}") from error
        if header.type in _EXTENSIONS and header.size > _MAX_EXTENSION:
            raise UnpackingError(f"is a tar archive with a header of {header.size} bytes")
        if header.type == tarfile.GNUTYPE_SPARSE:
            _refuse_holes()
        return header

    def _proc_gnusparse_00(self, *_: Any) -> NoReturn:
        _refuse_holes()

    _proc_gnusparse_01 = _proc_gnusparse_10 = _proc_gnusparse_00


def _refuse_holes() -> NoReturn:
    raise UnpackingError("is a tar archive of files with holes", "Have it packed without `--sparse`.")


def _opened_tar(file: BinaryIO) -> Any:  # as `Any`, since what is used of it below is not in its stubs
    return tarfile.open(fileobj=file, mode="r|", tarinfo=_Header, bufsize=BLOCK)


def _tar_members(stream: Iterator[bytes]) -> Members:
    with _damaged_tar(), _opened_tar(as_file(stream)) as archive:
        for info in archive:
            if info.isdir():
                continue
            name = _safe(info.name)
            if not info.isreg():
                raise UnpackingError(f"holds a link or a device ({name})", _AS_FILES)
            if not _is_hidden(name):
                yield name, _tar_content(archive.extractfile(info))
            archive.members = []  # Python would keep the header of every member
        _check_end(archive.fileobj.read)


@contextmanager
def _damaged_tar() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, ValueError, EOFError, OverflowError, struct.error) as error:
        raise UnpackingError(f"is a damaged tar archive: {error}") from error


def _tar_content(content: Any) -> Iterator[bytes]:
    with _damaged_tar():
        while piece := content.read(BLOCK):
            yield piece


def _check_end(read: Callable[[int], bytes]) -> None:
    while rest := read(BLOCK):
        if rest.strip(b"\0"):
            raise UnpackingError("is a tar archive with something behind its end", "Have it delivered as one archive.")
