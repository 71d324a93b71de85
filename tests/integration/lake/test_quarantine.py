"""The quarantine, for people: a bad mapping, what is shown of its rows, the correction, the replay, and rows in silver."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nocturne import cli
from nocturne.datasets import DATASETS
from nocturne.errors import PermanentError
from nocturne.ledger import Ledger, Mark
from nocturne.settings import Settings
from nocturne.silver.quarantine import MASKED, examples, refused, replay, standing
from tests.integration.lake.worlds import PLAYS, Night, day, play, silver_hash, tenant_with

MAPPED = {
    **PLAYS,
    "map": {"play_id": "id", "played_at": "at", "listener_id": "who", "track_id": "song", "ms_played": "seconds * 1000", "country": "land"},
    "columns": {"seconds": "double"},
}


def delivered(key: str, number: int, **changes: object) -> dict[str, object]:
    at = f"{day(number)}T12:00:00Z"
    return {"id": key, "at": at, "who": "ada@example.org", "song": "t1", "seconds": 30, "land": "FR", "note": "call me", **changes}


@pytest.fixture
def night(settings: Settings) -> Night:
    """Two nights with one bad row each, and one without."""
    night = Night(settings, tenant_with(MAPPED))
    night.deliver("app", day(0), [delivered("a", 0), delivered("b", 0, land="UK")])
    night.deliver("app", day(1), [delivered("c", 1, seconds=-1), delivered("d", 1), delivered("e", 1, land="UK", seconds="x")])
    night.deliver("app", day(2), [delivered("f", 2)])
    night.run()
    return night


def test_what_stands_is_counted_by_dataset_and_by_reason(night: Night) -> None:
    assert [(one.dataset, one.delivered, one.quarantined, one.batches) for one in standing(night.tenant, night.marks)] == [
        ("plays", 6, 3, 2)
    ]
    told = [(one.reason, one.rows, one.batches, one.first, one.last) for one in refused(night.tenant, night.marks)]
    assert told[0] == ("country: is no ISO 3166-1 country", 2, 2, "app/2026-03-01", "app/2026-03-02")
    assert ("ms_played: is below 0", 1, 1, "app/2026-03-02", "app/2026-03-02") in told
    with pytest.raises(PermanentError, match="The tenant has no dataset tracks"):
        refused(night.tenant, night.marks, ["tracks"])


def test_examples_show_where_and_why_and_nobodys_data(night: Night) -> None:
    shown = examples(night.tenant, DATASETS["plays"], night.settings)
    assert [(one.batch, one.file, one.line) for one in shown] == [
        ("app/2026-03-02", "a.ndjson", 1), ("app/2026-03-02", "a.ndjson", 3), ("app/2026-03-01", "a.ndjson", 2),
    ]  # fmt: skip
    assert shown[2].reasons == ("country: 'UK' is no ISO 3166-1 country",)
    assert shown[2].delivered == {
        "id": "b", "at": "2026-03-01T12:00:00Z", "who": MASKED, "song": "t1", "seconds": "30", "land": "UK", "note": MASKED,
    }  # fmt: skip
    (only,) = examples(night.tenant, DATASETS["plays"], night.settings, reason="below 0")
    assert only.line == 1
    assert len(examples(night.tenant, DATASETS["plays"], night.settings, count=1)) == 1


def test_a_persons_value_is_masked_in_reasons_and_in_rows_that_cannot_be_read(settings: Settings) -> None:
    listeners = {"name": "people", "dataset": "listeners", "kind": "files", "location": "people.ndjson"}
    night = Night(settings, tenant_with(PLAYS, listeners))
    night.deliver(
        "people", day(0), [{"listener_id": "l1", "email": "ada@example.org", "birth_year": "seventeen"}, "ada@example.org is no row"]
    )
    night.deliver("app", day(0), [play("a", 0, track_id=None, session_id="of ada@example.org")])
    night.run()
    said = repr([examples(night.tenant, DATASETS[name], settings) for name in ("listeners", "plays")])
    assert f"birth_year: {MASKED} is no whole number" in said
    assert "not shown: 25 characters" in said
    assert f"of {MASKED}" in said
    for secret in ("ada", "seventeen", "l1"):
        assert secret not in said


def test_a_reason_tells_no_persons_value_through_another_column(settings: Settings) -> None:
    night = Night(settings, tenant_with({**MAPPED, "map": {**MAPPED["map"], "ms_played": "who::BIGINT"}}))  # type: ignore[dict-item]
    night.deliver("app", day(0), [delivered("a", 0)])
    night.run()
    (only,) = examples(night.tenant, DATASETS["plays"], settings)
    assert "ada" not in repr(only)
    assert only.reasons[0].startswith("ms_played: ")


def test_a_corrected_mapping_and_a_replay_bring_the_rows_into_silver(night: Night) -> None:
    assert len(night.rows("silver")) == 3
    corrected = {**MAPPED, "map": {**MAPPED["map"], "country": "replace(land, 'UK', 'GB')"}}  # type: ignore[dict-item]
    night.tenant = tenant_with(corrected)
    assert replay(night.tenant, night.marks, reason="country") == {"plays": ["app/2026-03-01", "app/2026-03-02"]}
    night.run()  # raises if the rows do not add up
    assert [row["play_id"] for row in night.rows("silver", order="play_id")] == ["a", "b", "d", "f"]
    assert {row["reasons"][0] for row in night.rows("quarantine")} == {
        "ms_played: '-1000' is below 0",
        "ms_played: seconds 'x' is no number",
    }
    (left,) = standing(night.tenant, night.marks)
    assert (left.delivered, left.quarantined) == (6, 2)


def test_a_replay_takes_what_the_mapping_cannot_know_of(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the declaration changed; the batches are read again all the same, and no others."""
    before = silver_hash(night)
    assert replay(night.tenant, night.marks, datasets=["plays"], reason="below") == {"plays": ["app/2026-03-02"]}
    assert replay(night.tenant, night.marks, datasets=["plays"], reason="below") == {"plays": ["app/2026-03-02"]}
    loaded, _ = night.run()
    assert loaded.entries[0].counts["batches"] == 1
    assert silver_hash(night) == before
    assert replay(night.tenant, night.marks, reason="no such reason") == {}
    loaded, _ = night.run()
    assert loaded.entries[0].skipped


def test_a_replay_that_was_killed_half_way_loses_nothing(night: Night) -> None:
    """The gate's marks are gone, bronze's still stand."""
    before = silver_hash(night)
    night.marks.unmark(night.tenant, "gate_bronze", "plays", ["app/2026-03-02"])
    night.run()
    assert silver_hash(night) == before


# the commands ------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def kept(database: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    """The same in an installation with PostgreSQL, whose tenant is a file."""
    for name in ("var", "postgres_port", "airflow_port", "mlflow_port", "demo_port", "log_port", "trigger_log_port"):
        monkeypatch.setenv(f"NOCTURNE_{name.upper()}", str(getattr(database, name)))
    assert database.master_key
    monkeypatch.setenv("NOCTURNE_MASTER_KEY", database.master_key.get_secret_value())
    for name in ("lake", "sources", "tenants"):
        monkeypatch.setenv(f"NOCTURNE_{name.upper()}", str(tmp_path / name))
        (tmp_path / name).mkdir()
    declared = {"name": "Refusing", "time_zone": "UTC", "currency": "EUR", "begins_on": day(0).isoformat(), "sources": [MAPPED]}
    (tmp_path / "tenants/refusing.yml").write_text(json.dumps(declared))
    night = Night(database.model_copy(update={"lake": tmp_path / "lake"}), tenant_with(MAPPED, slug="refusing", time_zone="UTC"))
    night.marks = Ledger(database)
    night.deliver("app", day(0), [delivered("a", 0), delivered("b", 0, land="UK")])
    night.run()
    return night


def split(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]


def test_the_commands_list_show_and_replay(kept: Night, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["quarantine", "list", "refusing"]) == 0
    listed = capsys.readouterr().out
    assert ["plays", "country: is no ISO 3166-1 country", "1", "1", "app/2026-03-01", "app/2026-03-01"] in split(listed)

    assert cli.main(["quarantine", "show", "refusing", "plays"]) == 0
    shown = capsys.readouterr().out
    assert "app/2026-03-01, a.ndjson:2\n  because  country: 'UK' is no ISO 3166-1 country\n" in shown
    assert f"  who = {MASKED}\n" in shown
    assert "ada" not in shown

    assert cli.main(["quarantine", "replay", "refusing"]) == 0
    assert "The next night loads them again." in capsys.readouterr().out
    assert kept.marks_of("bronze") == {}
    assert kept.load().entries[0].counts["batches"] == 1

    assert cli.main(["quarantine", "show", "refusing", "tracks"]) == 1
    assert "Next: Choose one of plays." in capsys.readouterr().err


def test_nothing_is_replayed_while_a_night_changes_the_tenant(kept: Night, capsys: pytest.CaptureFixture[str]) -> None:
    marks: dict[str, Mark] = kept.marks_of("bronze")
    ledger = Ledger(kept.settings)
    with ledger.holding(kept.tenant, "the night"):
        assert cli.main(["quarantine", "replay", "refusing"]) == 1
    ledger.release(kept.tenant, "the night")
    assert "the night is changing this tenant" in capsys.readouterr().err
    assert kept.marks_of("bronze") == marks
