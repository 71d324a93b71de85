"""Sources of kind `files`: what is taken, what is taken again, what is left, and what is refused."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from nocturne.errors import DeliveryError, DiskFull, LeaseHeld, SourceAwaited, SourceMissing, SourceUnavailable
from nocturne.landing import land
from nocturne.landing.batches import Shelf
from nocturne.ledger import Ledger, MemoryMarks
from nocturne.manifests import Manifest, read_manifests
from nocturne.settings import Settings
from nocturne.tenants import Tenant
from tests.integration.landing.delivering import DAY, tenant_of
from tests.integration.landing.killing import run

Deliver = Callable[[str, str | bytes], None]
EVE = DAY - timedelta(days=1)


@pytest.fixture
def marks() -> MemoryMarks:
    return MemoryMarks()


def standing(settings: Settings, tenant: Tenant, dataset: str = "plays") -> dict[str, dict[str, str]]:
    """Every batch with its files' contents, after checking that each is what its manifest says and that nothing else lies about."""
    shelf = Shelf(settings, tenant, next(source for source in tenant.sources if source.dataset == dataset))
    found = {}
    for batch, manifest in read_manifests(settings, tenant, dataset).items():
        folder = shelf.folder(manifest.received_on) if manifest.source == shelf.source.name else None
        contents = {}
        for file in manifest.files:
            assert folder is not None
            content = (folder / file.name).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256)
            contents[file.origin] = content.decode()
        assert folder is not None
        assert {path.name for path in folder.iterdir()} == {file.name for file in manifest.files} | {"manifest.json"}
        found[batch] = contents
    return found


def manifest_of(settings: Settings, tenant: Tenant, batch: str) -> Manifest:
    return read_manifests(settings, tenant, "plays")[batch]


def touch(settings: Settings, path: str, *, seconds: float = 10) -> None:
    """Make a delivered file look newer."""
    place = settings.sources_root / path
    os.utime(place, (time.time() + seconds,) * 2)


# daily sources ---------------------------------------------------------------------------------------------------------------
def test_every_day_from_the_first_to_the_business_day_is_taken_as_it_is(settings: Settings, deliver: Deliver, marks: MemoryMarks) -> None:
    tenant = tenant_of({"location": "dusk/{day}/*.ndjson"}, begins_on=EVE)
    deliver(f"dusk/{EVE}/a.ndjson", b'{"a":1}\r\n\xff\x00')
    (settings.sources_root / f"dusk/{EVE}/a.ndjson").write_bytes(b'{"a":1}\r\n')
    deliver(f"dusk/{DAY}/a.ndjson", "1")
    deliver(f"dusk/{DAY}/b.ndjson", "2")
    for outside in (EVE - timedelta(days=1), DAY + timedelta(days=1), "2026-02-30", "yesterday"):
        deliver(f"dusk/{outside}/a.ndjson", "no")

    receipt = land(tenant, DAY, settings, marks)

    assert standing(settings, tenant) == {
        f"plays/{EVE}": {f"dusk/{EVE}/a.ndjson": '{"a":1}\r\n'},
        f"plays/{DAY}": {f"dusk/{DAY}/a.ndjson": "1", f"dusk/{DAY}/b.ndjson": "2"},
    }
    entry = receipt.entry("plays")
    assert entry is not None
    assert entry.counts == {"batches": 2, "files": 3, "bytes": 11}
    assert entry.facts == {"dataset": "plays", "received_on": [EVE.isoformat(), DAY.isoformat()], "is_there": True}
    assert entry.event_dates == ()
    assert not receipt.warnings


def test_what_is_taken_is_left_alone_and_a_forgotten_mark_is_written_again(
    settings: Settings, deliver: Deliver, marks: MemoryMarks
) -> None:
    tenant = tenant_of({})
    deliver(f"plays/{DAY}/a.csv", "1")
    land(tenant, DAY, settings, marks)
    before = manifest_of(settings, tenant, f"plays/{DAY}")

    assert land(tenant, DAY, settings, marks).entries[0].skipped
    marks.unmark(tenant, "landing", "plays", [before.batch])
    assert land(tenant, DAY, settings, marks).entries[0].skipped

    assert manifest_of(settings, tenant, before.batch) == before
    assert marks.marks(tenant, "landing", "plays")[before.batch].fingerprint == before.fingerprint


def test_a_touched_file_of_the_same_content_is_no_new_batch_and_a_changed_one_is(
    settings: Settings, deliver: Deliver, marks: MemoryMarks
) -> None:
    tenant = tenant_of({})
    deliver(f"plays/{DAY}/a.csv", "1")
    deliver(f"plays/{DAY}/b.csv", "2")
    land(tenant, DAY, settings, marks)
    before = manifest_of(settings, tenant, f"plays/{DAY}")

    touch(settings, f"plays/{DAY}/a.csv")
    assert land(tenant, DAY, settings, marks).entries[0].skipped
    assert manifest_of(settings, tenant, before.batch) == before

    for content in ("3", "1", "4"):
        deliver(f"plays/{DAY}/a.csv", content)
        touch(settings, f"plays/{DAY}/a.csv", seconds=20)
        assert land(tenant, DAY, settings, marks).count("files") == 1
        assert standing(settings, tenant) == {before.batch: {f"plays/{DAY}/a.csv": content, f"plays/{DAY}/b.csv": "2"}}
        assert manifest_of(settings, tenant, before.batch).fingerprint != before.fingerprint
        before = manifest_of(settings, tenant, before.batch)


def test_a_late_file_joins_the_batch_of_its_day_and_a_removed_one_stays(settings: Settings, deliver: Deliver, marks: MemoryMarks) -> None:
    tenant = tenant_of({}, begins_on=EVE)
    deliver(f"plays/{EVE}/a.csv", "1")
    land(tenant, EVE, settings, marks)

    (settings.sources_root / f"plays/{EVE}/a.csv").unlink()
    deliver(f"plays/{EVE}/b.csv", "2")
    receipt = land(tenant, DAY, settings, marks)

    assert receipt.count("files") == 1
    assert standing(settings, tenant) == {f"plays/{EVE}": {f"plays/{EVE}/a.csv": "1", f"plays/{EVE}/b.csv": "2"}}


def test_files_of_one_name_in_two_folders_and_of_odd_names_stand_beside_each_other(
    settings: Settings, deliver: Deliver, marks: MemoryMarks
) -> None:
    tenant = tenant_of({"location": "plays/{day}/**/*"})
    names = ["a.csv", "x/a.csv", "x__a.csv", "manifest.json", "x/y/manifest.json", "new\nline.csv", "é" * 120 + ".csv", "back\\slash.csv"]
    for name in names:
        deliver(f"plays/{DAY}/{name}", name)
    folder = os.fsencode(settings.sources_root / f"plays/{DAY}")
    with open(folder + b"/latin-\xe9.csv", "wb") as file:  # noqa: PTH123 (a name that is no text)
        file.write(b"latin")

    assert land(tenant, DAY, settings, marks).count("files") == len(names) + 1

    assert sorted(standing(settings, tenant)[f"plays/{DAY}"].values()) == sorted([*names, "latin"])
    assert land(tenant, DAY, settings, marks).entries[0].skipped


@pytest.mark.parametrize(
    ("location", "taken", "left"),
    [
        ("x/{day}", ["x/2026-03-29"], ["x/2026-03-29.csv", "y/2026-03-29", "x/2026-03-2"]),
        ("x/{day}/{day}.csv", ["x/2026-03-29/2026-03-29.csv"], ["x/2026-03-29/2026-03-28.csv", "x/2026-03-28/2026-03-29.csv"]),
        ("x/p-{day}-[0-9]?.csv", ["x/p-2026-03-29-1a.csv"], ["x/p-2026-03-29-aa.csv", "x/p-2026-03-29-1.csv"]),
        ("x/[!ab]/{day}*", ["x/c/2026-03-29.csv.gz", "x/d/2026-03-29"], ["x/a/2026-03-29.csv", "x/c/d/2026-03-29"]),
        ("**/{day}/**/*.csv", ["2026-03-29/a.csv", "x/2026-03-29/y/z/a.csv"], ["x/2026-03-29/a.txt", "2026-03-28/a.csv"]),
        ("./x/{day}.csv", ["x/2026-03-29.csv"], ["2026-03-29.csv"]),
        ("x (1)+/{day}.$", ["x (1)+/2026-03-29.$"], ["x 1/2026-03-29.$"]),
    ],
)
def test_a_location_is_a_pattern_of_paths(
    settings: Settings, deliver: Deliver, marks: MemoryMarks, location: str, taken: list[str], left: list[str]
) -> None:
    for path in taken + left:
        deliver(path, path)
    tenant = tenant_of({"location": location})
    land(tenant, DAY, settings, marks)
    assert sorted(standing(settings, tenant)[f"plays/{DAY}"].values()) == sorted(taken)


# sources without a day ---------------------------------------------------------------------------------------------------------
def test_a_state_is_a_batch_of_its_night_only_when_it_differs_from_the_newest(
    settings: Settings, deliver: Deliver, marks: MemoryMarks
) -> None:
    tenant = tenant_of({"location": "tracks/*.csv", "dataset": "tracks", "format": "csv"})
    nights = [DAY + timedelta(days=count) for count in range(4)]
    deliver("tracks/a.csv", "1")
    deliver("tracks/b.csv", "2")
    assert land(tenant, nights[0], settings, marks).count("batches") == 1
    assert land(tenant, nights[1], settings, marks).entries[0].skipped
    touch(settings, "tracks/a.csv")
    assert land(tenant, nights[1], settings, marks).entries[0].skipped
    (settings.sources_root / "tracks/a.csv").unlink()
    assert land(tenant, nights[2], settings, marks).count("batches") == 1
    assert land(tenant, nights[3], settings, marks).entries[0].skipped

    assert standing(settings, tenant, "tracks") == {
        f"plays/{nights[0]}": {"tracks/a.csv": "1", "tracks/b.csv": "2"},
        f"plays/{nights[2]}": {"tracks/b.csv": "2"},
    }


def test_the_state_of_a_past_night_is_not_made_of_what_is_there_today(settings: Settings, deliver: Deliver, marks: MemoryMarks) -> None:
    tenant = tenant_of({"location": "tracks.csv", "dataset": "tracks", "format": "csv", "required": True}, begins_on=EVE)
    deliver("tracks.csv", "1")
    land(tenant, DAY, settings, marks)
    deliver("tracks.csv", "22")
    assert land(tenant, EVE, settings, marks).entries[0].skipped
    assert standing(settings, tenant, "tracks") == {f"plays/{DAY}": {"tracks.csv": "1"}}


def test_a_state_that_changes_within_its_night_replaces_the_batch(settings: Settings, deliver: Deliver, marks: MemoryMarks) -> None:
    tenant = tenant_of({"location": "tracks.csv", "dataset": "tracks", "format": "csv"})
    for content in ("1", "22"):
        deliver("tracks.csv", content)
        land(tenant, DAY, settings, marks)
    assert standing(settings, tenant, "tracks") == {f"plays/{DAY}": {"tracks.csv": "22"}}


# what is left, missing or refused ----------------------------------------------------------------------------------------------
def test_what_may_still_be_written_is_left_for_the_next_run(settings: Settings, deliver: Deliver, marks: MemoryMarks) -> None:
    tenant = tenant_of({})
    for name in ("a.csv.part", "b.tmp", "c.csv~", ".hidden.csv", "D.CRDOWNLOAD", "empty.csv"):
        deliver(f"plays/{DAY}/{name}", "" if name == "empty.csv" else "x")
    os.mkfifo(settings.sources_root / f"plays/{DAY}/pipe.csv")

    assert land(tenant, DAY, settings, marks).count("files") == 0
    touch(settings, f"plays/{DAY}/empty.csv", seconds=-120)
    assert land(tenant, DAY, settings, marks).count("files") == 1
    (settings.sources_root / f"plays/{DAY}/a.csv.part").rename(settings.sources_root / f"plays/{DAY}/a.csv")
    assert land(tenant, DAY, settings, marks).count("files") == 1
    assert standing(settings, tenant) == {f"plays/{DAY}": {f"plays/{DAY}/empty.csv": "", f"plays/{DAY}/a.csv": "x"}}


def test_a_file_that_grows_while_it_is_read_is_left_and_said(settings: Settings, deliver: Deliver, marks: MemoryMarks) -> None:
    tenant = tenant_of({})
    deliver(f"plays/{DAY}/a.csv", b"x" * 60_000_000)
    place = settings.sources_root / f"plays/{DAY}/a.csv"
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\nwith open(sys.argv[1], 'ab', 0) as f:\n while True: f.write(b'y'); time.sleep(.001)",
            str(place),
        ]
    )
    try:
        while place.stat().st_size == 60_000_000:
            time.sleep(0.01)
        receipt = land(tenant, DAY, settings, marks)
    finally:
        writer.kill()
        writer.wait()
    assert receipt.count("files") == 0
    assert any("changed while it was read" in warning for warning in receipt.warnings)
    assert standing(settings, tenant) == {}
    assert land(tenant, DAY, settings, marks).count("files") == 1
    place.unlink()


def test_nothing_for_the_day_is_said_and_stops_only_who_requires_it(settings: Settings, marks: MemoryMarks) -> None:
    receipt = land(tenant_of({}, {"name": "tracks", "dataset": "tracks", "location": "tracks.csv"}), DAY, settings, marks)
    assert [entry.facts["is_there"] for entry in receipt.entries] == [False, False]
    # A source may have days of its own (a statement a month); one without days has nothing at all.
    assert receipt.warnings == (f"Source tracks has nothing for {DAY} at tracks.csv.",)
    with pytest.raises(SourceMissing, match=rf"plays has nothing for {DAY} at plays/{DAY}/\*") as caught:
        land(tenant_of({"required": True}), DAY, settings, marks)
    assert "Ask operations" in caught.value.next_step


def test_a_required_source_may_lack_earlier_days(settings: Settings, deliver: Deliver, marks: MemoryMarks) -> None:
    deliver(f"plays/{DAY}/a.csv", "1")
    assert land(tenant_of({"required": True}, begins_on=EVE), DAY, settings, marks).count("batches") == 1


@pytest.mark.parametrize("required", [True, False])
def test_the_night_waits_for_a_source_until_its_deadline(settings: Settings, marks: MemoryMarks, required: bool) -> None:
    # In the night after DAY the clocks of Paris have just gone forward: 05:30 there is 03:30 UTC.
    tenant = tenant_of({"deadline": "05:30", "required": required})
    due = datetime(2026, 3, 30, 3, 30, tzinfo=UTC)
    with pytest.raises(SourceAwaited, match="05:30 on 2026-03-30") as caught:
        land(tenant, DAY, settings, marks, now=due - timedelta(seconds=1))
    assert caught.value.until == due
    if required:
        with pytest.raises(SourceMissing, match="is past"):
            land(tenant, DAY, settings, marks, now=due)
    else:
        assert "is past" in land(tenant, DAY, settings, marks, now=due).warnings[0]


def test_no_link_leads_out_of_the_sources_root(settings: Settings, deliver: Deliver, marks: MemoryMarks, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("secret")
    deliver(f"plays/{DAY}/inside.csv", "1")
    inside = settings.sources_root / f"plays/{DAY}"
    (inside / "alias.csv").symlink_to(inside / "inside.csv")
    (inside / "dangling.csv").symlink_to(inside / "nothing.csv")
    assert land(tenant_of({}), DAY, settings, marks).count("files") == 2

    (inside / "link.csv").symlink_to(secret)
    with pytest.raises(DeliveryError, match=r"link\.csv leads out of the sources' root"):
        land(tenant_of({}), DAY, settings, marks)
    (inside / "link.csv").unlink()
    (inside / "round.csv").symlink_to(inside / "round.csv")
    with pytest.raises(SourceUnavailable, match=r"round\.csv cannot be read"):
        land(tenant_of({}), DAY, settings, marks)
    (settings.sources_root / "away").symlink_to(tmp_path)
    for location in ("away/*.csv", f"{tmp_path}/secret.csv"):
        with pytest.raises(DeliveryError, match="leads out"):
            land(tenant_of({"location": location}), DAY, settings, marks)


def test_one_source_that_fails_keeps_no_other_from_being_taken_and_all_are_named(
    settings: Settings, deliver: Deliver, marks: MemoryMarks, tmp_path: Path
) -> None:
    tenant = tenant_of(
        {"name": "good"},
        {"name": "missing", "location": "missing/{day}.csv", "required": True},
        {"name": "linked", "location": "linked.csv"},
        {"name": "late", "location": "late/{day}.csv", "deadline": "23:59"},
    )
    deliver(f"plays/{DAY}/a.csv", "1")
    (settings.sources_root / "linked.csv").symlink_to(tmp_path)
    with pytest.raises(DeliveryError) as caught:
        land(tenant, DAY, settings, marks, now=datetime(2026, 3, 30, tzinfo=UTC))
    message = str(caught.value)
    assert "3 of 4 sources failed" in message
    for part in ("missing has nothing", "leads out", "late has nothing", "Ask operations", "Put the file itself"):
        assert part in message
    assert f"good/{DAY}" in read_manifests(settings, tenant, "plays")
    assert f"good/{DAY}" in marks.marks(tenant, "landing", "plays")


def test_a_full_disk_is_worth_another_try(settings: Settings, deliver: Deliver, marks: MemoryMarks) -> None:
    tenant = tenant_of({})
    deliver(f"plays/{DAY}/a.csv", "1")
    origin = hashlib.sha256(f"plays/{DAY}/a.csv".encode()).hexdigest()[:32]
    staging = tenant.lake_folder(settings.lake_root) / "landing/.taking/plays/files"
    staging.mkdir(parents=True)
    (staging / f".{origin}").symlink_to("/dev/full")  # a device that is always full
    with pytest.raises(DiskFull, match="no space left"):
        land(tenant, DAY, settings, marks)
    (staging / f".{origin}").unlink()
    assert land(tenant, DAY, settings, marks).count("files") == 1


def test_two_runs_do_not_take_from_one_source_at_once(settings: Settings) -> None:
    shelf = Shelf(settings, (tenant := tenant_of({})), tenant.sources[0])
    with shelf.taking("files"), pytest.raises(LeaseHeld, match="Another run"), shelf.taking("files", wait_seconds=0.2):
        pass


def test_the_marks_of_the_ledger_serve_as_those_in_memory_do(database: Settings, settings: Settings, deliver: Deliver) -> None:
    tenant, ledger = tenant_of({}, {"name": "tracks", "dataset": "tracks", "format": "csv", "location": "t.csv"}), Ledger(database)
    deliver(f"plays/{DAY}/a.csv", "1")
    deliver("t.csv", "1")
    assert land(tenant, DAY, settings, ledger).count("batches") == 2
    assert all(entry.skipped for entry in land(tenant, DAY, settings, ledger).entries)


# kills -------------------------------------------------------------------------------------------------------------------------
KILLS = """
import hashlib, os, shutil, signal, sys
from datetime import date
from pathlib import Path
from tests.integration.landing.delivering import DAY, tenant_of
from tests.integration.landing.killing import killed_at
from nocturne.landing import files, land
from nocturne.ledger import MemoryMarks
from nocturne.manifests import read_manifests
from nocturne.settings import load_settings

root = Path(sys.argv[1])
tenant = tenant_of({}, {"name": "tracks", "dataset": "tracks", "format": "csv", "location": "tracks/*.csv"})

def deliver(content):
    for path in (f"plays/{DAY}/a.csv", f"plays/{DAY}/b.csv", "tracks/a.csv"):
        place = root / "sources" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content + path)

def read(settings):
    found = {}
    for dataset in ("plays", "tracks"):
        for batch, manifest in read_manifests(settings, tenant, dataset).items():
            folder = settings.lake_root / "dusk/landing" / dataset / f"received_on={DAY}" / manifest.source
            for file in manifest.files:
                content = (folder / file.name).read_bytes()
                assert hashlib.sha256(content).hexdigest() == file.sha256, "a manifest speaks of other bytes"
                found[file.origin] = content.decode()
    return found

step, kills = 1, 0
while True:
    shutil.rmtree(root, ignore_errors=True)
    settings = load_settings(var=root, master_key="5a" * 32)
    marks = MemoryMarks()
    was_killed = False
    for content in ("old ", "newer "):
        before = read(settings)
        deliver(content)
        was_killed |= killed_at(step, lambda _: land(tenant, DAY, settings, marks))
        between = read(settings)
        paths = (f"plays/{DAY}/a.csv", f"plays/{DAY}/b.csv", "tracks/a.csv")
        for group in (paths[:2], paths[2:]):
            states = [{path: told[path] for path in group if path in told} for told in (between, before)]
            assert states[0] in (states[1], {path: content + path for path in group}), f"step {step}: a batch is half one thing"
        land(tenant, DAY, settings, marks)
        assert read(settings) == {path: content + path for path in paths}, f"step {step}"
        landing = settings.lake_root / "dusk/landing"
        leftovers = [str(path) for path in landing.glob("*/received_on=*/**/*") if path.is_file()]
        assert len(leftovers) == 3 + 2, leftovers
        kept = [path.read_text() for path in landing.glob("*/.kept/*/*/*/files/*")]
        assert sorted(kept) == sorted(f"old {path}" for path in paths if content != "old "), f"step {step}: what was replaced is kept"
    kills += was_killed
    if not was_killed:
        break
    step += 1
print(kills)
"""


def test_a_kill_before_any_write_leaves_whole_batches_and_the_next_run_completes_them(tmp_path: Path) -> None:
    assert int(run(KILLS, str(tmp_path / "var"))) > 25


def test_the_cost_of_a_night_is_a_look_at_each_file(settings: Settings, deliver: Deliver, marks: MemoryMarks) -> None:
    begins_on = DAY - timedelta(days=400)
    tenant = tenant_of({}, begins_on=begins_on)
    for count in range(401):
        deliver(f"plays/{begins_on + timedelta(days=count)}/a.csv", "1")
    land(tenant, DAY, settings, marks)
    started = time.process_time()
    assert land(tenant, DAY, settings, marks).entries[0].skipped
    assert time.process_time() - started < 1.0


def test_no_day_is_taken_before_the_first(settings: Settings, deliver: Deliver, marks: MemoryMarks) -> None:
    deliver("plays/0001-01-01/a.csv", "1")
    assert land(tenant_of({}), DAY, settings, marks).count("batches") == 0
    assert date.fromisoformat("0001-01-01") < DAY
