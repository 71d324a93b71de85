"""Members of archives as files of their own; what is not safe is refused by name, and nothing is written under a member's name."""

from __future__ import annotations

import io
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from nocturne.bronze import archives, unpacking
from nocturne.bronze.archives import scratch_of, without_archives
from nocturne.bronze.reading import Batch
from nocturne.errors import DeliveryError
from tests.packing import COMPRESSIONS, tar_info, tarred, zipped
from tests.unit.bronze.test_reading import batch

FILES = {"a.ndjson": b'{"a": 1}\n', "deep/er/b é.ndjson": b'{"a": 2}\n' * 1_000, "empty": b""}


def opened(folder: Path, content: bytes, *, plain: bool = False) -> Batch:
    given = batch(folder / "landed", {"x": content})
    with scratch_of(folder / "scratch"):
        pass
    (folder / "scratch").mkdir()
    return without_archives(given, folder / "scratch", plain=plain)


def held(given: Batch) -> dict[str, bytes]:
    return {file.name: given.path(file).read_bytes() for file in given.manifest.files}


def refused(folder: Path, content: bytes, says: str) -> None:
    with pytest.raises(DeliveryError, match=rf"plays: .*/x \(source app\) .*{says}.* Next: "):
        opened(folder, content)


@pytest.mark.parametrize("pack", [zipped, tarred, lambda files: zipped(files, zipfile.ZIP_STORED)])
def test_each_member_is_a_file(tmp_path: Path, pack: object) -> None:
    found = opened(tmp_path, pack(FILES))  # type: ignore[operator]
    assert held(found) == {f"x!{name}": content for name, content in FILES.items()}
    assert {path.name for path in (tmp_path / "scratch").iterdir()} == {"0", "1", "2"}
    assert [file.name for file in found.manifest.files] == sorted(f"x!{name}" for name in FILES)
    assert {file.name: file.bytes for file in found.manifest.files} == {f"x!{name}": len(content) for name, content in FILES.items()}


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_a_compressed_tar_is_an_archive(tmp_path: Path, kind: str) -> None:
    assert held(opened(tmp_path, COMPRESSIONS[kind](tarred(FILES)))) == {f"x!{name}": content for name, content in FILES.items()}


def test_compressed_members_stay_so_unless_they_must_be_plain(tmp_path: Path) -> None:
    packed = COMPRESSIONS["gzip"](b"content")
    assert held(opened(tmp_path / "a", zipped({"m": packed}))) == {"x!m": packed}
    assert held(opened(tmp_path / "b", zipped({"m": packed}), plain=True)) == {"x!m": b"content"}
    assert held(opened(tmp_path / "c", packed, plain=True)) == {"x": b"content"}


def test_a_batch_without_archives_stays_as_it_is(tmp_path: Path) -> None:
    given = batch(tmp_path / "b", {"a": b"{}", "b.gz": COMPRESSIONS["gzip"](b"{}")})
    (tmp_path / "s").mkdir()
    assert without_archives(given, tmp_path / "s", plain=False) is given


def test_folders_and_hidden_members_are_left_out(tmp_path: Path) -> None:
    hidden = {"a": b"{}", "__MACOSX/._a": b"x", ".DS_Store": b"x", "b/.c": b"x"}
    assert list(held(opened(tmp_path / "a", zipped({**hidden, "folder/": b""})))) == ["x!a"]
    assert list(held(opened(tmp_path / "b", tarred(hidden, tar_info("folder", tarfile.DIRTYPE))))) == ["x!a"]


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "..\\a", "C:/a", "C:\\a"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    for content in (zipped({"ok": b"", name: b"{}"}), tarred({"ok": b"", name: b"{}"})):
        refused(tmp_path, content, "holds a file whose name leads out of it")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    refused(tmp_path, tarred({"ok": b""}, tar_info("bad", kind, "/etc/passwd")), r"holds a link or a device \(bad\)")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("bad")
    info.external_attr = 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    refused(tmp_path, out.getvalue(), r"holds a link or a device \(bad\)")


@pytest.mark.parametrize("inner", [zipped({"b": b""}), tarred({"b": b""}), COMPRESSIONS["zstd"](tarred({"b": b""}))])
def test_archives_in_archives_are_refused(tmp_path: Path, inner: bytes) -> None:
    for outer in (zipped({"in": inner}), tarred({"in": inner}), COMPRESSIONS["gzip"](tarred({"in": inner}))):
        refused(tmp_path, outer, "holds in, which is an archive")
    refused(tmp_path, COMPRESSIONS["gzip"](zipped({"b": b""})), "is a compressed zip")


def test_an_archive_without_files_is_refused(tmp_path: Path) -> None:
    for content in (zipped({}), zipped({".hidden": b""}), tarred({".hidden": b""})):
        refused(tmp_path, content, "is an archive without a file")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", "1")
        archive.writestr("a", "2")
    refused(tmp_path, out.getvalue(), "holds a twice")


def test_an_encrypted_or_rarely_packed_zip_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"a": b"x"}))
    for at in (content.find(b"PK\x03\x04") + 6, content.find(b"PK\x01\x02") + 8):
        content[at] |= 1
    refused(tmp_path, bytes(content), "holds a encrypted")
    refused(tmp_path, zipped({"a": b"x" * 100}, zipfile.ZIP_BZIP2), "holds a, packed with method 12")


def test_an_archive_that_ends_in_the_middle_is_refused(tmp_path: Path) -> None:
    """Cut anywhere, also between two members, where Python's library sees nothing amiss."""
    for whole in (tarred(FILES), COMPRESSIONS["zstd"](tarred(FILES)), zipped(FILES)):
        end = len(whole.rstrip(b"\0")) if whole == tarred(FILES) else len(whole)
        for cut in sorted({600, 1_024, 1_536, end // 2, end - 20}):
            if cut < end - 10:
                refused(tmp_path, whole[:cut], "(ends in the middle|damaged|without a file)")


def test_more_behind_the_end_of_a_tar_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, tarred({"a": b""}) + tarred({"b": b""}), "something behind its end")


def test_a_header_that_lies_about_its_size_costs_no_memory(tmp_path: Path) -> None:
    liar = tar_info("././@PaxHeader", tarfile.XHDTYPE)
    liar.size = 6 << 30
    refused(tmp_path, liar.tobuf() + bytes(10_240), "a header of 6442450944 bytes")
    liar.type = tarfile.GNUTYPE_SPARSE
    refused(tmp_path, liar.tobuf() + bytes(10_240), "files with holes")
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 3 << 30, 0, 0)
    refused(tmp_path, b"PK\x03\x04" + bytes(100) + end, "a directory of 3221225472 bytes")


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "FREE", 1 << 20)
    files = {str(number): bytes(16 << 20) for number in range(4)}
    for content in (zipped(files), COMPRESSIONS["bzip2"](tarred(files))):
        refused(tmp_path, content, "unpacks to more than")
        assert sum(path.stat().st_size for path in (tmp_path / "scratch").iterdir()) < max(1 << 20, 250 * len(content))


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 5)
    refused(tmp_path, tarred({str(number): b"" for number in range(6)}), "holds more than 5 files")


def test_damage_is_refused_or_harmless(tmp_path: Path) -> None:
    """600 archives with a few other bytes: DeliveryError, or files."""
    chance = random.Random(5)
    wholes = [zipped(FILES), tarred(FILES), COMPRESSIONS["gzip"](tarred(FILES)), COMPRESSIONS["xz"](tarred(FILES))]
    ended = {True: 0, False: 0}
    for _ in range(600):
        damaged = bytearray(chance.choice(wholes))
        for _ in range(chance.randrange(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            opened(tmp_path, bytes(damaged))
        except DeliveryError as error:
            assert "/x (source app)" in str(error)
            ended[False] += 1
        else:
            ended[True] += 1
    assert min(ended.values()) > 20


def test_the_scratch_folder_is_empty_at_first_and_gone_afterwards(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "of a killed run").touch()
    with scratch_of(tmp_path / "s") as scratch:
        assert list(scratch.iterdir()) == []
    assert not scratch.exists()
