"""Taking deliveries back: what stands, what is kept, what is not taken again, and that the lake follows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nocturne import at_rest
from nocturne.bronze import load_bronze
from nocturne.errors import PermanentError, SourceMissing
from nocturne.lake import duck, table
from nocturne.landing import Connection, land, list_deliveries, pack_landing, steer_deliveries, trim_deliveries
from nocturne.ledger import MemoryMarks
from nocturne.manifests import read_manifests
from nocturne.receipts import Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant
from tests.integration.landing.delivering import DAY, Answer, Server, tenant_of
from tests.integration.landing.killing import run

Deliver = Callable[[str, str | bytes], None]
EVE, LATER = DAY - timedelta(days=1), DAY + timedelta(days=60)


def plays(*ids: str) -> str:
    row = {"played_at": "2026-03-29T10:00:00Z", "listener_id": "l", "track_id": "t", "ms_played": 1}
    return "".join(json.dumps({"play_id": one} | row) + "\n" for one in ids)


class Desk:
    """One tenant's landing and bronze, and somebody who takes deliveries back."""

    def __init__(self, settings: Settings, tenant: Tenant, connections: Callable[[str], Connection] | None = None) -> None:
        self.settings, self.tenant, self.marks = settings, tenant, MemoryMarks()
        self.more = {"connections": connections} if connections else {}
        self.asked = 0
        self.told: list[str] = []

    def land(self, day: date = DAY) -> list[str]:
        """Take what there is; the warnings, but for those of `told`."""
        self.told = []
        warnings = land(self.tenant, day, self.settings, self.marks, **self.more).warnings  # type: ignore[arg-type]
        for warning in warnings:
            if " stands since " in warning:
                self.told.append(warning)
        return [warning for warning in warnings if warning not in self.told]

    def steer(self, action: str, of: date = DAY, **more: Any) -> Receipt:
        """Ask for something, by default with a reason and as a request of its own."""
        self.asked += 1
        given = {"source": "plays", "reason": "prices were wrong", "asked": f"request {self.asked}", "by": "somebody"} | more
        return steer_deliveries(self.tenant, DAY, self.settings, self.marks, action=action, of=of, **given)  # type: ignore[arg-type]

    def rows(self) -> list[str]:
        """The ids in bronze, after it followed landing."""
        load_bronze(self.tenant, DAY, self.settings, self.marks)
        bronze = table(self.settings, self.tenant, "bronze", "plays")
        with duck(self.settings) as connection:
            return [name for (name,) in connection.execute(f"SELECT play_id FROM {bronze.scan()} ORDER BY 1").fetchall()]

    def listed(self, of: date | None = DAY) -> list[tuple[int | None, str]]:
        """Number and state of each delivery."""
        return [(one.number, one.state) for one in list_deliveries(self.tenant, self.settings, "plays", of)]


@pytest.fixture
def desk(settings: Settings, deliver: Deliver) -> Desk:
    """A day of two files of which one was sent again."""
    desk = Desk(settings, tenant_of({}))
    deliver(f"plays/{DAY}/a.ndjson", plays("a1"))
    deliver(f"plays/{DAY}/b.ndjson", plays("b1"))
    desk.land()
    deliver(f"plays/{DAY}/a.ndjson", plays("a2", "a3"))
    desk.land()
    return desk


def test_what_a_delivery_took_the_place_of_stands_again_and_the_lake_follows(desk: Desk) -> None:
    assert desk.rows() == ["a2", "a3", "b1"]
    assert desk.listed() == [(None, "stands"), (1, "replaced")]
    facts = desk.steer("restore").entries[0].facts
    assert (facts["away"], facts["to"], facts["by"]) == (2, 1, "somebody")
    assert desk.rows() == ["a1", "b1"]
    assert desk.listed() == [(1, "stands"), (2, "taken back")]
    assert list_deliveries(desk.tenant, desk.settings, "plays")[1].step.reason == "prices were wrong"  # type: ignore[union-attr]


def test_what_was_taken_back_is_not_taken_again_until_the_source_sends_something_else(desk: Desk, deliver: Deliver) -> None:
    desk.steer("restore")
    assert desk.land() == []
    deliver(f"plays/{DAY}/a.ndjson", plays("a2", "a3"))  # the same, newer
    (warning,) = desk.land()
    assert "a.ndjson was taken back on" in warning
    assert "(prices were wrong)" in warning
    assert desk.rows() == ["a1", "b1"]
    deliver(f"plays/{DAY}/c.ndjson", plays("c1"))
    desk.land()
    assert desk.rows() == ["a1", "b1", "c1"]
    deliver(f"plays/{DAY}/a.ndjson", plays("a4"))
    assert desk.land() == []
    assert desk.rows() == ["a4", "b1", "c1"]
    assert desk.listed() == [(None, "stands"), (3, "replaced"), (1, "replaced"), (2, "taken back")]


def test_nights_tell_for_a_week_what_was_done(desk: Desk) -> None:
    today = datetime.now(UTC).date()
    desk.steer("restore")
    desk.land()
    assert desk.told == [f"plays: of {DAY}, another delivery stands since {today} (prices were wrong)"]
    desk.steer("withdraw")
    desk.land()
    assert desk.told == [f"plays: of {DAY}, no delivery stands since {today} (prices were wrong)"]
    later = land(desk.tenant, DAY, desk.settings, desk.marks, now=datetime.now(UTC) + timedelta(days=8))
    assert [told for told in later.warnings if " stands since " in told] == []


def test_a_restore_is_undone_by_another(desk: Desk) -> None:
    desk.steer("restore")
    desk.steer("restore", number=2)
    assert desk.rows() == ["a2", "a3", "b1"]
    assert desk.listed() == [(2, "stands"), (1, "taken back")]
    assert desk.land() == []
    assert desk.rows() == ["a2", "a3", "b1"]


def test_what_was_taken_back_comes_again_by_its_number_alone(desk: Desk) -> None:
    desk.steer("restore")
    with pytest.raises(PermanentError, match="no other delivery is kept"):
        desk.steer("restore")
    assert desk.rows() == ["a1", "b1"]


def test_a_withdrawn_day_has_no_rows_until_one_of_its_files_is_mended(desk: Desk, deliver: Deliver) -> None:
    desk.steer("withdraw")
    assert desk.rows() == []
    assert desk.listed() == [(2, "taken back"), (1, "replaced")]
    assert len(desk.land()) == 2
    assert desk.rows() == []
    deliver(f"plays/{DAY}/a.ndjson", plays("a5"))
    assert desk.land() == []
    assert desk.rows() == ["a5", "b1"], "a file that was right comes again with the one that was mended"


def test_a_restore_brings_a_withdrawn_day_again(desk: Desk) -> None:
    desk.steer("withdraw")
    desk.steer("restore")
    assert desk.rows() == ["a2", "a3", "b1"]
    assert desk.land() == []


def test_a_required_source_whose_day_was_withdrawn_is_missing(settings: Settings, deliver: Deliver) -> None:
    desk = Desk(settings, tenant_of({"required": True}))
    deliver(f"plays/{DAY}/a.ndjson", plays("a1"))
    desk.land()
    desk.steer("withdraw")
    with pytest.raises(SourceMissing):
        desk.land()


def test_a_state_that_was_withdrawn_leaves_the_one_before_and_is_not_taken_any_night(settings: Settings, deliver: Deliver) -> None:
    desk = Desk(settings, tenant_of({"location": "plays.ndjson"}, begins_on=EVE))
    deliver("plays.ndjson", plays("old"))
    desk.land(EVE)
    deliver("plays.ndjson", plays("wrong"))
    desk.land(DAY)
    desk.steer("withdraw")
    (warning,) = desk.land(DAY + timedelta(days=1))
    assert "was taken back" in warning
    assert desk.rows() == ["old"]
    deliver("plays.ndjson", plays("new"))
    assert desk.land(DAY + timedelta(days=1)) == []
    assert desk.rows() == ["new", "old"]


def test_an_api_is_asked_again_for_a_withdrawn_day_and_refused_what_it_said(settings: Settings, server: Server) -> None:
    source = {"kind": "api", "connection": "shop", "location": "plays?day={day}", "format": "json"}
    desk = Desk(settings, tenant_of(source), server.connection)
    lines = [json.loads(line) for line in plays("wrong").splitlines()]
    server.says(f"/plays?day={DAY}", Answer(json.dumps(lines).encode()))
    desk.land()
    desk.steer("withdraw")
    (warning,) = [told for told in desk.land() if "encrypted" not in told]
    assert "was taken back" in warning
    assert desk.rows() == []
    lines[0]["play_id"] = "right"
    server.says(f"/plays?day={DAY}", Answer(json.dumps(lines).encode()))
    desk.land()
    assert desk.rows() == ["right"]


@pytest.mark.parametrize("watermark", [None, {"column": "n", "type": "number"}])
def test_a_table_goes_on_behind_what_was_withdrawn(settings: Settings, tmp_path: Path, watermark: dict[str, str] | None) -> None:
    columns = "n INTEGER, play_id, played_at, listener_id, track_id, ms_played INTEGER"
    row = "(?, ?, '2026-03-28T10:00:00Z', 'l', 't', 1)"
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute(f"CREATE TABLE plays ({columns})")
        shop.execute(f"INSERT INTO plays VALUES {row}", (1, "wrong"))
    source = {"kind": "database", "connection": "shop", "location": "", "format": "parquet"}
    tenant = tenant_of(source | {"database": {"table": "plays", "watermark": watermark}}, begins_on=EVE)
    desk = Desk(settings, tenant, lambda _: Connection("sqlite", path=str(tmp_path / "shop.db")))
    desk.land(EVE)
    desk.steer("withdraw", of=EVE)
    assert desk.rows() == []
    assert any("was taken back" in warning for warning in desk.land(DAY))
    assert desk.rows() == []
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute(f"INSERT INTO plays VALUES {row}", (2, "right"))
    shop.close()
    desk.land(DAY)
    assert desk.rows() == ["right", "wrong"], "a source is asked for the last value once more, and for a state as a whole"
    desk.steer("withdraw", of=DAY)
    assert desk.rows() == []
    desk.steer("restore", of=EVE)
    assert desk.rows() == ["wrong"]


def test_of_a_source_that_grows_only_what_ends_alike_takes_a_place(settings: Settings, desk: Desk) -> None:
    """Such manifests are not made by a night; a folder that a person put back may hold one."""
    from nocturne.landing.batches import Shelf
    from nocturne.manifests import Range, write_manifest

    standing = Shelf(settings, desk.tenant, desk.tenant.sources[0]).manifest(DAY)
    assert standing
    write_manifest(settings, desk.tenant, standing.model_copy(update={"ranges": (Range(part="n", until="9"),)}))
    with pytest.raises(PermanentError, match="ends elsewhere"):
        desk.steer("restore")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"reason": "no"}, "needs a reason of 8 characters"),
        ({"source": "adverts"}, r"no source 'adverts'. .*Choose one of plays"),
        ({"number": 7}, "there is no delivery 7"),
        ({"of": EVE}, "no other delivery is kept"),
        ({"of": EVE, "action": "withdraw"}, "could be withdrawn"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(desk: Desk, asked: dict[str, Any], told: str) -> None:
    before = desk.listed()
    with pytest.raises(PermanentError, match=f"(?s){told}"):
        desk.steer(**({"action": "restore"} | asked))
    assert desk.listed() == before


def test_what_stands_cannot_be_restored(desk: Desk) -> None:
    desk.steer("restore", number=1)
    with pytest.raises(PermanentError, match="stands already"):
        desk.steer("restore", number=1)


def test_a_request_is_answered_once_however_often_it_is_made(desk: Desk) -> None:
    desk.steer("restore", asked="first")
    assert desk.steer("restore", asked="first").entries[0].skipped
    assert desk.rows() == ["a1", "b1"]
    desk.steer("restore", number=2, asked="second")
    assert desk.steer("restore", asked="first").entries[0].skipped
    assert desk.rows() == ["a2", "a3", "b1"]


def test_files_are_kept_for_a_while_and_refusals_for_ever(desk: Desk, deliver: Deliver) -> None:
    desk.steer("restore")
    today = datetime.now(UTC).date()
    assert trim_deliveries(desk.tenant, today + timedelta(days=30), desk.settings, desk.marks).entries == ()
    (entry,) = trim_deliveries(desk.tenant, today + timedelta(days=31), desk.settings, desk.marks).entries
    assert (entry.name, entry.counts["removed"]) == (f"plays/{DAY}", 2), "the copy of what stands goes as well"
    assert desk.rows() == ["a1", "b1"]
    with pytest.raises(PermanentError, match="no longer kept"):
        desk.steer("restore", number=2)
    deliver(f"plays/{DAY}/a.ndjson", plays("a2", "a3"))
    assert len(desk.land()) == 1
    assert desk.rows() == ["a1", "b1"]
    desk.steer("withdraw")
    assert [one.is_kept for one in list_deliveries(desk.tenant, desk.settings, "plays", DAY)] == [True, False]


def test_what_is_kept_is_packed_and_encrypted_as_what_stands(desk: Desk) -> None:
    tenant = desk.tenant.model_copy(update={"encrypts_landing": True})
    pack_landing(tenant, LATER, desk.settings, desk.marks)
    raw = [path for path in (desk.settings.lake_root / "dusk/landing").rglob("*.ndjson") if path.is_file()]
    assert len(raw) == 4
    assert all(at_rest.is_encrypted(path) for path in raw)
    desk.tenant = tenant
    desk.steer("restore")
    assert desk.rows() == ["a1", "b1"]
    assert not [path for path in desk.settings.lake_root.rglob("*") if path.is_file() and b'"a1"' in path.read_bytes()[:40]]


KILLS = """
import json, shutil, sys
from pathlib import Path
from tests.integration.landing.delivering import DAY, tenant_of
from tests.integration.landing.killing import killed_at
from nocturne.landing import land, steer_deliveries, trim_deliveries
from nocturne.ledger import MemoryMarks
from nocturne.manifests import read_manifests
from nocturne.settings import load_settings

settings = load_settings(var=Path(sys.argv[1]), master_key="5a" * 32)
tenant = tenant_of({})
place = settings.sources_root / f"plays/{DAY}/a.ndjson"
place.parent.mkdir(parents=True)

def steer(action, number=None):
    steer_deliveries(tenant, DAY, settings, MemoryMarks(), source="plays", of=DAY, action=action, number=number,
        reason="it was wrong", asked=f"{action} {number}", by="somebody")

def stands():
    found = read_manifests(settings, tenant, "plays").values()
    folder = settings.lake_root / f"dusk/landing/plays/received_on={DAY}/plays"
    return ["".join((folder / file.name).read_text() for file in one.files) for one in found]

for action, wanted in (("restore", ["first"]), ("withdraw", [])):
    step = 0
    while True:
        step += 1
        shutil.rmtree(settings.lake_root, ignore_errors=True)
        marks = MemoryMarks()
        for content in ("first", "second"):
            place.write_text(content)
            land(tenant, DAY, settings, marks)
        was_killed = killed_at(step, lambda _: steer(action))
        assert stands() in (["second"], wanted), (action, step, stands())
        land(tenant, DAY, settings, marks)
        assert stands() in (["second"], wanted), (action, step, stands())
        steer(action)
        assert stands() == wanted, (action, step, stands())
        land(tenant, DAY, settings, marks)
        assert stands() == wanted, (action, step, stands())
        steer("restore", 2)
        assert stands() == ["second"], (action, step, stands())
        if not was_killed:
            break
    print(step, end=" ")
"""


def test_a_restore_that_is_killed_anywhere_is_done_by_the_next(tmp_path: Path) -> None:
    restore, withdraw = map(int, run(KILLS, str(tmp_path / "var")).split())
    assert restore > 12
    assert withdraw > 8


def test_every_batch_is_whole_while_deliveries_come_and_go(desk: Desk) -> None:
    for action in ("restore", "withdraw", "restore"):
        desk.steer(action)
        for manifest in read_manifests(desk.settings, desk.tenant, "plays").values():
            folder = desk.settings.lake_root / f"dusk/landing/plays/received_on={DAY}/plays"
            assert {path.name for path in folder.iterdir()} == {file.name for file in manifest.files} | {"manifest.json"}
