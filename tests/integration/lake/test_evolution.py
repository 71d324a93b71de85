"""A dataset's declaration changes: what stands in the lake and what was delivered before follow it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nocturne import datasets
from nocturne.datasets import DATASETS, Column, Type
from nocturne.lake import duck, table
from nocturne.settings import Settings
from nocturne.tenants import Source, load_tenants
from tests.integration.lake.worlds import PLAYS, WEB, Night, day, play, tenant_with

MOOD = Column("mood", Type.TEXT, "What the listener felt.")


def evolve(monkeypatch: pytest.MonkeyPatch, *columns: Column, without: str = "") -> None:
    """From now on, plays have these columns too, and no column `without`; one that stands already is declared anew."""
    plays = DATASETS["plays"]
    named = {column.name: column for column in (*plays.columns, *columns) if column.name != without}
    changed = replace(plays, columns=tuple(named.values()))
    monkeypatch.setitem(datasets.DATASETS, "plays", changed)  # type: ignore[arg-type]


@pytest.fixture
def night(settings: Settings) -> Night:
    night = Night(settings, tenant_with(PLAYS, WEB))
    night.deliver("app", day(0), [play("a", 0, mood="calm"), play("b", 0), play("bad", 0, ms_played=-1)])
    night.deliver("web", day(1), [play("c", 1, mood="wild")])
    night.run()
    return night


def test_a_new_column_is_read_from_what_was_delivered_before_it_was_declared(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    evolve(monkeypatch, MOOD)
    night.run()
    for layer in ("bronze", "silver"):
        found = night.rows(layer, columns="play_id, mood")
        assert {row["play_id"]: row["mood"] for row in found if row["play_id"] != "bad"} == {"a": "calm", "b": None, "c": "wild"}


def test_a_column_that_is_no_longer_declared_is_no_longer_read(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    evolve(monkeypatch, without="session_id")
    night.run()
    assert "session_id" not in night.rows("silver")[0]
    assert len(night.rows("silver")) == 3


def test_another_type_is_read_from_what_was_delivered(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.deliver("app", day(2), [play("d", 2, session_id="17")])
    night.run()
    evolve(monkeypatch, Column("session_id", Type.INTEGER, "The session, as a number."))
    night.run()
    assert [row["session_id"] for row in night.rows("silver", order="play_id")] == [None, None, None, 17]


def test_batches_of_a_source_that_is_no_longer_declared_follow_too(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    without = Night(night.settings, tenant_with(PLAYS), night.marks)
    without.run()
    evolve(monkeypatch, MOOD)
    loaded, _ = without.run()
    assert {row["play_id"]: row["mood"] for row in without.rows("silver")} == {"a": "calm", "b": None, "c": "wild"}
    assert loaded.warnings == ("plays: the source web is no longer declared; its batches stay, as it was last declared",)
    assert without.load().entries[0].skipped


def test_a_rule_that_is_new_judges_batches_of_sources_that_are_no_longer_declared(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    without = Night(night.settings, tenant_with(PLAYS), night.marks)
    without.load()
    evolve(monkeypatch, replace(MOOD, accepted=("calm",)))
    without.run()
    assert [row["play_id"] for row in without.rows("silver", order="play_id")] == ["a", "b"]
    assert {row["_batch"] for row in without.rows("quarantine") if "mood" in str(row["reasons"])} == {"web/2026-03-02"}


def test_files_of_before_and_after_are_read_together(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a load sees them that compares what it loaded with what stands, or a night that was killed amid a migration."""
    before = table(night.settings, night.tenant, "silver", "plays").file_names([str(day(0)), str(day(1))])
    old = [name for names in before.values() for name in names]
    evolve(monkeypatch, MOOD)
    night.deliver("app", day(2), [play("d", 2, mood="late")])
    night.run()
    silver = table(night.settings, night.tenant, "silver", "plays")
    new = [name for names in silver.file_names([str(day(2))]).values() for name in names]
    with duck(night.settings) as connection:
        for names, found in (((*old, *new), [None, None, None, "late"]), (old, [None] * 3)):
            rows = connection.execute(f"SELECT mood FROM {silver.rows_of_names(names)} ORDER BY play_id").fetchall()
            assert [mood for (mood,) in rows] == found


def test_a_source_is_remembered_for_as_long_as_it_is_declared_or_landed(night: Night) -> None:
    assert set(night.marks_of("declared")) == {"app", "web"}
    night.withdraw("web", day(1))
    without = Night(night.settings, tenant_with(PLAYS), night.marks)
    without.load()
    assert set(without.marks_of("declared")) == {"app"}


def test_every_source_can_be_remembered(settings: Settings) -> None:
    sources = [source for tenant in load_tenants(settings.tenants).tenants.values() for source in tenant.sources]
    assert sources
    for source in sources:
        again = Source.model_validate(source.model_dump(mode="json", exclude_defaults=True))
        assert (again, again.fingerprint) == (source, source.fingerprint)
