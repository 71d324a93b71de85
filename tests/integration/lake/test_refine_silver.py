"""`refine_silver`: what wins, what is set aside, which dates are rebuilt, and that nothing flows around the gate."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from nocturne.errors import PermanentError
from nocturne.lake import table
from nocturne.ledger import Mark
from nocturne.settings import Settings
from nocturne.silver.pseudonyms import pseudonym, tenant_key
from tests.integration.lake.worlds import ARTISTS, PLAYS, Night, day, everything, play, tenant_with

LISTENERS = {"name": "people", "dataset": "listeners", "kind": "files", "location": "people.ndjson"}
RATES = {"name": "rates", "dataset": "fx_rates", "kind": "files", "location": "rates/{day}.ndjson"}
TRACKS = {"name": "tracks", "dataset": "tracks", "kind": "files", "location": "tracks/{day}.ndjson"}
SALES = {"name": "shop", "dataset": "sales", "kind": "files", "location": "sales/{day}.ndjson"}


def silver(night: Night) -> list[tuple[str, int, int, int]]:
    """(key, milliseconds, day played, day received) of the plays in silver."""
    rows = night.rows("silver", order="play_id")
    return [
        (row["play_id"], row["ms_played"], row["played_on"].toordinal() - START, row["received_on"].toordinal() - START) for row in rows
    ]


START = day(0).toordinal()


def files(night: Night) -> dict[str | None, Path]:
    """The data file of each event date."""
    return {file.part: file.path for file in table(night.settings, night.tenant, "silver", "plays").files()}


# the winner ------------------------------------------------------------------------------------------------------------------------
def test_the_content_that_arrived_last_stands(night: Night) -> None:
    night.deliver("app", day(0), [play("a", 0, ms_played=1)])
    night.deliver("app", day(1), [play("a", 0, ms_played=2)])
    night.run()
    assert silver(night) == [("a", 2, 0, 1)]


def test_a_replay_never_undoes_a_correction(night: Night) -> None:
    night.deliver("app", day(0), [play("a", 0, ms_played=1)])
    night.deliver("app", day(1), [play("a", 0, ms_played=2)])
    night.deliver("app", day(2), [play("a", 0, ms_played=1)])
    night.deliver("web", day(3), [play("a", 0, ms_played=2)])
    night.run()
    assert silver(night) == [("a", 2, 0, 1)]


def test_a_key_that_comes_with_another_instant_stands_once_at_its_new_date(night: Night) -> None:
    night.deliver("app", day(0), [play("a", 0), play("b", 0)])
    night.run()
    night.deliver("app", day(4), [play("a", 4)])
    receipt = night.run()[1]
    assert silver(night) == [("a", 1000, 4, 4), ("b", 1000, 0, 0)]
    assert receipt.entries[0].event_dates == (day(0), day(4))
    assert {part: dict(mark.facts) for part, mark in night.marks_of("silver").items()} == {
        "2026-03-01": {"rows": 1, "duplicates": 1},
        "2026-03-05": {"rows": 1, "duplicates": 0},
    }


def test_a_move_that_is_taken_back_brings_the_row_back(night: Night) -> None:
    night.deliver("app", day(0), [play("a", 0)])
    night.deliver("app", day(4), [play("a", 4)])
    night.run()
    night.withdraw("app", day(4))
    night.run()
    assert silver(night) == [("a", 1000, 0, 0)]
    assert list(night.marks_of("silver")) == ["2026-03-01"]


def test_of_contents_of_one_day_always_the_same_stands(settings: Settings, tmp_path: Path) -> None:
    found = []
    for turn, rows in enumerate(([1, 2, 3], [3, 2, 1], [2, 3, 1, 1, 2])):
        night = Night(settings.model_copy(update={"var": tmp_path / str(turn)}), tenant_with(PLAYS))
        night.deliver("app", day(0), [play("a", 0, ms_played=ms) for ms in rows])
        night.run()
        found.append(silver(night))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 1


def test_a_bad_row_never_wins(night: Night) -> None:
    night.deliver("app", day(0), [play("a", 0)])
    night.deliver("app", day(1), [play("a", 0, ms_played=-1), play("a", 1, country="France")])
    night.run()
    assert silver(night) == [("a", 1000, 0, 0)]
    assert len(night.rows("quarantine")) == 2


# which dates are rebuilt -------------------------------------------------------------------------------------------------------------
def test_only_touched_dates_are_rewritten(night: Night) -> None:
    for number in range(6):
        night.deliver("app", day(number), [play(f"k{number}", number), play(f"late{number}", number - 1)])
    night.run()
    before = files(night)
    night.deliver("web", day(6), [play("x", 6), play("very late", 2)])
    receipt = night.run()[1]
    after = files(night)
    assert receipt.entries[0].event_dates == (day(2), day(6))
    changed = {part for part in after if after[part] != before.get(part)}
    assert changed == {day(2).isoformat(), day(6).isoformat()}
    (commit, *_) = table(night.settings, night.tenant, "silver", "plays").history(1)
    assert commit["version"] == table(night.settings, night.tenant, "silver", "plays").version()


def test_rows_of_four_hundred_days_ago_rewrite_their_own_date_alone(night: Night) -> None:
    for number in range(-402, -397):
        night.deliver("app", day(number), [play(f"k{number}", number)])
    night.deliver("app", day(0), [play("k0", 0)])
    night.run()
    before = files(night)
    night.deliver("web", day(1), [play("x", 1), play("very late", -399), play("k-400", -400, ms_played=5)])
    receipt = night.run()[1]
    after = files(night)
    assert receipt.entries[0].event_dates == (day(-400), day(-399), day(1))
    assert {part for part in after if after[part] != before.get(part)} == {day(number).isoformat() for number in (-400, -399, 1)}
    assert silver(night) == [
        ("k-398", 1000, -398, -398), ("k-399", 1000, -399, -399), ("k-400", 5, -400, 1), ("k-401", 1000, -401, -401),
        ("k-402", 1000, -402, -402), ("k0", 1000, 0, 0), ("very late", 1000, -399, 1), ("x", 1000, 1, 1),
    ]  # fmt: skip


def test_everything_is_built_again_from_landing_alone(night: Night) -> None:
    for number in range(3):
        night.deliver("app", day(number), [play(f"k{number}", number), play("k0", number, ms_played=number), "broken"])
        night.deliver("artists", day(number), [{"artist_id": "a", "artist_name": f"A{number}"}])
        night.run()
    stood = everything(night)
    for layer in ("bronze", "silver", "quarantine"):
        shutil.rmtree(night.settings.lake_root / "acme" / layer)
    again = Night(night.settings, night.tenant, newest=night.newest)
    again.run()
    stands = everything(again)
    assert {what: stands[what] for what in stands if "shapes" not in what} == {what: stood[what] for what in stood if "shapes" not in what}
    assert [set(night.marks_of("shapes", name)) for name in ("plays", "artists")] == [
        set(again.marks_of("shapes", name)) for name in ("plays", "artists")
    ]  # they say on which night a shape was found, too


def test_a_second_run_changes_nothing(night: Night) -> None:
    night.deliver("app", day(0), [play("a", 0), play("bad", 0, ms_played=-1)])
    night.deliver("artists", day(0), [{"artist_id": "x", "artist_name": "X"}])
    first = night.run()[1]
    versions = [table(night.settings, night.tenant, layer, "plays").version() for layer in ("bronze", "silver", "quarantine")]
    second = night.run()[1]
    assert [entry.skipped for entry in second.entries] == [True, True]
    assert [entry.fingerprint for entry in second.entries] == [entry.fingerprint for entry in first.entries]
    assert [table(night.settings, night.tenant, layer, "plays").version() for layer in ("bronze", "silver", "quarantine")] == versions


def test_dates_that_lose_their_last_batch_go(night: Night) -> None:
    night.deliver("app", day(0), [play("a", 0), play("bad", 0, ms_played=-1)])
    night.deliver("web", day(3), [play("b", 3)])
    night.run()
    night.withdraw("app", day(0))
    night.run()
    assert silver(night) == [("b", 1000, 3, 3)]
    assert (night.rows("quarantine"), list(night.marks_of("quarantine"))) == ([], ["web/2026-03-04"])


def test_another_key_of_the_tenant_rebuilds_all_pseudonyms(night: Night) -> None:
    night.deliver("app", day(0), [play("a", 0)])
    night.run()
    other = Night(night.settings.model_copy(update={"master_key": type(night.settings.master_key)("6b" * 32)}), night.tenant, night.marks)
    assert not other.refine().entries[0].skipped
    key = tenant_key(other.settings, other.tenant)
    assert [row["listener_key"] for row in other.rows("silver")] == [pseudonym(key, "l1")]


# the gate --------------------------------------------------------------------------------------------------------------------------
def test_nothing_flows_around_the_gate(night: Night) -> None:
    night.deliver("app", day(0), [play("a", 0)])
    night.deliver("app", day(1), [play("b", 1), play("a", 1, ms_played=-1)])
    night.load()
    assert [entry.skipped for entry in night.refine().entries] == [True, True]
    night.gate(stopped=["app/2026-03-02"])
    night.refine()
    assert (silver(night), night.rows("quarantine")) == ([("a", 1000, 0, 0)], [])
    night.gate()
    night.refine()
    assert silver(night) == [("a", 1000, 0, 0), ("b", 1000, 1, 1)]


def test_a_batch_that_changed_must_pass_again(night: Night) -> None:
    night.deliver("app", day(0), [play("a", 0)])
    night.run()
    night.deliver("app", day(0), [play("b", 0)])
    night.load()
    night.refine()
    assert silver(night) == []
    night.gate()
    night.refine()
    assert silver(night) == [("b", 1000, 0, 0)]


# quarantine --------------------------------------------------------------------------------------------------------------------------
def test_a_bad_row_is_set_aside_with_every_reason(night: Night) -> None:
    batch = night.deliver(
        "app",
        day(0),
        [
            play("good", 0),
            play("", 0, ms_played=-1, country="France"),
            play("x", 0, ms_played="long"),
            play("y", 0, ms_played="short"),
            play("z", 9),
            "no json",
        ],
    )
    night.run()
    reasons = {row["_line"]: row["reasons"] for row in night.rows("quarantine", order="_line")}
    assert reasons == {
        2: ["play_id: is missing", "ms_played: '-1' is below 0", "country: 'FRANCE' is no ISO 3166-1 country"],
        3: ["ms_played: 'long' is no whole number"],
        4: ["ms_played: 'short' is no whole number"],
        5: ["played_at: its date '2026-03-10' lies after the day on which it was received"],
        6: ["row: is no JSON object"],
    }
    facts = night.marks_of("quarantine")[batch].facts
    assert (facts["rows"], facts["valid"], facts["quarantined"]) == (6, 1, 5)
    assert facts["reasons"] == {
        "country: is no ISO 3166-1 country": 1,
        "ms_played: is below 0": 1,
        "ms_played: is no whole number": 2,
        "play_id: is missing": 1,
        "played_at: its date lies after the day on which it was received": 1,
        "row: is no JSON object": 1,
    }
    assert night.rows("quarantine", order="_line")[4]["_delivered"] == "no json"


def test_a_code_is_conformed_before_keys_are_compared(settings: Settings) -> None:
    night = Night(settings, tenant_with(RATES, TRACKS))
    night.deliver("rates", day(0), [{"currency": "usd", "rated_on": "2026-03-01", "rate": 0.9}])
    night.deliver("rates", day(1), [{"currency": "USD", "rated_on": "2026-03-01", "rate": 0.8}])
    codes = {"isrc": "US-RC1-76-07839", "iswc": "T-034.524.680-1"}
    night.deliver("tracks", day(0), [{"track_id": "t", "title": "T", **codes}, {"track_id": "u", "title": "U", "iswc": "T-034.524.680-2"}])
    night.run()
    assert [(row["currency"], row["rate"]) for row in night.rows("silver", "fx_rates")] == [("USD", 0.8)]
    assert [(row["isrc"], row["iswc"]) for row in night.rows("silver", "tracks")] == [("USRC17607839", "T0345246801")]
    assert [row["reasons"] for row in night.rows("quarantine", "tracks")] == [["iswc: 'T0345246802' is no ISWC"]]


def test_a_corrected_batch_leaves_quarantine(night: Night) -> None:
    night.deliver("app", day(0), [play("a", 0, ms_played=-1)])
    night.run()
    night.deliver("app", day(0), [play("a", 0, ms_played=1)])
    night.run()
    assert (night.rows("quarantine"), silver(night)) == ([], [("a", 1, 0, 0)])


# people ------------------------------------------------------------------------------------------------------------------------------
def test_no_identifier_no_name_and_no_address_passes_silver(settings: Settings) -> None:
    night = Night(settings, tenant_with(PLAYS, LISTENERS))
    secret = "someone-who-must-not-be-known"
    person = {"listener_id": secret, "name": f"name of {secret}", "email": f"{secret}@example.org", "country": "FR", "birth_year": 1990}
    night.deliver("people", day(0), [person])
    night.deliver("app", day(0), [play("a", 0, listener_id=secret), play("b", 0, listener_id="other")])
    night.run()
    (listener,) = night.rows("silver", "listeners")
    key = pseudonym(tenant_key(settings, night.tenant), secret)
    assert (listener["listener_key"], listener["country"], listener["birth_year"]) == (key, "FR", 1990)
    assert not {"name", "email", "listener_id"} & set(listener)
    assert [row["listener_key"] == key for row in night.rows("silver", order="play_id")] == [True, False]
    stored = b"".join(path.read_bytes() for path in (settings.lake_root / "acme" / "silver").rglob("*.parquet"))
    told = repr([night.marks_of(station, name) for station in ("bronze", "silver", "quarantine") for name in ("plays", "listeners")])
    assert secret.encode() not in stored
    assert secret not in told


def test_an_event_without_a_person_stays_without_one(settings: Settings) -> None:
    seen = {"name": "seen", "dataset": "ad_impressions", "kind": "files", "location": "ads/{day}.ndjson"}
    night = Night(settings, tenant_with(seen))
    row = {"impression_id": "1", "shown_at": play("x", 0)["played_at"], "revenue_amount": "0.1", "currency": "EUR"}
    night.deliver("seen", day(0), [row, {**row, "impression_id": "2", "listener_id": "l"}])
    night.run()
    found = night.rows("silver", "ad_impressions", order="impression_id")
    assert [row["listener_key"] is None for row in found] == [True, False]


# reference datasets and dates --------------------------------------------------------------------------------------------------------
def test_a_reference_dataset_holds_the_newest_content_of_each_key(settings: Settings) -> None:
    night = Night(settings, tenant_with(ARTISTS))
    night.deliver("artists", day(0), [{"artist_id": "a", "artist_name": "Old"}, {"artist_id": "b", "artist_name": "B"}])
    night.deliver("artists", day(1), [{"artist_id": "a", "artist_name": "New"}])
    receipt = night.run()[1]
    rows = night.rows("silver", "artists", order="artist_id")
    assert [(row["artist_id"], row["artist_name"], row["received_on"]) for row in rows] == [("a", "New", day(1)), ("b", "B", day(0))]
    assert dict(night.marks_of("silver", "artists")["all"].facts) == {"rows": 2, "duplicates": 1}
    assert receipt.entries[0].event_dates == ()
    night.withdraw("artists", day(0))
    night.withdraw("artists", day(1))
    night.run()
    assert night.rows("silver", "artists") == []


def test_a_reference_dataset_keeps_each_day_of_validity(settings: Settings) -> None:
    plans = {"name": "plans", "dataset": "plans", "kind": "files", "location": "plans.ndjson"}
    night = Night(settings, tenant_with(plans))
    plan = {"plan_id": "p", "country": "FR", "tier": "premium", "billing_period": "month", "currency": "EUR"}
    prices = [
        {**plan, "valid_from_on": "2026-01-01", "price_amount": "9.99"},
        {**plan, "valid_from_on": "2026-06-01", "price_amount": "10.99"},
    ]
    night.deliver("plans", day(0), prices)
    night.run()
    assert [str(row["price_amount"]) for row in night.rows("silver", "plans", order="valid_from_on")] == ["9.990000", "10.990000"]


def test_a_dataset_that_happens_on_a_day_has_no_second_date(settings: Settings) -> None:
    night = Night(settings, tenant_with(SALES))
    night.deliver("shop", day(0), [{"sale_id": "1", "sold_on": "2026-02-27", "unit_count": 1, "net_amount": "2.5", "currency": "EUR"}])
    night.run()
    (row,) = night.rows("silver", "sales")
    assert (row["sold_on"], str(row["net_amount"])) == (date(2026, 2, 27), "2.500000")
    assert list(night.marks_of("silver", "sales")) == ["2026-02-27"]


def test_a_tenant_without_deliveries_has_an_empty_night(night: Night) -> None:
    loaded, refined = night.run()
    assert all(entry.skipped for entry in (*loaded.entries, *refined.entries))
    assert not (night.settings.lake_root / "acme").exists()


# what must add up --------------------------------------------------------------------------------------------------------------------
def tampered(night: Night, station: str, part: str, **facts: Any) -> None:
    mark = night.marks_of(station)[part]
    night.marks.mark(night.tenant, station, "plays", {part: replace(mark, facts={**mark.facts, **facts})})


def test_rows_that_do_not_add_up_stop_the_night_with_their_numbers(night: Night) -> None:
    batch = night.deliver("app", day(0), [play("a", 0), play("b", 0)])
    night.load()
    tampered(night, "bronze", batch, rows=3)
    night.gate()
    with pytest.raises(PermanentError, match="3 rows were delivered and 0 left out, but bronze holds 2"):
        night.refine()


def test_silver_that_lost_rows_is_noticed(night: Night) -> None:
    night.deliver("app", day(0), [play("a", 0), play("b", 0)])
    night.run()
    table(night.settings, night.tenant, "silver", "plays").delete(["2026-03-01"])
    night.deliver("app", day(5), [play("c", 5)])
    with pytest.raises(PermanentError, match="2026-03-01: 2 valid rows of all batches should be 2 rows and 0 duplicates; silver holds 0"):
        night.run()


def test_one_datasets_failure_costs_no_other(night: Night) -> None:
    batch = night.deliver("app", day(0), [play("a", 0)])
    night.deliver("artists", day(0), [{"artist_id": "x", "artist_name": "X"}])
    night.load()
    tampered(night, "bronze", batch, rows=9)
    night.gate()
    with pytest.raises(PermanentError, match=r"\[tenant acme\] plays"):
        night.refine()
    assert len(night.rows("silver", "artists")) == 1


def test_marks_speak_of_what_was_read_at_the_gate(night: Night) -> None:
    """A gate's mark names the bronze that it judged, in front of its own version."""
    night.deliver("app", day(0), [play("a", 0)])
    night.load()
    bronze = night.marks_of("bronze")["app/2026-03-01"].fingerprint
    for fingerprint, flows in ((f"{bronze}:any suite", True), (bronze, True), (f"x{bronze}:any suite", False)):
        night.marks.mark(night.tenant, "gate_bronze", "plays", {"app/2026-03-01": Mark(fingerprint, {"passed": True})})
        night.refine()
        assert bool(silver(night)) == flows
