"""Training: tune -> train -> judge -> promote, each a task of its own, and the watch that says when it is due.

What one step hands to the next stands below `var/training/<tenant>/<problem>/<day>/`: the examples (no person is named in them), the best
parameters, the trained trees, the verdict. Each file is written whole or not at all, and holds the fingerprint of what it was made from,
so that any step may be killed and run again, and a finished one is skipped.

A model is promoted if it beats the naive baseline and is not worse than the present champion, both judged on the same window that neither
has learned from. What serves is learned again from the whole window with the parameters that were judged. This module is the only
importer of optuna.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from ml import card
from ml.drift import LIMIT, histograms
from ml.problem import Array, Examples, Parameter, Problem, Split, TooLittle, catalogue, digest, open_marts, problems_of
from ml.registry import Champion, Version, read_champion, record
from ml.registry import promote as promote_version
from ml.trees import SEED, Grown, Trees
from nocturne.errors import PermanentError
from nocturne.ledger import Mark, Marks, utc_now
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

TOLERANCE: Final = 0.02
"""A challenger may be worse than the champion by this share of the champion's metric: on one window a smaller difference is chance, and the
challenger has learned from newer days."""
OLDEST_DAYS: Final = 28
RETRY_DAYS: Final = 7
"""A training that ended without a promotion is not tried again before this many days have brought new examples."""
DECAY: Final = 1.5
"""A champion whose error has grown beyond this many times the promised one has decayed."""
KEPT_DAYS: Final = 3
"""How many days' folders of a problem stay below `var/training`."""
STATION: Final = "training"
WATCH: Final = "watch"
"""The station under which the ledger keeps what the watch said of each problem and day."""

Step = Callable[["Bench"], Entry]

at_write: Callable[[str], None] = lambda _what: None  # noqa: E731
"""Called with what was done at every boundary of a write. A test that kills the process at each of them puts itself here."""


@dataclass(frozen=True)
class Bench:
    """One problem of one tenant on one day, and the folder in which the steps meet."""

    problem: Problem
    tenant: Tenant
    day: date
    settings: Settings
    ledger: Marks

    @property
    def folder(self) -> Path:
        """Where the steps leave what the next one needs."""
        return self.settings.var / "training" / self.tenant.slug / self.problem.name / self.day.isoformat()

    def has(self, name: str) -> bool:
        """Whether an earlier step left `name`."""
        return (self.folder / name).exists()

    def read(self, name: str) -> dict[str, Any]:
        """What a step left. Raises PermanentError if it did not."""
        path = self.folder / name
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise PermanentError(
                f"{path} is not there: the step before has not run for problem {self.problem.name}.",
                next_step="Run the training from `tune` on.",
                tenant=self.tenant.slug,
                day=self.day,
            ) from error
        return document

    def write(self, name: str, document: Mapping[str, Any]) -> None:
        """Leave `name`, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / f"{name}.{os.getpid()}"
        fresh.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        at_write(f"wrote {name}")
        fresh.replace(self.folder / name)
        at_write(f"put {name} in place")

    @cached_property
    def examples(self) -> Examples:
        """The examples that `tune` gathered."""
        return Examples.load(self.folder / "examples.npz")

    @cached_property
    def split(self) -> Split:
        """The problem's split of them."""
        return self.problem.split(self.examples)

    @cached_property
    def champion(self) -> Champion | None:
        """The champion in force."""
        return read_champion(self.tenant, self.problem.name, self.settings)

    @cached_property
    def health(self) -> Health | None:
        """What is seen of the champion in force; None if there is none."""
        champion = self.champion
        if champion is None:
            return None
        metric, age = champion.metadata["metric"], (self.day - champion.trained_on).days
        return Health(
            champion.version, champion.trained_on, age, _drift(self, champion),
            metric["name"], float(metric["value"]), _error(self, champion),
        )  # fmt: skip

    def score(self, index: Array, predictions: Array, settled: Mapping[str, Any]) -> dict[str, float]:
        """The problem's metrics of predictions for the rows of `index`."""
        return {name: float(value) for name, value in self.problem.score(self.examples, index, predictions, settled).items()}

    def entry(self, *, skipped: bool = False, counts: Mapping[str, int] | None = None, **facts: Any) -> Entry:
        """The receipt's entry of this problem."""
        return Entry(name=self.problem.name, skipped=skipped, counts=dict(counts or {}), facts=facts)


# the steps ---------------------------------------------------------------------------------------------------------------


def tune(tenant: Tenant, day: date, settings: Settings, ledger: Marks, *, problem: str | None = None) -> Receipt:
    """Gather the examples of `day` and find the best parameters by cross-validation within the training part.

    Reads the marts; writes `examples.npz` and `tuned.json`. Without `problem` it works on the problems that are due, or on all if none
    is. Too few examples are no error: the entry names the reason and the later steps pass the problem over. A re-run with the same
    examples is skipped.
    """
    benches = _benches(tenant, day, settings, ledger, problem)
    if problem is None:
        benches = [bench for bench in benches if _is_due(bench)[0]] or benches
    return _receipt("tune", tenant, day, benches, _tune)


def train(tenant: Tenant, day: date, settings: Settings, ledger: Marks, *, problem: str | None = None) -> Receipt:
    """Fit the model with the tuned parameters and keep it in the registry as a new version.

    Reads what `tune` left; writes an MLflow run, a model version and `trained.json` with both names. A re-run gives the same version.
    Without `problem` it works on what `tune` left on that day.
    """
    return _receipt("train", tenant, day, _benches(tenant, day, settings, ledger, problem), _train, needs="tuned.json")


def judge(tenant: Tenant, day: date, settings: Settings, ledger: Marks, *, problem: str | None = None) -> Receipt:
    """Compare the new version with the naive baseline and with the champion in force, on the test window that none of them has seen.

    Reads what `train` left and the exported champion; writes `verdict.json`. A re-run judges again, against the champion then in force.
    """
    return _receipt("judge", tenant, day, _benches(tenant, day, settings, ledger, problem), _judge, needs="trained.json")


def promote(tenant: Tenant, day: date, settings: Settings, ledger: Marks, *, problem: str | None = None) -> Receipt:
    """Make the new version the champion if its verdict says so, and say why not otherwise.

    Writes MLflow's alias `champion`, the export below `var/models` and the mark of the attempt. A re-run changes nothing.
    """
    return _receipt("promote", tenant, day, _benches(tenant, day, settings, ledger, problem), _promote, needs="verdict.json")


def watch_models(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Say of each problem whether its model must be trained: `is_due` and the reason in each entry's facts, beside what was seen of it.

    Due are a problem without a champion, a champion older than 28 days, one whose features have moved (stability index > 0.25 against its
    training window, as `predict` measured it) and one whose error has grown beyond 1.5 times the promised one; but not within a week of an
    attempt that promoted nothing. Reads the champions' files and the marks of predictions and trainings, and for decay the marts. Marks the
    day with what it said, from where the warehouse takes it; a re-run says it anew.
    """
    started = utc_now()
    entries = []
    for one in problems_of(tenant):
        bench = Bench(one, tenant, day, settings, ledger)
        is_due, reason = _is_due(bench)
        facts = {"is_due": is_due, "reason": reason, **(bench.health.facts if bench.health else {})}
        ledger.mark(tenant, WATCH, one.name, {day.isoformat(): Mark(digest(facts), facts)})
        entries.append(bench.entry(**facts))
    return Receipt(tenant=tenant.slug, day=day, station="watch_models", started_at=started, finished_at=utc_now(), entries=tuple(entries))


# tune --------------------------------------------------------------------------------------------------------------------


def _tune(bench: Bench) -> Entry:
    try:
        with open_marts(bench.tenant, bench.settings) as marts:
            examples = bench.problem.gather(marts, bench.day)
        split = bench.problem.split(examples)
    except TooLittle as reason:
        shutil.rmtree(bench.folder, ignore_errors=True)
        _mark_attempt(bench, promoted=False, reason=str(reason))
        return bench.entry(skipped=True, reason=str(reason))
    trials = bench.tenant.limits.trials
    fingerprint = digest(examples.fingerprint, bench.problem.code, trials)
    if bench.has("tuned.json") and bench.read("tuned.json")["fingerprint"] == fingerprint:
        return bench.entry(skipped=True, reason="these examples are tuned already")
    shutil.rmtree(bench.folder, ignore_errors=True)
    _prune(bench)
    bench.folder.mkdir(parents=True)
    examples.save(bench.folder / "examples.npz")
    parameters, value = _search(bench.problem, examples, split, trials, bench.settings.threads)
    bench.write("tuned.json", {"fingerprint": fingerprint, "parameters": parameters, "cross_validation": value, "trials": trials})
    return bench.entry(
        counts={"examples": len(examples.y), "trials": trials},
        parameters=parameters,
        metric=bench.problem.metric.name,
        cross_validation=value,
    )


def _search(problem: Problem, examples: Examples, split: Split, trials: int, threads: int) -> tuple[dict[str, float], float]:
    """The best parameters of `trials` trials (the plain ones first) and their mean metric over the folds; the same every time."""
    import optuna

    def objective(trial: optuna.Trial) -> float:
        parameters = {p.name: _suggest(trial, p) for p in problem.space}
        values = []
        for learn, held in split.folds:
            grown = problem.fit(examples, learn, parameters, threads)
            values.append(problem.score(examples, held, grown.predict(examples.x[held]), {})[problem.metric.name])
        return float(np.mean(values))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize" if problem.metric.higher_is_better else "minimize",
        sampler=optuna.samplers.TPESampler(seed=SEED, n_startup_trials=5),
    )
    study.enqueue_trial(problem.defaults)
    study.optimize(objective, n_trials=trials, n_jobs=1)
    return {name: float(value) for name, value in study.best_params.items()}, float(study.best_value)


def _suggest(trial: Any, parameter: Parameter) -> float:
    if parameter.is_whole:
        return int(trial.suggest_int(parameter.name, int(parameter.low), int(parameter.high), log=parameter.is_log))
    return float(trial.suggest_float(parameter.name, parameter.low, parameter.high, log=parameter.is_log))


# train -------------------------------------------------------------------------------------------------------------------


def _train(bench: Bench) -> Entry:
    tuned = bench.read("tuned.json")
    if bench.has("trained.json") and bench.read("trained.json")["fingerprint"] == tuned["fingerprint"]:
        trained = bench.read("trained.json")
        return bench.entry(skipped=True, reason="trained already", version=trained["version"], run_id=trained["run_id"])
    problem, examples, split = bench.problem, bench.examples, bench.split
    judged = problem.fit(examples, split.train, tuned["parameters"], bench.settings.threads)
    serving = problem.fit(examples, np.arange(len(examples.y)), tuned["parameters"], bench.settings.threads)
    metadata = _metadata(bench, tuned, judged)
    folder = _champion_files(bench, metadata, judged, serving)
    version = record(
        problem.name,
        bench.tenant,
        bench.settings,
        serving,
        folder,
        question=problem.question,
        fingerprint=tuned["fingerprint"],
        parameters={**tuned["parameters"], "trials": tuned["trials"], "seed": SEED},
        metrics=_logged_metrics(metadata, tuned),
        tags=_tags(metadata),
    )
    bench.write("trained.json", {"fingerprint": tuned["fingerprint"], "version": version.version, "run_id": version.run_id})
    return bench.entry(
        counts={"examples": len(examples.y), "judged_on": len(split.test)}, version=version.version, run_id=version.run_id,
        metric=metadata["metric"], baseline=metadata["baseline"],
    )  # fmt: skip


def _metadata(bench: Bench, tuned: Mapping[str, Any], judged: Grown) -> dict[str, Any]:
    """All that is known of a model when it is trained; `settled` comes from answers for rows that it had not seen."""
    problem, examples, split = bench.problem, bench.examples, bench.split
    held, answers = _answers_within(bench, tuned["parameters"])
    unseen = judged.trees.predict(examples.x[split.test])
    scores = bench.score(split.test, unseen, problem.settle(examples, held, answers))
    guessed = bench.score(split.test, problem.guess(examples, split.train, split.test), {})
    settled = problem.settle(examples, np.concatenate((held, split.test)), np.concatenate((answers, unseen)))
    metric = problem.metric
    return {
        "problem": problem.name,
        "question": problem.question,
        "answer": problem.answer,
        "tenant": bench.tenant.slug,
        "trained_on": bench.day.isoformat(),
        "window": {"from": str(examples.moments.min()), "to": str(examples.moments.max())},
        "judged_window": {"from": str(examples.moments[split.test].min()), "to": str(examples.moments[split.test].max())},
        "rows": {"all": len(examples.y), "train": len(split.train), "test": len(split.test)},
        "features": list(examples.features),
        "metric": {
            "name": metric.name, "value": scores[metric.name],
            "higher_is_better": metric.higher_is_better, "description": metric.description,
        },
        "baseline": {"name": problem.baseline, "value": guessed[metric.name]},
        "scores": scores,
        "segments": _by_segment(bench, unseen, settled),
        "settled": settled,
        "reference": {name: h.to_json() for name, h in histograms(examples.features, examples.x, problem.watched).items()},
        "parameters": tuned["parameters"],
        "fingerprint": tuned["fingerprint"],
        "code": problem.code,
    }  # fmt: skip


def _answers_within(bench: Bench, parameters: Mapping[str, float]) -> tuple[Array, Array]:
    """(rows, answers) of the folds, each answered by a model that had not seen it."""
    held, answers = [], []
    for learn, tried in bench.split.folds:
        grown = bench.problem.fit(bench.examples, learn, parameters, bench.settings.threads)
        held.append(tried)
        answers.append(grown.predict(bench.examples.x[tried]))
    return np.concatenate(held), np.concatenate(answers)


def _by_segment(bench: Bench, predictions: Array, settled: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The metric and the rows of each segment of the test window that has at least 50 rows, to see whom the model serves worse."""
    test = bench.split.test
    segments = bench.examples.segments[test]
    found: dict[str, dict[str, float]] = {}
    for name in np.unique(segments):
        mine = np.flatnonzero(segments == name)
        if len(mine) >= 50:
            value = bench.score(test[mine], predictions[mine], settled)[bench.problem.metric.name]
            found[str(name)] = {"rows": len(mine), bench.problem.metric.name: value}
    return found


def _champion_files(bench: Bench, metadata: Mapping[str, Any], judged: Grown, serving: Grown) -> Path:
    folder = bench.folder / "champion"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps(metadata, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "model.json").write_text(serving.trees.to_json(), encoding="utf-8")
    (folder / "judged.json").write_text(judged.trees.to_json(), encoding="utf-8")
    (folder / "card.md").write_text(card.write(metadata), encoding="utf-8")
    return folder


def _logged_metrics(metadata: Mapping[str, Any], tuned: Mapping[str, Any]) -> dict[str, float]:
    metric = metadata["metric"]["name"]
    return {
        **metadata["scores"],
        f"baseline_{metric}": metadata["baseline"]["value"],
        f"cross_validation_{metric}": tuned["cross_validation"],
        **{f"{metric}_of_{segment}": values[metric] for segment, values in metadata["segments"].items()},
    }


def _tags(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {
        "day": metadata["trained_on"],
        "tenant": metadata["tenant"],
        "problem": metadata["problem"],
        "baseline": metadata["baseline"]["name"],
        "window": f"{metadata['window']['from']} to {metadata['window']['to']}",
        "features": ", ".join(metadata["features"]),
        "code": metadata["code"],
    }


# judge, promote ----------------------------------------------------------------------------------------------------------


def _judge(bench: Bench) -> Entry:
    trained = bench.read("trained.json")
    metadata = json.loads((bench.folder / "champion" / "metadata.json").read_text(encoding="utf-8"))
    metric = bench.problem.metric
    value, baseline = metadata["metric"]["value"], metadata["baseline"]["value"]
    champion, note = _champion_value(bench, trained["version"])
    if not metric.is_better(value, baseline):
        reason = f"{metric.name} {value:.4g} does not beat the baseline's {baseline:.4g} ({bench.problem.baseline})"
        is_promoted = False
    elif champion is not None and metric.worsening(value, champion) > TOLERANCE:
        reason = f"{metric.name} {value:.4g} is worse than the champion's {champion:.4g} on the same window by more than {TOLERANCE:.0%}"
        is_promoted = False
    else:
        reason = f"{metric.name} {value:.4g} beats the baseline's {baseline:.4g}; {note}"
        is_promoted = True
    verdict = {
        "fingerprint": trained["fingerprint"], "version": trained["version"], "is_promoted": is_promoted, "reason": reason,
        "value": value, "baseline": baseline, "champion": champion, "metric": metric.name,
    }  # fmt: skip
    bench.write("verdict.json", verdict)
    return bench.entry(**{name: verdict[name] for name in ("is_promoted", "reason", "metric", "value", "baseline", "champion", "version")})


def _champion_value(bench: Bench, version: str) -> tuple[float | None, str]:
    """The present champion's metric on the challenger's test window, and what there is to say of the comparison."""
    champion = bench.champion
    if champion is None:
        return None, "there was no champion"
    if champion.version == version:
        return None, "it is the champion already"
    missing = sorted(set(champion.features) - set(bench.examples.features))
    if missing:
        return None, f"the champion (version {champion.version}) reads {', '.join(missing)}, which is not made any more"
    try:
        value = _value_of(bench, champion.judged, champion.settled)
    except TooLittle as reason:
        return None, f"the champion (version {champion.version}) cannot be compared: {reason}"
    return value, f"the champion (version {champion.version}) has {value:.4g} on the same window"


def _value_of(bench: Bench, trees: Trees, settled: Mapping[str, Any]) -> float:
    columns = [bench.examples.features.index(name) for name in trees.features]
    test = bench.split.test
    answers = trees.predict(bench.examples.x[test][:, columns])
    return bench.score(test, answers, settled)[bench.problem.metric.name]


def _promote(bench: Bench) -> Entry:
    trained, verdict = bench.read("trained.json"), bench.read("verdict.json")
    if verdict["version"] != trained["version"]:
        raise PermanentError(
            f"The verdict is about version {verdict['version']}, trained was version {trained['version']}.",
            next_step="Run `judge` again.",
            tenant=bench.tenant.slug,
            day=bench.day,
        )
    if verdict["is_promoted"]:
        promote_version(bench.problem.name, bench.tenant, bench.settings, Version(trained["version"], trained["run_id"]))
    _mark_attempt(bench, promoted=verdict["is_promoted"], reason=verdict["reason"])
    return bench.entry(is_promoted=verdict["is_promoted"], reason=verdict["reason"], version=trained["version"], run_id=trained["run_id"])


# watch -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Health:
    """What is seen of a champion on a day.

    `drift` is what the newest prediction up to the day saw; `error` its metric of the last final days, known of problems whose answers meet
    their outcomes; `promised` the metric that it was promoted with.
    """

    version: str
    trained_on: date
    age_days: int
    drift: Mapping[str, Any] | None
    metric: str
    promised: float
    error: float | None

    @property
    def error_limit(self) -> float:
        """The error from which on it has decayed."""
        return DECAY * self.promised

    @property
    def facts(self) -> dict[str, Any]:
        """All of it beside the bounds that it is held to; what is not known has none but those of age and drift."""
        drift = self.drift or {}
        return {
            "version": self.version, "trained_on": self.trained_on.isoformat(), "age_days": self.age_days, "oldest_days": OLDEST_DAYS,
            "feature": drift.get("feature"), "index": drift.get("index"), "index_limit": LIMIT, "metric": self.metric,
            "error": self.error, "promised": self.promised, "error_limit": None if self.error is None else self.error_limit,
        }  # fmt: skip


def _is_due(bench: Bench) -> tuple[bool, str]:
    """Whether the model must be trained, and why (not)."""
    reason = _reason_to_train(bench.health)
    if reason is None:
        return False, "the champion is in force and fit"
    last = bench.ledger.marks(bench.tenant, STATION, bench.problem.name).get("last")
    if last is not None and not last.facts["promoted"]:
        days = (bench.day - date.fromisoformat(last.facts["day"])).days
        if 0 <= days < RETRY_DAYS:
            return False, f"{reason}; but the training of {last.facts['day']} promoted nothing: {last.facts['reason']}"
    return True, reason


def _reason_to_train(health: Health | None) -> str | None:
    if health is None:
        return "there is no champion yet"
    if health.age_days >= OLDEST_DAYS:
        return f"the champion is {health.age_days} days old"
    drift = health.drift
    if drift and drift["index"] > LIMIT:
        return f"{drift['feature']} has moved: stability index {drift['index']:.2f} against the champion's window, over {LIMIT}"
    if health.error is not None and health.error > health.error_limit:
        return f"the champion has decayed: {health.metric} {health.error:.3g} in the last days, promised were {health.promised:.3g}"
    return None


def _drift(bench: Bench, champion: Champion) -> Mapping[str, Any] | None:
    marks = bench.ledger.marks(bench.tenant, "prediction", bench.problem.name)
    seen = [
        mark.facts
        for part, mark in sorted(marks.items())
        if part <= bench.day.isoformat() and mark.facts.get("version") == champion.version
    ]
    return seen[-1].get("drift") if seen else None


def _error(bench: Bench, champion: Champion) -> float | None:
    if bench.problem.decay is None:
        return None
    try:
        with open_marts(bench.tenant, bench.settings) as marts:
            return bench.problem.decay(marts, bench.day, champion.version)
    except TooLittle:  # nothing it could be held to is published
        return None


# small things ------------------------------------------------------------------------------------------------------------


def _benches(tenant: Tenant, day: date, settings: Settings, ledger: Marks, name: str | None) -> list[Bench]:
    """The problem called `name` if the tenant has it, or all that it has. Raises PermanentError if there is no such problem."""
    if name is not None and name not in catalogue():
        raise PermanentError(
            f"There is no problem {name!r}.", next_step=f"Name one of {', '.join(catalogue())}.", tenant=tenant.slug, day=day
        )
    return [Bench(one, tenant, day, settings, ledger) for one in problems_of(tenant) if name in (None, one.name)]


def _receipt(station: str, tenant: Tenant, day: date, benches: list[Bench], step: Step, *, needs: str | None = None) -> Receipt:
    """Take the step for each problem; one for which the step before left nothing is passed over."""
    started = utc_now()
    entries = tuple(
        step(bench) if needs is None or bench.has(needs) else bench.entry(skipped=True, reason=f"the step before left no {needs}")
        for bench in benches
    )
    return Receipt(tenant=tenant.slug, day=day, station=station, started_at=started, finished_at=utc_now(), entries=entries)


def _mark_attempt(bench: Bench, *, promoted: bool, reason: str) -> None:
    facts = {"day": bench.day.isoformat(), "promoted": promoted, "reason": reason}
    bench.ledger.mark(bench.tenant, STATION, bench.problem.name, {"last": Mark(digest(facts), facts)})


def _prune(bench: Bench) -> None:
    """Remove the folders of all but the newest days."""
    days = sorted(path for path in bench.folder.parent.glob("????-??-??") if path != bench.folder)
    for path in days[: max(0, len(days) - KEPT_DAYS + 1)]:
        shutil.rmtree(path, ignore_errors=True)
