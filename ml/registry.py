"""The models' book: MLflow keeps every run and version, and the champions stand as plain files beside it.

This module is the only importer of mlflow. Runs, versions and the alias `champion` stand in the `mlflow` database, artifacts below
`var/mlflow`. A promoted version is exported to `var/models/<tenant>/<problem>/`, which is all that a night reads: importing MLflow and
opening its store costs five CPU seconds.

    metadata.json  what it is, how it was judged, which window it learned from, its features and how they were distributed
    model.json     its trees, learned from all of the window: they serve
    judged.json    the same parameters' trees, learned from the training part alone: they are judged again beside each challenger
    card.md        the same for people
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Final

from ml.drift import Histogram
from ml.trees import Grown, Trees
from nocturne.postgres import connect, uri
from nocturne.settings import Settings
from nocturne.tenants import Tenant

ALIAS: Final = "champion"
FILES: Final = ("metadata.json", "model.json", "judged.json", "card.md")
_DATABASE: Final = "mlflow"
_FINGERPRINT: Final = "nocturne.fingerprint"
_PACKAGE: Final = {"xgboost": "xgboost-cpu", "lightgbm": "lightgbm"}

at_write: Callable[[str], None] = lambda _what: None  # noqa: E731
"""Called with what was done at every boundary of a write. A test that kills the process at each of them puts itself here."""


@dataclass(frozen=True)
class Version:
    """A version in the registry, and the run that made it."""

    version: str
    run_id: str


@dataclass(frozen=True)
class Champion:
    """An exported champion. Its folder never changes: a later promotion makes another one."""

    folder: Path
    metadata: Mapping[str, Any]

    @property
    def version(self) -> str:
        """Its version in the registry."""
        return str(self.metadata["version"])

    @property
    def features(self) -> tuple[str, ...]:
        """The features that it reads, in its order."""
        return tuple(self.metadata["features"])

    @property
    def trained_on(self) -> date:
        """The business day that it was trained on."""
        return date.fromisoformat(self.metadata["trained_on"])

    @property
    def settled(self) -> Mapping[str, Any]:
        """What it needs beside its trees."""
        settled: Mapping[str, Any] = self.metadata["settled"]
        return settled

    @property
    def reference(self) -> dict[str, Histogram]:
        """How the watched features were distributed in its window."""
        return {name: Histogram.from_json(document) for name, document in self.metadata["reference"].items()}

    @cached_property
    def trees(self) -> Trees:
        """The trees that serve."""
        return Trees.from_json((self.folder / "model.json").read_text(encoding="utf-8"))

    @cached_property
    def judged(self) -> Trees:
        """The trees that are judged."""
        return Trees.from_json((self.folder / "judged.json").read_text(encoding="utf-8"))


def champion_folder(tenant: Tenant, problem: str, settings: Settings) -> Path:
    """Where a problem's champion is exported to: a link, replaced in one step, to the folder of its version."""
    return settings.var / "models" / tenant.slug / problem


def read_champion(tenant: Tenant, problem: str, settings: Settings) -> Champion | None:
    """The exported champion, or None if there is none. Reads files only."""
    link = champion_folder(tenant, problem, settings)
    if not (link / "metadata.json").exists():
        return None
    folder = link.resolve()  # once, so that all files are of one version even if another is promoted meanwhile
    return Champion(folder, json.loads((folder / "metadata.json").read_text(encoding="utf-8")))


def prepare(settings: Settings) -> None:
    """Make MLflow's tables if they are missing. Run again, it changes nothing; two at once wait for each other.

    With an MLflow server of its own (`mlflow_tracking_uri`) there is nothing to do: the server makes them.
    """
    if settings.mlflow_tracking_uri:
        return
    with connect(settings, database=_DATABASE, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext('nocturne.mlflow'))")  # given back when the connection closes
        _store(settings)


def record(
    problem: str,
    tenant: Tenant,
    settings: Settings,
    grown: Grown,
    folder: Path,
    *,
    question: str,
    fingerprint: str,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> Version:
    """Keep a trained model: a run in the tenant's experiment of the problem, and a new version of its model.

    Writes parameters, metrics, tags, the library's own model with its signature, and the files of `folder`. A re-run with the same
    `fingerprint` gives the version that the first one made; a run that was killed before its version stood is left without one.
    """
    prepare(settings)
    client = _store(settings)
    name = tenant.model_name(problem)
    _make_model(client, name, question)
    for found in client.search_model_versions(f"name = '{name}'"):
        if found.tags.get(_FINGERPRINT) == fingerprint:
            return Version(str(found.version), str(found.run_id))
    run = client.create_run(_experiment(client, name, settings), run_name=f"{problem} {tags['day']}", tags=dict(tags))
    run_id = str(run.info.run_id)
    try:
        _log(client, run_id, parameters, metrics)
        client.log_artifacts(run_id, str(folder), "champion")
        _log_model(client, run_id, grown, folder.with_name(f"{folder.name}.mlflow"))
    except BaseException:
        client.set_terminated(run_id, status="FAILED")
        raise
    client.set_terminated(run_id)
    at_write("kept the run")
    made = client.create_model_version(
        name, source=f"{run.info.artifact_uri}/model", run_id=run_id, tags={_FINGERPRINT: fingerprint, **tags}, description=question
    )
    return Version(str(made.version), run_id)


def promote(problem: str, tenant: Tenant, settings: Settings, version: Version) -> Champion:
    """Make a version the champion: the alias first, then the export. Run again, it finishes what was begun."""
    prepare(settings)
    client = _store(settings)
    client.set_registered_model_alias(tenant.model_name(problem), ALIAS, version.version)
    at_write("set the alias")
    return _export(client, problem, tenant, settings, version)


def restore(problem: str, tenant: Tenant, settings: Settings) -> Champion | None:
    """Export the version that has the alias `champion` in MLflow again, onto a machine that lost its files; None if there is none."""
    from mlflow.exceptions import MlflowException

    prepare(settings)
    client = _store(settings)
    try:
        found = client.get_model_version_by_alias(tenant.model_name(problem), ALIAS)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise
    return _export(client, problem, tenant, settings, Version(str(found.version), str(found.run_id)))


def _export(client: Any, problem: str, tenant: Tenant, settings: Settings, version: Version) -> Champion:
    link = champion_folder(tenant, problem, settings)
    versions = link.with_name(f".{problem}")
    wanted = versions / f"v{version.version}"
    if not wanted.exists():
        fresh = versions / f"fresh.{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        kept = Path(client.download_artifacts(version.run_id, "champion", str(fresh)))
        metadata = json.loads((kept / "metadata.json").read_text(encoding="utf-8"))
        metadata |= {"version": version.version, "run_id": version.run_id}
        (kept / "metadata.json").write_text(json.dumps(metadata, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        at_write("copied the version")
        kept.rename(wanted)
        at_write("put the version in place")
        shutil.rmtree(fresh)
    before = link.resolve().name if link.is_symlink() else None
    swap = link.with_name(f".{problem}.{os.getpid()}")
    swap.unlink(missing_ok=True)
    swap.symlink_to(wanted.relative_to(link.parent))
    at_write("made the new link")
    swap.replace(link)
    at_write("made it the champion")
    for old in versions.iterdir():  # the one before stays, for those who are reading it
        if old.name not in {wanted.name, before} and (before != wanted.name or not old.name.startswith("v")):
            shutil.rmtree(old, ignore_errors=True)
    return Champion(wanted, json.loads((wanted / "metadata.json").read_text(encoding="utf-8")))


def _store(settings: Settings) -> Any:
    """A client of the tracking store and of the registry. No global state of MLflow's is set: its address holds a password."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    # It says at each model that it cannot tell pip's version, which nobody has asked for.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    address = settings.mlflow_tracking_uri or uri(settings, database=_DATABASE, scheme="postgresql+psycopg")
    with _quietly():
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=address, registry_uri=address)
        client.search_registered_models(max_results=1)  # opens both stores: MLflow makes its tables at the first call
    return client


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the warnings that MLflow gives about itself when its parts are first imported."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")  # its mappings, since SQLAlchemy 2.1
        warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType")  # its own type hints
        yield


def _make_model(client: Any, name: str, question: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=question)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _experiment(client: Any, name: str, settings: Settings) -> str:
    """The experiment called `name`; made if missing, with its artifacts below var/mlflow (a server knows its own place)."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        place = None if settings.mlflow_tracking_uri else (settings.var / "mlflow" / name).resolve().as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
    return str(found.experiment_id)


def _log(client: Any, run_id: str, parameters: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    from mlflow.entities import Metric, Param

    client.log_batch(
        run_id,
        metrics=[Metric(name, float(value), 0, 0) for name, value in metrics.items()],
        params=[Param(name, str(value)) for name, value in parameters.items()],
    )


def _log_model(client: Any, run_id: str, grown: Grown, folder: Path) -> None:
    """The library's own model in MLflow's form, so that any tool that reads MLflow can load it."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    signature = ModelSignature(
        inputs=Schema([ColSpec("float", name) for name in grown.features]),
        outputs=Schema([ColSpec("double") for _ in range(grown.outputs)]),
    )
    package = _PACKAGE[grown.library]
    requirements = [f"{name}=={installed(name)}" for name in ("mlflow", package, "numpy")]  # inferring them would take 7 s
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with _quietly():
            if grown.library == "xgboost":
                from mlflow.xgboost import save_model
            else:
                from mlflow.lightgbm import save_model
            save_model(grown.booster, str(folder), signature=signature, pip_requirements=requirements)
        client.log_artifacts(run_id, str(folder), "model")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
