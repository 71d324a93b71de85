"""The answer sheet: its numbers are those that anybody counts who sees the deliveries."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nocturne.simulator import World, small_world
from nocturne.simulator.answers import answers, churn_oracle, main, write_answers
from nocturne.simulator.sounds import genre_posterior

EVENTS = {
    "hits": [{"happens_on": "2026-03-10", "peak_share": 0.3}],
    "outages": [{"happens_on": "2026-03-12", "from_hour": 12, "to_hour": 20}],
    "bot_farms": [{"from_on": "2026-03-08", "to_on": "2026-03-09", "accounts": 2, "plays_a_day": 30}],
    "price_changes": [{"happens_on": "2026-03-15", "plan_id": "premium-monthly", "ratio": 1.2}],
    "experiments": [{"experiment_id": "welcome", "from_on": "2026-03-01", "to_on": "2026-03-10", "effect": 1.0}],
    "rights_transfers": [{"happens_on": "2026-03-05"}],
}


@pytest.fixture(scope="module")
def world() -> World:
    return small_world(
        seed=11, days=30, listeners=160, events=EVENTS, damage={"late": 0.05, "repeated": 0.02, "corrected": 0.02, "broken": 0.02}
    )


@pytest.fixture(scope="module")
def sheet(world: World) -> dict[str, Any]:
    return answers(world)


def test_it_is_json_and_written_whole(sheet: dict[str, Any], tmp_path: Path) -> None:
    assert json.loads(json.dumps(sheet)) == sheet
    small = small_world(days=2, listeners=20)
    for _ in range(2):
        write_answers(small, tmp_path / "answers.json")
        assert json.loads((tmp_path / "answers.json").read_text()) == answers(small)
    assert [path.name for path in tmp_path.iterdir()] == ["answers.json"]


def test_deliveries_add_up(world: World, sheet: dict[str, Any]) -> None:
    for dataset in ("plays", "subscription_events", "payments", "rights", "chart_entries"):
        told = sheet["deliveries"][dataset]
        rows = sum(len(delivery) for _, delivery in world.deliveries(dataset))
        assert told["rows"] == rows == sum(told["counts"].values()), dataset
        assert rows == sum(sum(of_day.values()) for of_day in told["by_received_date"].values())
    plays = sheet["deliveries"]["plays"]["counts"]
    assert plays["first"] + plays["late"] == len(world.table("plays"))


def test_plays_by_event_date_are_counted_once(world: World, sheet: dict[str, Any]) -> None:
    plays = world.table("plays")
    told = sheet["plays_by_event_date"]
    assert sum(day["attempts"] for day in told.values()) == len(plays)
    assert sum(day["streams"] for day in told.values()) == pc.sum(pc.greater_equal(plays["ms_played"], 30_000)).as_py()
    assert sum(day["ms_played"] for day in told.values()) == pc.sum(plays["ms_played"]).as_py()
    on = world.days[6]
    rows = world.events("plays", on)
    streams = rows.filter(pc.greater_equal(rows["ms_played"], 30_000))
    skips = pc.is_in(rows["reason_end"], pa.array(["forward", "back", "track_change"]))
    assert told[str(on)] == {
        "attempts": len(rows),
        "plays": pc.sum(pc.greater(rows["ms_played"], 0)).as_py(),
        "streams": len(streams),
        "skips": pc.sum(pc.and_(skips, pc.greater(rows["ms_played"], 0))).as_py(),
        "listeners": pc.count_distinct(streams["listener_id"]).as_py(),
        "ms_played": pc.sum(rows["ms_played"]).as_py(),
    }


def test_expected_plays_are_what_comes_on_average(world: World, sheet: dict[str, Any]) -> None:
    expected = sum(sheet["expected_plays_by_received_date"].values())
    counts = sheet["deliveries"]["plays"]["counts"]
    came = counts["first"] + counts["late"] + sheet["events"]["outages"][0]["lost_plays"]
    assert came == pytest.approx(expected, rel=0.06)


def test_planted_events_are_told_with_their_identifiers_and_counts(world: World, sheet: dict[str, Any]) -> None:
    plays = world.table("plays")
    hit, farm = sheet["events"]["hits"][0], sheet["events"]["bot_farms"][0]
    assert sum(hit["plays_by_event_date"].values()) == pc.sum(pc.equal(plays["track_id"], hit["track_id"])).as_py()
    assert hit["plays_by_event_date"]["2026-03-25"] > 10 * hit["plays_a_day_before"]
    assert farm["plays_by_event_date"] == {"2026-03-08": 60, "2026-03-09": 60}
    assert pc.sum(pc.is_in(plays["listener_id"], pa.array(farm["listener_ids"]))).as_py() == 120
    assert sheet["events"]["price_changes"][0]["prices"] == {"FR": {"currency": "EUR", "before": 11.99, "after": 14.39}}
    transfer = sheet["events"]["rights_transfers"][0]
    closed = [row for row in world.table("rights").to_pylist() if row["valid_to_on"] is not None]
    assert {row["track_id"] for row in closed} == set(transfer["track_ids"])
    assert {row["holder_id"] for row in closed} == set(transfer["from_holder_ids"])


def test_corrections_are_told_by_play(world: World, sheet: dict[str, Any]) -> None:
    last: dict[str, int] = {}
    first: dict[str, int] = {}
    for _, delivery in world.deliveries("plays"):
        for play_id, ms_played in zip(delivery.rows["play_id"].to_pylist(), delivery.rows["ms_played"].to_pylist(), strict=True):
            first.setdefault(play_id, ms_played)
            if ms_played != first[play_id]:
                last[play_id] = ms_played
    assert sheet["corrected"] == last and last


def test_an_experiment_counts_its_exposures(world: World, sheet: dict[str, Any]) -> None:
    told = sheet["events"]["experiments"][0]
    exposures = Counter(world.table("exposures")["variant"].to_pylist())
    assert told["exposed"] == {"control": exposures["control"], "treatment": exposures["treatment"]}
    assert 0 < told["true_difference"] < 0.25
    for variant in ("control", "treatment"):
        assert told["converted"][variant] <= told["trials_ended"][variant] <= told["exposed"][variant]


def test_hidden_genres_are_those_that_the_catalogue_does_not_show(world: World, sheet: dict[str, Any]) -> None:
    tracks = world.catalogue.parameters.tracks
    shown = {row["track_id"]: row["genre"] for row in world.registers.standing("tracks").rows.to_pylist()}
    assert set(sheet["genre"]["hidden"]) == {track_id for track_id, genre in shown.items() if genre is None}
    assert len(shown) == tracks
    assert 0.5 < sheet["genre"]["bayes_accuracy"] < 0.95


def test_the_posterior_of_a_genre_is_calibrated() -> None:
    world = small_world(tracks=6_000, artists=900, days=1)
    catalogue = world.catalogue
    priors = np.bincount(catalogue.track_genre) / 6_000
    posterior = genre_posterior(catalogue.genres, priors, catalogue.hidden, 1.0)
    assert posterior.sum(axis=1) == pytest.approx(1)
    right = posterior.argmax(axis=1) == catalogue.track_genre
    assert right.mean() == pytest.approx(posterior.max(axis=1).mean(), abs=0.02)
    middling = (posterior.max(axis=1) > 0.5) & (posterior.max(axis=1) < 0.7)
    assert right[middling].mean() == pytest.approx(0.6, abs=0.06)


def test_decisions_are_told_with_their_probability(world: World, sheet: dict[str, Any]) -> None:
    decisions = sheet["churn"]["decisions"]
    assert all(0 < p < 1 for *_, p, _ in decisions)
    told_off = {row["listener_id"] for row in world.table("subscription_events").to_pylist() if row["event_type"] == "auto_renew_off"}
    cancelled = {who for who, decided, to, _, cancels in decisions if cancels and decided < to}
    assert cancelled <= told_off
    ended = Counter(reason for _, _, reason in sheet["churn"]["ended"])
    events = [row["end_reason"] for row in world.table("subscription_events").to_pylist() if row["event_type"] == "ended"]
    assert ended == Counter(events)


def test_the_best_guess_knows_the_payers_of_its_day(world: World) -> None:
    as_of = world.days[12]
    oracle = churn_oracle(world, as_of, horizon_days=31)
    assert len(set(oracle.listener_ids)) == len(oracle.listener_ids) > 20
    running = {}
    for row in sorted(world.table("subscription_events").to_pylist(), key=lambda row: row["occurred_at"]):
        if row["occurred_at"].date() <= as_of:
            if row["event_type"] in ("started", "renewed", "plan_changed", "reactivated"):
                running[row["listener_id"]] = row["period_to_on"]
            elif row["event_type"] == "ended":
                running.pop(row["listener_id"], None)
    due = {who for who, to in running.items() if 0 < (to - as_of).days <= 31}
    assert set(oracle.listener_ids) == due
    assert not oracle.known.any()  # the world ends before the grace of any of them


def test_its_command_names_the_worlds_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nonsense"]) == 2
    assert "Name one of the demo worlds" in capsys.readouterr().err
