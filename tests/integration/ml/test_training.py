"""Tune, train, judge, promote and predict on real PostgreSQL and MLflow: who becomes champion, what it leaves, what a re-run does."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml import prediction, registry
from ml.prediction import predict
from ml.registry import champion_folder, read_champion, restore
from ml.training import judge, promote, train, tune, watch_models
from nocturne.ledger import Ledger, MemoryMarks
from nocturne.postgres import fetch, provision
from nocturne.receipts import Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant
from tests.integration.ml.world import BEGINS, DAY, GENRES, Marts, generate, make_tenant

PROBLEMS = ("churn", "forecast", "genre")
STEPS = (tune, train, judge, promote)


@dataclass
class Trained:
    """A tenant whose champions of all problems were trained and have answered."""

    tenant: Tenant
    settings: Settings
    marks: Ledger
    receipts: dict[str, Receipt]

    def fact(self, step: str, problem: str) -> dict[str, Any]:
        """The facts of a problem in the receipt of a step."""
        entry = self.receipts[step].entry(problem)
        assert entry is not None
        return dict(entry.facts)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query; `ml.` stands for the schema of predictions."""
        return fetch(self.settings, query.replace("ml.", f"{self.tenant.ml_schema}."), role=self.tenant.owner_role)


@pytest.fixture(scope="module")
def trained(database: Settings, world: Marts) -> Trained:
    tenant = make_tenant("learner", "plays", "subscription_events", "tracks", "payments", "listeners")
    provision(tenant, database)
    world.write(tenant, database)
    ledger = Ledger(database)
    receipts = {step.__name__: step(tenant, DAY, database, ledger) for step in STEPS}
    receipts["predict"] = predict(tenant, DAY, database, ledger)
    return Trained(tenant, database, ledger, receipts)


def client(settings: Settings) -> Any:
    return registry._store(settings)


# who becomes champion ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_model_that_beats_the_baseline_becomes_champion(trained: Trained, name: str) -> None:
    verdict = trained.fact("judge", name)
    assert verdict["is_promoted"], verdict["reason"]
    assert "beats the baseline's" in verdict["reason"]
    champion = read_champion(trained.tenant, name, trained.settings)
    assert champion is not None
    assert champion.version == verdict["version"] == trained.fact("train", name)["version"]
    assert (verdict["value"] > verdict["baseline"]) is champion.metadata["metric"]["higher_is_better"]


def test_the_truth_of_the_world_is_found(trained: Trained) -> None:
    scores = {name: read_champion(trained.tenant, name, trained.settings).metadata["scores"] for name in PROBLEMS}  # type: ignore[union-attr]
    assert scores["churn"]["roc_auc"] > 0.9
    assert scores["genre"]["accuracy"] > 0.85
    assert scores["forecast"]["wape_stream_count"] < 0.08
    assert 0.4 < scores["forecast"]["coverage"] <= 1.0  # of a window that was not seen; made to hold 0.8


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_book_holds_the_run_and_the_version(trained: Trained, name: str) -> None:
    book = client(trained.settings)
    version = book.get_model_version_by_alias(trained.tenant.model_name(name), "champion")
    run = book.get_run(version.run_id)
    metadata = read_champion(trained.tenant, name, trained.settings).metadata  # type: ignore[union-attr]
    metric = metadata["metric"]["name"]
    assert run.info.status == "FINISHED"
    assert run.data.metrics[metric] == pytest.approx(metadata["metric"]["value"])
    assert run.data.metrics[f"baseline_{metric}"] == pytest.approx(metadata["baseline"]["value"])
    assert run.data.params["trials"] == "10"
    assert set(metadata["parameters"]) <= set(run.data.params)
    assert run.data.tags["features"] == ", ".join(metadata["features"])
    assert run.data.tags["window"] == f"{metadata['window']['from']} to {metadata['window']['to']}"
    assert run.data.tags["code"] == metadata["code"]
    assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(trained.settings.var / "mlflow")


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_mlflow_loads_answers_what_the_night_answers(trained: Trained, name: str) -> None:
    import mlflow
    from mlflow.models import get_model_info

    version = client(trained.settings).get_model_version_by_alias(trained.tenant.model_name(name), "champion")
    flavour = mlflow.xgboost if name == "churn" else mlflow.lightgbm
    booster = flavour.load_model(version.source)
    champion = read_champion(trained.tenant, name, trained.settings)
    assert champion is not None
    assert get_model_info(version.source.removeprefix("file://")).signature.inputs.input_names() == list(champion.features)
    x = np.random.default_rng(1).normal(size=(200, len(champion.features))).astype(np.float32)
    if name == "churn":
        import xgboost

        theirs = booster.predict(xgboost.DMatrix(x, feature_names=list(champion.features)))
    else:
        theirs = booster.predict(x)
    np.testing.assert_allclose(champion.trees.predict(x), np.asarray(theirs).reshape(200, -1), atol=1e-5)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_card_stands_beside_the_model(trained: Trained, name: str) -> None:
    folder = champion_folder(trained.tenant, name, trained.settings)
    assert sorted(path.name for path in folder.iterdir()) == sorted(registry.FILES)
    card = (folder / "card.md").read_text()
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["baseline"]["name"] in card
    assert f"{metadata['metric']['value']:.4g}" in card
    assert set(metadata["segments"]) == {"churn": {"FR", "DE", "BR"}, "forecast": {"stream_count", "listeners_1d", "net_amount"}}.get(
        name, set(metadata["segments"])
    )


def test_no_state_of_training_names_a_person(trained: Trained, world: Marts) -> None:
    keys = {row[0] for row in world.rows["listener_days"]}
    for path in (trained.settings.var / "training" / trained.tenant.slug).rglob("*"):
        if path.suffix == ".json":
            assert not any(key in path.read_text() for key in list(keys)[:50])
        elif path.suffix == ".npz":
            arrays = np.load(path, allow_pickle=False)
            text = {str(value) for name in arrays.files if arrays[name].dtype.kind == "U" for value in arrays[name].tolist()}
            assert not text & keys


def test_the_same_marts_give_the_same_examples_and_parameters(trained: Trained, world: Marts, database: Settings, tmp_path: Path) -> None:
    twin = make_tenant("twin", "plays", "subscription_events", "tracks", "payments", "listeners")
    provision(twin, database)
    world.write(twin, database)
    elsewhere = database.model_copy(update={"var": tmp_path})
    tune(twin, DAY, elsewhere, MemoryMarks(), problem="churn")
    tuned = [
        json.loads((settings.var / "training" / tenant.slug / "churn" / DAY.isoformat() / "tuned.json").read_text())
        for settings, tenant in ((trained.settings, trained.tenant), (elsewhere, twin))
    ]
    assert tuned[0] == tuned[1]


# what it answers ---------------------------------------------------------------------------------------------------------


def test_churn_is_answered_for_every_payer_whose_period_ends(trained: Trained, world: Marts) -> None:
    rows = trained.rows("SELECT * FROM ml.churn_predictions")
    running = {row[3] for row in world.rows["subscription_periods"] if row[1] <= DAY < row[2]}
    assert {row["listener_key"] for row in rows} == running
    assert {row["predicted_on"] for row in rows} == {DAY}
    assert {row["horizon_days"] for row in rows} == {31}
    assert all(0 < row["probability"] < 1 for row in rows)
    assert {row["model_version"] for row in rows} == {trained.fact("train", "churn")["version"]}


def test_every_day_of_four_weeks_is_forecast_with_an_interval(trained: Trained) -> None:
    rows = trained.rows("SELECT * FROM ml.stream_forecasts ORDER BY metric, target_on")
    assert len(rows) == 3 * 28
    assert {row["metric"] for row in rows} == {"stream_count", "listeners_1d", "net_amount"}
    assert {row["target_on"] for row in rows} == {DAY + timedelta(days=n) for n in range(1, 29)}
    assert all(0 <= row["low"] <= row["value"] <= row["high"] for row in rows)
    assert any(row["low"] < row["value"] < row["high"] for row in rows)


def test_tracks_without_a_genre_get_theirs(trained: Trained, world: Marts) -> None:
    answered = {row["track_id"]: row["genre"] for row in trained.rows("SELECT * FROM ml.genre_predictions")}
    unnamed = {row[0]: GENRES[int(row[1][1:]) % len(GENRES)] for row in world.rows["track_facts"] if row[3] is None}
    assert set(answered) == set(unnamed)
    assert np.mean([answered[track] == genre for track, genre in unnamed.items()]) > 0.85


def test_the_reader_may_read_predictions(trained: Trained) -> None:
    query = f"SELECT count(*) AS n FROM {trained.tenant.ml_schema}.churn_predictions"
    assert fetch(trained.settings, query, role=trained.tenant.reader_role)[0]["n"] > 0


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_receipt_of_the_night_says_who_answered_and_how_good_it_is(trained: Trained, name: str) -> None:
    judged = trained.fact("judge", name)
    for facts in (trained.fact("predict", name), predict(trained.tenant, DAY, trained.settings, trained.marks).entry(name).facts):  # type: ignore[union-attr]
        assert {key: facts[key] for key in ("version", "metric", "value", "baseline")} == {
            key: judged[key] for key in ("version", "metric", "value", "baseline")
        }


# running again -----------------------------------------------------------------------------------------------------------


def test_running_everything_again_changes_nothing(trained: Trained) -> None:
    before = {name: champion_folder(trained.tenant, name, trained.settings).resolve() for name in PROBLEMS}
    for name in PROBLEMS:
        for step in STEPS:
            (entry,) = step(trained.tenant, DAY, trained.settings, trained.marks, problem=name).entries
            assert entry.skipped or step in (judge, promote)
        assert entry.facts["version"] == trained.fact("train", name)["version"]
    assert {name: champion_folder(trained.tenant, name, trained.settings).resolve() for name in PROBLEMS} == before
    again = predict(trained.tenant, DAY, trained.settings, trained.marks)
    assert [entry.skipped for entry in again.entries] == [True, True, True]


def test_a_lost_mark_gives_the_same_rows_again(trained: Trained) -> None:
    query = "SELECT * FROM ml.churn_predictions ORDER BY listener_key, predicted_on"
    before = trained.rows(query)
    predict(trained.tenant, DAY, trained.settings, MemoryMarks())
    assert trained.rows(query) == before


def test_other_days_stand_beside_each_other_and_a_genre_is_not_repeated(trained: Trained) -> None:
    earlier = DAY - timedelta(days=1)
    predict(trained.tenant, earlier, trained.settings, MemoryMarks())
    later = predict(trained.tenant, DAY, trained.settings, MemoryMarks())
    days = trained.rows("SELECT predicted_on, count(*) AS n FROM ml.churn_predictions GROUP BY 1 ORDER BY 1")
    assert [row["predicted_on"] for row in days] == [earlier, DAY]
    entry = later.entry("genre")
    assert entry is not None
    assert (entry.counts["answered"], entry.counts["written"]) == (90, 0)  # the day before says the same of each
    assert len(trained.rows("SELECT DISTINCT track_id FROM ml.genre_predictions")) == 90


def test_a_lost_export_is_restored_from_the_book(trained: Trained) -> None:
    link = champion_folder(trained.tenant, "genre", trained.settings)
    before = {path.name: path.read_bytes() for path in link.iterdir()}
    shutil.rmtree(link.resolve())
    link.unlink()
    assert read_champion(trained.tenant, "genre", trained.settings) is None
    assert restore("genre", trained.tenant, trained.settings) is not None
    assert {path.name: path.read_bytes() for path in link.iterdir()} == before
    assert restore("weather", trained.tenant, trained.settings) is None


# a worse challenger ------------------------------------------------------------------------------------------------------


def test_a_challenger_that_is_worse_is_kept_but_not_promoted(trained: Trained, world: Marts) -> None:
    """Half of the genres of the artists that are learned from are wrong now; the artists that are judged on are as before."""
    from ml.genre.features import artists

    dice = np.random.default_rng(4)
    rows = world.rows["track_facts"]
    table = {
        "artist_id": np.array([row[1] for row in rows]),
        "release_id": np.array([None] * len(rows)),
        "track_id": np.array(["t"] * len(rows)),
    }
    is_judged = artists(table) % 5 == 0
    damaged = Marts(dict(world.rows))
    damaged.rows["track_facts"] = [
        row if judged or row[3] is None or dice.random() < 0.5 else (*row[:3], GENRES[int(dice.integers(4))], *row[4:])
        for row, judged in zip(rows, is_judged.tolist(), strict=True)
    ]
    before = champion_folder(trained.tenant, "genre", trained.settings).resolve()
    day = DAY + timedelta(days=1)
    try:
        damaged.write(trained.tenant, trained.settings, "track_facts")
        facts = {
            step.__name__: step(trained.tenant, day, trained.settings, trained.marks, problem="genre").entries[0].facts for step in STEPS
        }
    finally:
        world.write(trained.tenant, trained.settings, "track_facts")
    verdict = facts["judge"]
    assert verdict["champion"] == pytest.approx(trained.fact("judge", "genre")["value"])
    assert not verdict["is_promoted"]
    assert not facts["promote"]["is_promoted"]
    assert verdict["version"] != trained.fact("train", "genre")["version"]
    assert champion_folder(trained.tenant, "genre", trained.settings).resolve() == before
    book = client(trained.settings)
    assert book.get_model_version_by_alias(trained.tenant.model_name("genre"), "champion").version == int(
        trained.fact("train", "genre")["version"]
    )


def test_too_little_is_a_reason_and_no_error(place: Callable[..., Tenant], database: Settings) -> None:
    young = generate(listeners=40, days=40, tracks=60)
    tenant = place("young", young)
    marks = MemoryMarks()
    day = BEGINS + timedelta(days=39)
    for entry in tune(tenant, day, database, marks).entries:
        assert entry.skipped and entry.facts["reason"]
    for step in (train, judge, promote):
        assert all(entry.skipped for entry in step(tenant, day, database, marks).entries)
    assert all(entry.skipped for entry in predict(tenant, day, database, marks).entries)
    reasons = {entry.name: entry.facts for entry in watch_models(tenant, day, database, marks).entries}
    assert not any(facts["is_due"] for facts in reasons.values())
    assert all(facts["is_due"] for facts in (e.facts for e in watch_models(tenant, day + timedelta(days=7), database, marks).entries))


# when it is due ----------------------------------------------------------------------------------------------------------


def verdicts(trained: Trained, day: date) -> dict[str, tuple[bool, str]]:
    entries = watch_models(trained.tenant, day, trained.settings, trained.marks).entries
    return {entry.name: (entry.facts["is_due"], entry.facts["reason"]) for entry in entries}


def test_fresh_champions_are_not_due_and_old_ones_are(trained: Trained) -> None:
    assert not any(is_due for is_due, _ in verdicts(trained, DAY).values())
    assert {reason for _, reason in verdicts(trained, DAY + timedelta(days=28)).values()} >= {"the champion is 28 days old"}


def test_moved_features_make_a_model_due(trained: Trained, world: Marts) -> None:
    louder = Marts({"listener_days": [(*row[:2], row[2] * 3, *row[3:]) for row in world.rows["listener_days"]]})
    try:
        louder.write(trained.tenant, trained.settings, "listener_days")
        entry = predict(trained.tenant, DAY, trained.settings, trained.marks).entry("churn")
        is_due, reason = verdicts(trained, DAY)["churn"]
    finally:
        world.write(trained.tenant, trained.settings, "listener_days")
    assert entry is not None and entry.facts["drift"]["index"] > 0.25
    assert is_due and "has moved" in reason
    predict(trained.tenant, DAY, trained.settings, trained.marks)
    assert not verdicts(trained, DAY)["churn"][0]


def test_forecasts_that_went_wrong_make_a_model_due(trained: Trained, world: Marts) -> None:
    later = DAY + timedelta(days=20)
    came = copy.deepcopy(world.rows["activity_days"])
    usual = came[-1]
    came = [(*row[:4], True) for row in came]
    came += [(DAY + timedelta(days=n), usual[1] * 3, usual[2] * 3, usual[3] * 3, True) for n in range(1, 21)]
    try:
        Marts({"activity_days": came}).write(trained.tenant, trained.settings, "activity_days")
        is_due, reason = verdicts(trained, later)["forecast"]
    finally:
        world.write(trained.tenant, trained.settings, "activity_days")
    assert is_due and "has decayed" in reason
    kept = trained.marks.marks(trained.tenant, "watch", "forecast")[later.isoformat()].facts
    assert kept["error"] > kept["error_limit"] == 1.5 * kept["promised"]


# a killed process --------------------------------------------------------------------------------------------------------


def killed_at(boundary: int, module: Any, work: Callable[[], object]) -> bool:
    """Do `work` in a child that is killed at the boundary of that number; whether it came so far."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(_what: str) -> None:
            nonlocal seen
            seen += 1
            if seen > boundary:
                os.kill(os.getpid(), signal.SIGKILL)

        module.at_write = count
        work()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_prediction_that_is_killed_anywhere_is_whole_after_the_next(trained: Trained) -> None:
    query = "SELECT * FROM ml.churn_predictions WHERE predicted_on = date '{}' ORDER BY listener_key"
    day = DAY - timedelta(days=2)
    expected = None
    for boundary in range(20):
        was_killed = killed_at(boundary, prediction, lambda: predict(trained.tenant, day, trained.settings, MemoryMarks()))
        standing = trained.rows(query.format(day)) if boundary else []
        assert expected is None or standing in ([], expected)
        predict(trained.tenant, day, trained.settings, MemoryMarks())
        whole = trained.rows(query.format(day))
        assert whole and (expected is None or whole == expected)
        expected = whole
        if not was_killed:
            break
    assert boundary == 6  # two boundaries a problem


def test_a_promotion_that_is_killed_anywhere_leaves_a_whole_champion(trained: Trained, tmp_path: Path) -> None:
    source = champion_folder(trained.tenant, "churn", trained.settings).resolve()

    class Store:
        """A store whose versions 1 and 2 are the same files."""

        def download_artifacts(self, run_id: str, path: str, target: str) -> str:
            return str(shutil.copytree(source, Path(target) / path))

    settings = trained.settings.model_copy(update={"var": tmp_path})
    store, tenant = Store(), trained.tenant
    registry._export(store, "churn", tenant, settings, registry.Version("1", "one"))
    for boundary in range(10):
        number = str(boundary + 2)
        was_killed = killed_at(
            boundary, registry, lambda n=number: registry._export(store, "churn", tenant, settings, registry.Version(n, "two"))
        )  # type: ignore[misc]
        standing = read_champion(tenant, "churn", settings)
        assert standing is not None and standing.trees.features and standing.judged.features
        registry._export(store, "churn", tenant, settings, registry.Version(number, "two"))
        after = read_champion(tenant, "churn", settings)
        assert after is not None and after.version == number
        if not was_killed:
            break
    assert boundary == 4
    left = sorted(path.name for path in (tmp_path / "models" / tenant.slug / ".churn").iterdir())
    assert len(left) == 2  # the champion and the one before it: nothing that was killed is left lying about
