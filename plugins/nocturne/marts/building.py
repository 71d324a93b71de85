"""Station: warehouse -> marts, by one dbt build beside the published ones."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from nocturne.errors import BuildFailed, DatabaseUnavailable, NocturneError
from nocturne.ledger import Marks, utc_now
from nocturne.marts import builds
from nocturne.marts.builds import Mart
from nocturne.postgres import DATABASE, connect
from nocturne.receipts import Entry, Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

CI_ONLY = ("tag:ci", "test_name:grain", "test_type:unit")
"""Tests for changes of the code. Of keys a night asks less: a unique index refuses a second row, `builds.lacking` finds what has none."""
_LOG_BYTES = 4 << 20
_WENT_AWAY = (
    "connection to server",
    "server closed the connection",
    "terminating connection",
    "could not connect",
    "SSL connection has been",
)


def build_marts(tenant: Tenant, day: date, settings: Settings, ledger: Marks) -> Receipt:
    """Build and test the marts in `<slug>_build`.

    Reads the warehouse. Writes what the touched dates change; everything, if the code has changed since marts were published. With
    nothing touched and the code unchanged it does nothing. A re-run does it again, with the same result.
    Raises BuildFailed (naming model or test, and the compiled SQL) and DatabaseUnavailable.
    """
    started = utc_now()
    fingerprint = builds.fingerprint_of(tenant, settings.dbt_project)
    builds.prepare(tenant, settings)
    with connect(settings, role=tenant.owner_role) as connection:
        last = builds.last_build(connection, tenant)
        is_current = last is not None and last.is_finished and last.fingerprint == fingerprint
        if last and is_current and not builds.is_touched_since(connection, tenant, last.started_at):
            return _receipt(tenant, day, started, [Entry(name="build", fingerprint=fingerprint, skipped=True)])
        # Until new code has been published, its builds are whole: so a build and what is published never differ by half a change.
        is_full = builds.published_fingerprint(connection, tenant) != fingerprint
        build_id = builds.begin(connection, tenant, day, fingerprint, is_full=is_full)
    results = run_dbt(tenant, settings, "build", *_selection(is_full=is_full), day=day)
    marts = _marts(results)
    with connect(settings, role=tenant.owner_role) as connection:
        if lacking := builds.lacking(connection, tenant, marts, is_full=is_full):
            raise BuildFailed(
                f"Rows of {', '.join(lacking)} have a key without a value.",
                next_step=f"Look for them in {tenant.build_schema}, correct model or data, and clear the task. The published marts are"
                " untouched.",
                tenant=tenant.slug,
                day=day,
            )
        builds.finish(connection, tenant, build_id, marts)
    entries = [Entry(name="build", fingerprint=fingerprint, facts={"build_id": build_id, "is_full": is_full}), *_entries(results)]
    return _receipt(tenant, day, started, entries)


def run_dbt(tenant: Tenant, settings: Settings, command: str, *arguments: str, day: date | None = None) -> Sequence[Any]:
    """Run a dbt command for a tenant in this process; dbt's results, one a node.

    Its target and log folders are the tenant's own (below `var/dbt/<slug>`), so that tenants' builds do not meet and parsing starts from
    what was parsed before. Raises BuildFailed or DatabaseUnavailable.
    """
    with quiet(), environment(_variables(tenant, settings)):
        # dbt's import costs seconds: a night that has nothing to build does not pay for it.
        from dbt.cli.main import dbtRunner

        with _log(_log_file(tenant, settings), secret=settings.password(tenant.owner_role)) as log:
            outcome = dbtRunner(callbacks=[log]).invoke([command, *arguments, *_options(tenant, settings)])
    results = list(getattr(outcome.result, "results", None) or ())
    if not outcome.success:
        raise _failure(outcome.exception, results, tenant, day, settings)
    return results


def _selection(*, is_full: bool) -> list[str]:
    # A view is its code: it stands from the build that the code came with.
    return ["--full-refresh", "--exclude", *CI_ONLY] if is_full else ["--exclude", *CI_ONLY, "config.materialized:view"]


def _folder(tenant: Tenant, settings: Settings) -> Path:
    return settings.var / "dbt" / tenant.slug


def _options(tenant: Tenant, settings: Settings) -> list[str]:
    project, own = settings.dbt_project, _folder(tenant, settings)
    datasets = ", ".join(dataset.name for dataset in tenant.datasets)
    return [
        *("--project-dir", str(project), "--profiles-dir", str(project)),
        *("--target-path", str(own / "target"), "--log-path", str(own / "logs")),
        *("--vars", f"{{raw_schema: {tenant.raw_schema}, week_start: {tenant.week_start}, datasets: [{datasets}]}}"),
        *("--quiet", "--log-level", "none", "--log-level-file", "none", "--no-write-json", "--no-use-colors", "--no-version-check"),
    ]


def _log_file(tenant: Tenant, settings: Settings) -> Path:
    return _folder(tenant, settings) / "logs" / "dbt.log"


@contextmanager
def _log(path: Path, *, secret: str) -> Iterator[Callable[[Any], None]]:
    """Write what dbt says to a file; its own log makes a line of every event, before it leaves out nearly all of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log = logging.Logger("dbt")
    log.addHandler(handler)

    def tell(event: Any) -> None:
        if event.info.level not in ("debug", "test") and event.info.msg:
            log.info("[%s] %s", event.info.level, event.info.msg.replace(secret, "*****"))

    try:
        yield tell
    finally:
        handler.close()


def _variables(tenant: Tenant, settings: Settings) -> dict[str, str]:
    return {
        "NOCTURNE_DBT_HOST": settings.postgres_address,
        "NOCTURNE_DBT_PORT": str(settings.postgres_port),
        "NOCTURNE_DBT_USER": tenant.owner_role,
        "NOCTURNE_DBT_DATABASE": DATABASE,
        "NOCTURNE_DBT_SCHEMA": tenant.build_schema,
        "NOCTURNE_DBT_THREADS": str(settings.threads),
        "DBT_ENV_SECRET_NOCTURNE_PASSWORD": settings.password(tenant.owner_role),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These environment variables while the block runs: dbt takes secrets from nowhere else."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def quiet() -> Iterator[None]:
    """Dbt's libraries warn of their own use of each other; nobody here can act on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", ResourceWarning)
        yield


def _marts(results: Sequence[Any]) -> list[Mart]:
    """The marts among what was built, by name."""
    found = []
    for node in (result.node for result in results):
        if node.resource_type == "model" and node.fqn[1] == "marts":
            key = next(tuple(index["columns"]) for index in node.config.get("indexes") if index.get("unique"))
            columns = {name: column.description for name, column in node.columns.items()}
            meta = node.config.meta
            found.append(Mart(node.name, key, meta.get("day"), node.description, columns, bool(meta.get("closes"))))
    return sorted(found, key=lambda mart: mart.name)


def _entries(results: Sequence[Any]) -> Iterator[Entry]:
    for result in results:
        if result.node.resource_type == "model" and result.node.config.materialized != "view":
            rows = int((result.adapter_response or {}).get("rows_affected", 0))
            yield Entry(name=result.node.name, counts={"rows": max(rows, 0)}, facts={"seconds": round(result.execution_time, 3)})


def _receipt(tenant: Tenant, day: date, started: datetime, entries: Sequence[Entry]) -> Receipt:
    return Receipt(tenant=tenant.slug, day=day, station="build_marts", started_at=started, finished_at=utc_now(), entries=tuple(entries))


def _failure(
    exception: BaseException | None, results: Sequence[Any], tenant: Tenant, day: date | None, settings: Settings
) -> NocturneError:
    """What a failed dbt command means to the people who run a night."""
    failed = [result for result in results if result.status in {"error", "fail", "runtime error"}]
    told = [_told(result) for result in failed] or [_without_rows(str(exception))]
    text = "\n".join(told)
    if any(sign in text for sign in _WENT_AWAY):
        return DatabaseUnavailable(
            f"PostgreSQL went away while dbt was building: {text.splitlines()[0]}.",
            next_step="Nothing: the task is tried again by itself, and does what is left.",
            tenant=tenant.slug,
            day=day,
        )
    return BuildFailed(
        f"dbt could not build the marts:\n{text}\n",
        next_step=f"Run the compiled SQL as {tenant.owner_role}, correct model or data, and clear the task. dbt's log: "
        f"{_log_file(tenant, settings)}. The published marts are untouched.",
        tenant=tenant.slug,
        day=day,
    )


def _told(result: Any) -> str:
    node = result.node
    what = f"{node.resource_type} {node.name} ({node.original_file_path})"
    message = _without_rows(result.message or result.status)
    compiled = getattr(node, "compiled_path", None)
    where = f"; compiled SQL: {compiled}" if compiled else ""
    return f"{what}: {message}{where}"


def _without_rows(message: str) -> str:
    """A message of PostgreSQL on one line, without the lines that quote values of a row."""
    lines = (line.strip() for line in message.splitlines())
    return " ".join(line for line in lines if line and not line.startswith(("DETAIL:", "CONTEXT:", "compiled code at")))
