"""`nocturne ...`: what people do at a terminal.

A command is a function that takes the parsed arguments and gives the exit code, and a row in COMMANDS. Every import that costs time stands
in the function that needs it, so that `--help` and a misspelt command answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from rich.table import Table

    from nocturne.datasets import Dataset
    from nocturne.landing.drawers import Action as Steering
    from nocturne.ledger import Ledger
    from nocturne.marts.rollback import Action
    from nocturne.orchestration.catalogue import Station
    from nocturne.receipts import Receipt
    from nocturne.settings import Settings
    from nocturne.tenants import Roll, Tenant

Arguments = argparse.Namespace


@dataclass(frozen=True)
class Argument:
    """One argument of a command: its names and what argparse is to know of it."""

    names: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """One command: the words that call it, what it does, its function and its arguments."""

    words: str
    does: str
    run: Callable[[Arguments], int]
    arguments: tuple[Argument, ...] = ()


def _argument(*names: str, **options: Any) -> Argument:
    return Argument(names, options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. An error that was raised on purpose is told without a traceback, with exit code 1."""
    given = _parser().parse_args(arguments)
    from nocturne.errors import NocturneError

    try:
        return int(given.run(given))
    except NocturneError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has read enough (`nocturne ... | head`); nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


# tenants -----------------------------------------------------------------------------------------------------------------------
def check_tenants(given: Arguments) -> int:
    """Check one tenant's file, or all of a folder, with what they say of checks; every error with its file and line."""
    from nocturne.errors import TenantError
    from nocturne.gates.adjustments import check_adjustments
    from nocturne.tenants import Roll, load_tenant, load_tenants

    path = _path(given.path) if given.path else _settings().tenants
    if path.is_dir():
        roll = load_tenants(path)
        ignored = sorted(file for file in path.iterdir() if file.suffix != ".yml" and not file.name.startswith("."))
        for file in ignored:
            print(f"{file}: is no tenant: a tenant's file ends in .yml", file=sys.stderr)
    else:
        try:
            tenant = load_tenant(path)
            roll = Roll({tenant.slug: tenant}, ())
        except TenantError as error:
            roll = Roll({}, (error,))
    roll = _with_right_checks(roll, path, check_adjustments)
    for broken in roll.broken:
        print(broken.what, file=sys.stderr)
    print(f"{len(roll.tenants)} right, {len(roll.broken)} broken")
    return 1 if roll.broken else 0


def _with_right_checks(roll: Roll, path: Path, check: Callable[[Tenant, Settings], None]) -> Roll:
    """The same, without the tenants whose file says something of checks that is not right."""
    from nocturne.errors import TenantError
    from nocturne.tenants import Roll

    settings = _settings().model_copy(update={"tenants": path if path.is_dir() else path.parent})
    broken = list(roll.broken)
    for tenant in roll.tenants.values():
        try:
            check(tenant, settings)
        except TenantError as error:
            broken.append(error)
    wrong = {error.tenant for error in broken}
    return Roll({slug: tenant for slug, tenant in roll.tenants.items() if slug not in wrong}, tuple(broken))


def new_tenant(given: Arguments) -> int:
    """Write a commented file for a new tenant, which is valid as it stands. An existing one is left alone."""
    import re
    from datetime import UTC, datetime

    from nocturne.errors import TenantError
    from nocturne.tenants import SLUG, read_tenant

    if not re.fullmatch(SLUG, given.slug):
        raise TenantError(f"{given.slug!r} is no slug.", next_step="Choose 2 to 20 of a-z, 0-9 and _, the first of them a letter.")
    folder = _settings().tenants
    path = folder / f"{given.slug}.yml"
    begins_on = given.begins_on or datetime.now(UTC).date()
    text = _starter(given, begins_on)
    tenant = read_tenant(text, path)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise TenantError(f"{path} is there already.", next_step="Edit it, or choose another slug.", tenant=given.slug) from error
    print(f"{path} is written.")
    print(f"Say there what {tenant.name} delivers, check it with `nocturne tenants check {path}`, and its DAGs appear in Airflow.")
    return 0


def list_tenants(given: Arguments) -> int:
    """List the tenants whose file is right, and name the broken files."""
    from nocturne.tenants import load_tenants

    roll = load_tenants(_settings().tenants)
    table = _table("slug", "name", "tier", "time zone", "currency", "begins on", "datasets")
    for tenant in roll.tenants.values():
        table.add_row(
            tenant.slug, tenant.name, tenant.tier.value, tenant.time_zone[-1].value, tenant.currency, tenant.begins_on.isoformat(),
            ", ".join(dataset.name for dataset in tenant.datasets),
        )  # fmt: skip
    _show(table)
    for broken in roll.broken:
        print(broken.what, file=sys.stderr)
    return 1 if roll.broken else 0


# datasets ----------------------------------------------------------------------------------------------------------------------
def list_datasets(given: Arguments) -> int:
    """List the datasets that a tenant may deliver."""
    from nocturne.datasets import DATASETS

    table = _table("dataset", "kind", "domain", "key", "event date", "description")
    for dataset in DATASETS.values():
        table.add_row(dataset.name, dataset.kind, dataset.domain, ", ".join(dataset.key), dataset.event_date or "", dataset.description)
    _show(table)
    return 0


def show_schema(given: Arguments) -> int:
    """Print the JSON Schema of one row of a dataset, for those who produce it."""
    import json

    from nocturne.datasets import DATASETS
    from nocturne.errors import PermanentError

    if given.dataset not in DATASETS:
        raise PermanentError(f"There is no dataset {given.dataset!r}.", next_step=f"Choose one of {', '.join(DATASETS)}.")
    print(json.dumps(DATASETS[given.dataset].json_schema(), indent=2))
    return 0


def list_functions(given: Arguments) -> int:
    """List what a mapping expression may call and cast to."""
    from nocturne.expressions import FUNCTIONS, TYPES

    print(f"functions: {', '.join(sorted(FUNCTIONS))}")
    print(f"types: {', '.join(sorted(TYPES))}")
    return 0


def list_presets(given: Arguments) -> int:
    """List the presets, or explain one: what it reads, the lines it needs, and the sources that they become."""
    import yaml

    from nocturne import presets
    from nocturne.errors import PermanentError

    if given.name is None:
        table = _table("preset", "reads", "datasets")
        for name in presets.names():
            one = presets.preset(name)
            table.add_row(name, one.title, ", ".join(one.parts))
        _show(table)
        return 0
    try:
        one = presets.preset(given.name)
    except presets.PresetError as error:
        raise PermanentError(f"{str(error)[0].upper()}{str(error)[1:]}.", next_step="Choose one of them.") from error
    print(f"{one.title}\n\nReads: {one.reads}.\n{one.notes}\n\nsources:\n{one.example}\nwhich stands for:\n")
    sources, _ = presets.expanded(yaml.safe_load(one.example))
    print(yaml.safe_dump(sources, sort_keys=False, allow_unicode=True, width=140))
    return 0


# stations ----------------------------------------------------------------------------------------------------------------------
def run_station(given: Arguments) -> int:
    """Run one station of one tenant's night here, without Airflow; its receipt is shown and stands in the ledger."""
    import socket
    from datetime import UTC, datetime

    from nocturne.ledger import Ledger, migrate
    from nocturne.tenants import load_tenant

    settings = _settings()
    station = _station(given.station)
    tenant = load_tenant(settings.tenants / f"{given.tenant}.yml")
    day = given.day or tenant.business_day(datetime.now(UTC))
    migrate(settings)
    receipt = _run(station, tenant, day, settings, Ledger(settings), f"terminal/{socket.gethostname()}/{os.getpid()}", given.problem)
    _show_receipt(receipt)
    return 0


def _run(station: Station, tenant: Tenant, day: date, settings: Settings, ledger: Ledger, run_id: str, problem: str | None) -> Receipt:
    from functools import partial

    more: dict[str, Any] = {"failures": {}} if station.name == "raise_alerts" else {}
    if problem is not None:
        more["problem"] = problem
    return _kept(station, partial(station.load(), **more), tenant, day, settings, ledger, run_id)


def _kept(
    station: Station, work: Callable[..., Receipt], tenant: Tenant, day: date, settings: Settings, ledger: Ledger, run_id: str
) -> Receipt:
    """Do a station's work under the lease that it needs; what came of it stands in the ledger, also if it failed."""
    from contextlib import nullcontext
    from datetime import UTC, datetime

    from nocturne.errors import NocturneError
    from nocturne.receipts import Receipt

    started = datetime.now(UTC)
    try:
        with ledger.holding(tenant, run_id, wait_seconds=0) if station.changes_tenant else nullcontext():
            receipt = work(tenant, day, settings, ledger)
    except NocturneError as error:
        failed = Receipt(tenant=tenant.slug, day=day, station=station.name, started_at=started, finished_at=datetime.now(UTC))
        ledger.record(failed, run_id=run_id, error=str(error))
        raise
    finally:
        if station.changes_tenant:
            ledger.release(tenant, run_id)
    receipt = receipt.model_copy(update={"station": station.name})
    ledger.record(receipt, run_id=run_id)
    return receipt


def _station(name: str) -> Station:
    from nocturne.errors import PermanentError
    from nocturne.orchestration.catalogue import ALERTS, STATIONS, TRAINING

    known = {**STATIONS, ALERTS.name: ALERTS, **TRAINING}
    if name not in known:
        raise PermanentError(f"There is no station {name!r}.", next_step=f"Choose one of {', '.join(known)}.")
    return known[name]


def _show_receipt(receipt: Receipt) -> None:
    names = list(dict.fromkeys(count for entry in receipt.entries for count in entry.counts))
    table = _table(receipt.station, *names, "")
    for entry in receipt.entries:
        table.add_row(
            entry.name, *(f"{entry.counts[name]:,}" if name in entry.counts else "" for name in names), "unchanged" if entry.skipped else ""
        )
    _show(table)
    for warning in receipt.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{receipt.tenant}, {receipt.day}: {receipt.seconds:.1f} s")


# quarantine ----------------------------------------------------------------------------------------------------------------------
def list_quarantine(given: Arguments) -> int:
    """List what stands in quarantine: rows by dataset and reason, without any of their values."""
    from nocturne.silver.quarantine import refused, standing

    tenant, ledger = _tenant_and_ledger(given.tenant)
    stands = _table("dataset", "delivered", "quarantined", "batches")
    for one in standing(tenant, ledger):
        stands.add_row(one.dataset, f"{one.delivered:,}", f"{one.quarantined:,}", f"{one.batches:,}")
    _show(stands)
    if reasons := refused(tenant, ledger, given.datasets):
        table = _table("dataset", "reason", "rows", "batches", "first", "last")
        for why in reasons:
            table.add_row(why.dataset, why.reason, f"{why.rows:,}", f"{why.batches:,}", why.first, why.last)
        _show(table)
        print(f"`nocturne quarantine show {tenant.slug} <dataset>` shows examples.")
    return 0


def show_quarantine(given: Arguments) -> int:
    """Show examples of refused rows, the newest first: where each stands, every reason, and what of it is nobody's personal data."""
    from nocturne.silver.quarantine import examples

    tenant, dataset = _tenant_and_dataset(given)
    found = examples(tenant, dataset, _settings(), reason=given.reason, count=given.count)
    for one in found:
        print(f"{one.batch}, {one.file}:{one.line}")
        for reason in one.reasons:
            print(f"  because  {reason}")
        for column, value in one.delivered.items():
            print(f"  {column} = {value}")
    if not found:
        print("no such rows")
    return 0


def replay_quarantine(given: Arguments) -> int:
    """Have the batches with refused rows loaded again by the next night, with the mapping as it is then."""
    import socket

    from nocturne.silver.quarantine import replay

    tenant, ledger = _tenant_and_ledger(given.tenant)
    owner = f"quarantine/{socket.gethostname()}/{os.getpid()}"
    try:
        with ledger.holding(tenant, owner, wait_seconds=0):
            chosen = replay(tenant, ledger, datasets=given.datasets, reason=given.reason)
    finally:
        ledger.release(tenant, owner)
    table = _table("dataset", "batches", "first", "last")
    for name, batches in chosen.items():
        by_day = sorted(batches, key=lambda batch: batch.rpartition("/")[2])
        table.add_row(name, f"{len(batches):,}", by_day[0], by_day[-1])
    _show(table)
    print("The next night loads them again." if chosen else "Nothing of that kind stands in quarantine.")
    return 0


# gates ----------------------------------------------------------------------------------------------------------------------------
def show_profile(given: Arguments) -> int:
    """Show what a dataset looks like as it was delivered: filled, distinct, lowest, middle and highest values; nothing of a person."""
    from nocturne.gates.profiles import lines, profile

    tenant, dataset = _tenant_and_dataset(given)
    found = profile(tenant, dataset, _settings())
    table = _table("column", "type", "filled", "distinct", "lowest", "middle", "highest", "values")
    for line in lines(found):
        table.add_row(*line)
    _show(table)
    estimated = "; ~ and quantiles are estimates" if found.is_estimated else ""
    print(f"{found.rows:,} rows of {found.batches} batches, received from {found.first} to {found.last}{estimated}")
    return 0


def suggest_suite(given: Arguments) -> int:
    """Write a suite for a dataset, with thresholds from its own batches, which pass it: for a person to edit."""
    from nocturne.gates.suggestions import suggest
    from nocturne.ledger import Ledger

    tenant, dataset = _tenant_and_dataset(given)
    settings = _settings()
    written = suggest(tenant, dataset, settings, Ledger(settings), again=given.again)
    print(f"{written.path} is written: {written.checks} checks, which all {written.batches} batches ({written.rows:,} rows) pass.")
    return 0


def write_quality_pages(given: Arguments) -> int:
    """Write the quality pages of a tenant as of a day."""
    from datetime import UTC, datetime

    from nocturne.reports.quality import FOLDER, INDEX, write_quality

    tenant, ledger = _tenant_and_ledger(given.tenant)
    settings = _settings()
    count = write_quality(tenant, given.day or tenant.business_day(datetime.now(UTC)), settings, ledger)
    print(f"{settings.reports_root / tenant.slug / FOLDER / INDEX}: {f'{count} pages written' if count else 'nothing new'}")
    return 0


def _tenant_and_dataset(given: Arguments) -> tuple[Tenant, Dataset]:
    tenant, _ = _tenant_and_ledger(given.tenant)
    dataset = next((one for one in tenant.datasets if one.name == given.dataset), None)
    if dataset is None:
        from nocturne.errors import PermanentError

        have = ", ".join(one.name for one in tenant.datasets)
        raise PermanentError(f"The tenant has no dataset {given.dataset!r}.", next_step=f"Choose one of {have}.", tenant=tenant.slug)
    return tenant, dataset


# deliveries -----------------------------------------------------------------------------------------------------------------------
def show_deliveries(given: Arguments) -> int:
    """List what a source delivered, the newest day first: what stands, what was replaced, and what was taken back and why."""
    from nocturne.landing import list_deliveries

    tenant, _ = _tenant_and_ledger(given.tenant)
    found = list_deliveries(tenant, _settings(), given.source, given.day)
    table = _table("day", "delivery", "state", "taken at", "files", "bytes", "kept until", "why")
    for one in found[: given.count]:
        kept = "" if one.kept_until is None else one.kept_until.isoformat() if one.is_kept else "no longer kept"
        table.add_row(
            one.day.isoformat(), str(one.number or 1), one.state, f"{one.manifest.taken_at:%Y-%m-%d %H:%M}", f"{len(one.manifest.files):,}",
            f"{one.manifest.bytes:,}", kept, f"{one.step.reason} ({one.step.by}, {one.step.at:%Y-%m-%d})" if one.step else "",
        )  # fmt: skip
    _show(table)
    if len(found) > given.count:
        print(f"{len(found) - given.count} more: --count")
    return 0


def restore_delivery(given: Arguments) -> int:
    """Let an earlier delivery of a source stand for a day: the one before, or of a day of which none stands, the one that was withdrawn.
    The next night follows; what stood until now is kept, and is not taken from the source again.
    """
    return _steer_deliveries(given, "restore", given.to)


def withdraw_delivery(given: Arguments) -> int:
    """Let no delivery of a source stand for a day. The next night follows; what stood is kept, and is not taken from the source again."""
    return _steer_deliveries(given, "withdraw", None)


def _steer_deliveries(given: Arguments, action: Steering, number: int | None) -> int:
    from nocturne.orchestration.catalogue import STEER_DELIVERIES

    tenant, ledger = _tenant_and_ledger(given.tenant)
    asked = {"source": given.source, "of": given.day, "action": action, "number": number, "reason": given.reason}
    receipt = _asked(STEER_DELIVERIES, tenant, ledger, asked)
    facts = receipt.entries[0].facts
    brings_back = f"`nocturne deliveries restore {tenant.slug} {given.source} {given.day} --to {facts['away']} --reason ...` undoes it."
    print("The next night follows." if facts["away"] is None else f"The next night follows; {brings_back}")
    return 0


# what is published ----------------------------------------------------------------------------------------------------------------
def list_published(given: Arguments) -> int:
    """List the publishes and rollbacks of a tenant, the newest first, and whether publishing is held."""
    from nocturne.marts import list_publishes

    tenant, _ = _tenant_and_ledger(given.tenant)
    history, held = list_publishes(tenant, _settings())
    table = _table("publish", "what", "day", "at", "state of", "rows in", "rows out", "can be undone", "why")
    for one in history[: given.count]:
        undone = f"no: {one.barrier}" if one.barrier else "yes" if one.is_kept else "no: no longer kept"
        table.add_row(
            str(one.publish_id), one.kind, one.day.isoformat(), f"{one.published_at:%Y-%m-%d %H:%M}", str(one.stands_for),
            f"{one.inserted:,}", f"{one.deleted:,}", undone, one.reason or "",
        )  # fmt: skip
    _show(table)
    print(held.told if held else "Publishing is not held.")
    return 0


def roll_back(given: Arguments) -> int:
    """Make the published marts what they were before the newest publish that changed anything (or after the one named by --to), and hold
    publishing until `nocturne publish release`. It is a publish of its own, which `--to` a later number undoes.
    """
    return _steer(given, "roll back", given.to, given.reason)


def hold_publishing(given: Arguments) -> int:
    """Let no night publish until `nocturne publish release`; nights go on to build, and say so."""
    return _steer(given, "hold", None, given.reason)


def release_publishing(given: Arguments) -> int:
    """Let the next night publish again."""
    return _steer(given, "release", None, "")


def _steer(given: Arguments, action: Action, publish_id: int | None, reason: str) -> int:
    from nocturne.orchestration.catalogue import STEER

    tenant, ledger = _tenant_and_ledger(given.tenant)
    _asked(STEER, tenant, ledger, {"action": action, "publish_id": publish_id, "reason": reason})
    if action == "release":
        print(f"The next night publishes; `nocturne run publish_marts {tenant.slug}` does it now.")
    else:
        print(f"Publishing is held until `nocturne publish release {tenant.slug}`.")
    return 0


def _asked(station: Station, tenant: Tenant, ledger: Ledger, what: dict[str, Any]) -> Receipt:
    """Do what a person asks of a station that notes who asked; shows and gives the receipt."""
    import getpass
    import socket
    import uuid
    from datetime import UTC, datetime
    from functools import partial

    by, run_id = f"{getpass.getuser()} at a terminal", f"terminal/{socket.gethostname()}/{uuid.uuid4()}"
    work = partial(station.load(), **what, asked=run_id, by=by)
    receipt = _kept(station, work, tenant, tenant.business_day(datetime.now(UTC)), _settings(), ledger, run_id)
    _show_receipt(receipt)
    return receipt


def _tenant_and_ledger(slug: str) -> tuple[Tenant, Ledger]:
    from nocturne.ledger import Ledger, migrate
    from nocturne.tenants import load_tenants

    settings = _settings()
    tenant = load_tenants(settings.tenants).get(slug)
    migrate(settings)
    return tenant, Ledger(settings)


# metrics -----------------------------------------------------------------------------------------------------------------------
def ask_metrics(given: Arguments) -> int:
    """Ask metrics by dimensions and time of a tenant's published marts, as its read-only role."""
    from nocturne.errors import PermanentError
    from nocturne.metrics import Filter, execute_query, forms
    from nocturne.tenants import load_tenants

    if given.format == "parquet" and given.output is None:
        raise PermanentError("Parquet is no text.", next_step="Name the file: `--output answer.parquet`.")
    settings = _settings()
    answer = execute_query(
        load_tenants(settings.tenants).get(given.tenant), settings, _words(given.metrics), _words(given.by), (given.first, given.last),
        filters=[Filter.parse(text) for text in given.where], order=_words(given.order), limit=given.limit, offset=given.offset,
        exact=given.exact,
    )  # fmt: skip
    if given.sql:
        print(answer.statement.text.as_string(), dict(answer.statement.values), file=sys.stderr)
    if given.format == "table" and given.output is None:
        table = _table(*(column.name for column in answer.columns))
        for row in answer.rows:
            table.add_row(
                *("" if value is None else forms.as_text(value, column) for value, column in zip(row, answer.columns, strict=True))
            )
        _show(table)
    else:
        _write(forms.FORMS.get(given.format, forms.as_csv)(answer), given.output)
    for note in answer.notes:
        print(f"note: {note}", file=sys.stderr)
    if answer.has_more:
        print(f"There is more: go on with `--offset {given.offset + given.limit}`.", file=sys.stderr)
    return 0


def list_metrics(given: Arguments) -> int:
    """List the metrics; of a tenant, those that it has."""
    from nocturne.metrics import load_catalogue
    from nocturne.metrics.asking import why_not
    from nocturne.tenants import load_tenants

    settings = _settings()
    catalogue = load_catalogue(settings.metrics, settings.dbt_project)
    tenant = load_tenants(settings.tenants).get(given.tenant) if given.tenant else None
    table = _table("metric", "domain", "adds up", "by", "formula")
    for metric in catalogue.metrics.values():
        if tenant is None or why_not(catalogue, tenant, metric) is None:
            by = ", ".join([*catalogue.steps(metric), *metric.dimensions])
            table.add_row(metric.name, metric.domain, metric.adds_up, by, metric.formula)
    _show(table)
    return 0


def show_metric(given: Arguments) -> int:
    """Explain one metric: what it means, how it adds up, by what it may be asked, where it stands and who owns it."""
    from nocturne.errors import PermanentError
    from nocturne.metrics import load_catalogue, telling

    settings = _settings()
    catalogue = load_catalogue(settings.metrics, settings.dbt_project)
    if given.metric not in catalogue.metrics:
        raise PermanentError(f"There is no metric {given.metric!r}.", next_step="`nocturne metrics list` lists them.")
    for title, text in telling.told(catalogue, catalogue.metrics[given.metric]):
        print(f"{title:<12} {text}")
    return 0


def check_metrics(given: Arguments) -> int:
    """Check the metrics' declarations against the marts that dbt describes; an error with file and line."""
    from nocturne.metrics import load_catalogue

    settings = _settings()
    catalogue = load_catalogue(settings.metrics, settings.dbt_project)
    print(f"{len(catalogue.metrics)} metrics, {len(catalogue.dimensions)} dimensions: right")
    return 0


def write_docs(given: Arguments) -> int:
    """Write the documentation of marts and metrics: one file, without a server or a database."""
    from nocturne.marts.documentation import write_docs as write
    from nocturne.metrics import load_catalogue, telling

    settings = _settings()
    catalogue = load_catalogue(settings.metrics, settings.dbt_project)
    print(f"Open {write(settings, [('__overview__', telling.overview(catalogue))])}")
    return 0


def show_reader(given: Arguments) -> int:
    """Print the connection by which a tenant's analysts read its marts; it holds the password."""
    from nocturne.postgres import uri
    from nocturne.tenants import load_tenants

    settings = _settings()
    tenant = load_tenants(settings.tenants).get(given.tenant)
    print(uri(settings, role=tenant.reader_role))
    print(f"Schemas {tenant.marts_schema} and {tenant.ml_schema}; it reads, and nothing else.", file=sys.stderr)
    return 0


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _write(content: str | bytes, path: str | None) -> None:
    if path is None:
        sys.stdout.write(content if isinstance(content, str) else content.decode())
        return
    _path(path).write_bytes(content if isinstance(content, bytes) else content.encode())


# the installation --------------------------------------------------------------------------------------------------------------
def show_settings(given: Arguments) -> int:
    """Show every setting, its value and where it comes from; secrets are not shown."""
    from pydantic import SecretStr

    from nocturne.landing.connections import without_secrets
    from nocturne.settings import Settings, origins

    settings, origin = _settings(), origins()
    derived = {"lake": settings.lake_root, "sources": settings.sources_root, "reports": settings.reports_root}
    table = _table("setting", "value", "from", "what it is")
    for name, about in Settings.model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            text = "(not shown)"
        elif value is None:
            text = str(derived.get(name, ""))
        else:
            text = without_secrets(value) if isinstance(value, str) and "://" in value else str(value)
        table.add_row(name, text, origin[name], about.description or "")
    _show(table)
    known = {f"NOCTURNE_{name.upper()}" for name in Settings.model_fields} | {"NOCTURNE_SETTINGS"}
    for variable in sorted(set(filter(lambda name: name.startswith("NOCTURNE_"), os.environ)) - known):
        print(f"warning: {variable} is set, and no setting has that name", file=sys.stderr)
    return 0


def run_nightly(given: Arguments) -> int:
    """Set up what is missing and run every tenant's night (or those that are named) through Airflow."""
    from nocturne.installation.commands import nightly
    from nocturne.installation.display import Display

    return nightly(_settings(), Display(), given.tenants, given.day)


def start_up(given: Arguments) -> int:
    """Leave the whole installation running, and say where it is."""
    from nocturne.installation.commands import up
    from nocturne.installation.display import Display

    return up(_settings(), Display())


def shut_down(given: Arguments) -> int:
    """End what `up` started, and nothing else."""
    from nocturne.installation.commands import down
    from nocturne.installation.display import Display

    return down(_settings(), Display(), remove=given.remove)


def install_tools(given: Arguments) -> int:
    """Find the programs that reports need; as root on a Debian, install those that are missing."""
    from nocturne.installation.tools import ensure_tools

    ensure_tools(print)
    return 0


# what the commands share -------------------------------------------------------------------------------------------------------
def _settings() -> Settings:
    from nocturne.settings import load_settings

    return load_settings()


def _path(text: str) -> Path:
    from pathlib import Path

    return Path(text).expanduser()


def _date(text: str) -> date:
    from datetime import date

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date (YYYY-MM-DD)") from None


def _table(*titles: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _show(table: Table) -> None:
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False, markup=False, emoji=False).print(table)
        return
    # In a pipe nothing is cut, folded or padded: another program reads it.
    console = Console(width=1_000, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _starter(given: Arguments, begins_on: date) -> str:
    import json

    return f"""\
# One tenant is this one file. `nocturne tenants check` checks it, `nocturne datasets` lists what a source may deliver, and
# `nocturne schema <dataset>` the columns of each. Secrets never stand here: an API's address and token stand in an Airflow connection.
name: {json.dumps(given.name or given.slug.replace("_", " ").title(), ensure_ascii=False)}
tier: {given.tier}                        # free, pro or enterprise: what is kept, reported and predicted
owner: operations                # who is called when a night fails
time_zone: {json.dumps(given.time_zone)}
currency: {given.currency}
week_start: monday               # or sunday
begins_on: {begins_on.isoformat()}            # the first day that is taken
night_at: "03:00"                # local time at which the night starts

# rules:                         # the definitions that may differ; each may change on a day, and old days keep the rule of their time
#   stream_min_ms: 30000
#   stream_rule: gte             # gt where exactly 30 seconds are no stream
#   session_gap_seconds: [{{value: 1800}}, {{from: 2027-01-01, value: 1200}}]
#   pool_share: 0.52             # the share of net revenue that is split among rights holders
#   noise_genres: white noise, nature sounds, silence      # what must last two minutes to be paid for

# bill:                          # what the installation costs the tenant, by calendar month: see the mart `usage_months`
#   - {{from: {begins_on.replace(day=1).isoformat()}, month: 400, included_rows: 10000000, million_rows: 12.50}}

sources:
  # Files below the sources' root (`nocturne settings` names it). With {{day}} in the location each day is a delivery of its own.
  - name: plays
    dataset: plays
    kind: files
    format: ndjson               # or csv, parquet, json
    location: {given.slug}/plays/{{day}}/*.ndjson
    required: false              # true: stop the night when nothing came for its day ...
    # deadline: "05:00"          # ... and wait for it until then (local time)
    # Without `map`, the delivered columns have our names. With it, each of ours is an expression of theirs:
    # columns: {{ts: bigint}}
    # map:
    #   play_id: md5(concat(user_id, ts))
    #   played_at: make_timestamp_ms(ts)
    #   listener_id: user_id
    #   track_id: song_id
    #   ms_played: ms
    # where: event = 'play'

  # Without {{day}}, what is there at night is the state of that night.
  - name: tracks
    dataset: tracks
    kind: files
    format: csv
    location: {given.slug}/tracks.csv

  # JSON over HTTP; the connection `nocturne_{given.slug}__shop` holds address and token.
  # - name: payments
  #   dataset: payments
  #   kind: api
  #   connection: shop
  #   location: payments?day={{day}}
  #   records: data              # the field of a page that holds its rows
  #   paging: {{kind: next_url, field: next}}   # the field that holds the next page's address; other kinds: README
"""


COMMANDS = (
    Command("nightly", "set up what is missing and run every tenant's night", run_nightly, (
        _argument("tenants", nargs="*", help="slugs; none: all"),
        _argument("--day", type=_date, help="business day; default: a demo's last day, else the last day that is over"),
    )),
    Command("up", "leave the whole installation running", start_up),
    Command("down", "end what `up` started", shut_down, (
        _argument("--remove", action="store_true", help="remove the embedded PostgreSQL's data, too: ledger, marts and logins"),
    )),
    Command("run", "run one station of one tenant here, without Airflow", run_station, (
        _argument("station", help="land, load_bronze, ... (an unknown name lists them)"),
        _argument("tenant", help="slug"),
        _argument("--day", type=_date, help="business day; default: the last local day that is over"),
        _argument("--problem", help="of a training step: this problem alone"),
    )),
    Command("tenants check", "check the tenants' files; every error with file and line", check_tenants, (
        _argument("path", nargs="?", help="a file or a folder; default: all tenants"),
    )),
    Command("tenants new", "write a commented file for a new tenant", new_tenant, (
        _argument("slug", help="its short name: a-z, 0-9 and _, at most 20 characters"),
        _argument("--name", help="its name as shown"),
        _argument("--time-zone", default="UTC", help="IANA name, such as Europe/Paris (default: UTC)"),
        _argument("--currency", default="USD", help="ISO 4217 code (default: USD)"),
        _argument("--tier", default="pro", choices=("free", "pro", "enterprise"), help="default: pro"),
        _argument("--begins-on", type=_date, help="first day of deliveries (default: today)"),
    )),
    Command("tenants list", "list the tenants", list_tenants),
    Command("quarantine list", "list what was refused, and why", list_quarantine, (
        _argument("tenant", help="slug"),
        _argument("datasets", nargs="*", help="datasets whose reasons are listed; default: all"),
    )),
    Command("quarantine show", "show examples of refused rows, without personal data", show_quarantine, (
        _argument("tenant", help="slug"),
        _argument("dataset"),
        _argument("--reason", default="", help="only rows refused for a reason that contains this text"),
        _argument("--count", type=int, default=5, help="how many (default: 5)"),
    )),
    Command("quarantine replay", "have refused rows taken again by the next night", replay_quarantine, (
        _argument("tenant", help="slug"),
        _argument("datasets", nargs="*", help="datasets to take again; default: all"),
        _argument("--reason", default="", help="only batches with a reason that contains this text"),
    )),
    Command("gates profile", "show what a dataset looks like, without personal data", show_profile, (
        _argument("tenant", help="slug"),
        _argument("dataset"),
    )),
    Command("gates suggest", "write a suite of checks from what was delivered, to be edited", suggest_suite, (
        _argument("tenant", help="slug"),
        _argument("dataset"),
        _argument("--again", action="store_true", help="write it anew over an edited one"),
    )),
    Command("gates site", "write the pages of scores, checks and incidents", write_quality_pages, (
        _argument("tenant", help="slug"),
        _argument("--day", type=_date, help="business day; default: the last local day that is over"),
    )),
    Command("deliveries list", "list what a source delivered, and what was taken back", show_deliveries, (
        _argument("tenant", help="slug"),
        _argument("source"),
        _argument("--day", type=_date, help="the day of the delivery; default: all"),
        _argument("--count", type=int, default=30, help="how many (default: 30)"),
    )),
    Command("deliveries restore", "let an earlier delivery stand", restore_delivery, (
        _argument("tenant", help="slug"),
        _argument("source"),
        _argument("day", type=_date, help="the day of the delivery"),
        _argument("--to", type=int, help="the number of the delivery that is to stand; default: the one before"),
        _argument("--reason", required=True, help="why; whoever finds a delivery taken back reads it"),
    )),
    Command("deliveries withdraw", "let no delivery of a day stand", withdraw_delivery, (
        _argument("tenant", help="slug"),
        _argument("source"),
        _argument("day", type=_date, help="the day of the delivery"),
        _argument("--reason", required=True, help="why; whoever finds a delivery taken back reads it"),
    )),
    Command("publish list", "list publishes and rollbacks, and whether publishing is held", list_published, (
        _argument("tenant", help="slug"),
        _argument("--count", type=int, default=30, help="how many (default: 30)"),
    )),
    Command("publish rollback", "take back what was published last, and hold publishing", roll_back, (
        _argument("tenant", help="slug"),
        _argument("--to", type=int, help="the publish whose state is to stand (0: before the first)"),
        _argument("--reason", required=True, help="why; whoever finds publishing held reads it"),
    )),
    Command("publish hold", "let no night publish until it is released", hold_publishing, (
        _argument("tenant", help="slug"),
        _argument("--reason", required=True, help="why; whoever finds publishing held reads it"),
    )),
    Command("publish release", "let the next night publish again", release_publishing, (
        _argument("tenant", help="slug"),
    )),
    Command("query", "ask metrics of a tenant's published marts", ask_metrics, (
        _argument("tenant", help="slug"),
        _argument("--metrics", required=True, help="names, with commas (`nocturne metrics list`)"),
        _argument("--by", default="", help="dimensions, with commas; day, week, month, quarter and year among them"),
        _argument("--from", dest="first", type=_date, help="first day (YYYY-MM-DD); default: from the beginning"),
        _argument("--to", dest="last", type=_date, help="last day; default: to the end"),
        _argument("--where", action="append", default=[], help="genre=pop, country!=FR; all must hold, of one dimension's = any"),
        _argument("--order", default="", help="columns, with commas; --order=-play_count: the greatest first"),
        _argument("--limit", type=int, default=1_000, help="rows (default: 1,000)"),
        _argument("--offset", type=int, default=0, help="rows to pass over"),
        _argument("--format", default="table", choices=("table", "csv", "json", "parquet"), help="default: table"),
        _argument("--output", help="the file to write"),
        _argument("--exact", action="store_true", help="count people however long it takes, where they would be estimated or refused"),
        _argument("--sql", action="store_true", help="show the SQL that was asked"),
    )),
    Command("metrics list", "list the metrics, or those that a tenant has", list_metrics, (
        _argument("tenant", nargs="?", help="slug"),
    )),
    Command("metrics show", "explain one metric", show_metric, (
        _argument("metric"),
    )),
    Command("metrics check", "check the metrics' declarations; an error with file and line", check_metrics),
    Command("reader", "print the connection by which a tenant's analysts read its marts", show_reader, (
        _argument("tenant", help="slug"),
    )),
    Command("docs", "write the documentation of marts and metrics", write_docs),
    Command("datasets", "list the datasets that a tenant may deliver", list_datasets),
    Command("schema", "print the JSON Schema of one row of a dataset", show_schema, (
        _argument("dataset"),
    )),
    Command("presets", "list the formats that a source takes by name, or explain one", list_presets, (
        _argument("name", nargs="?", help="the preset to explain"),
    )),
    Command("functions", "list what a mapping expression may call and cast to", list_functions),
    Command("settings", "show every setting, its value and where it comes from", show_settings),
    Command("tools", "find, or install, the programs that reports need", install_tools),
)  # fmt: skip
"""Every command. Two words are a command below another (`nocturne tenants check`)."""

_GROUPS = {
    "tenants": "check, list and add tenants",
    "quarantine": "see what was refused, and have it taken again",
    "deliveries": "see what was delivered, and take it back",
    "gates": "see what is delivered, and suggest checks of it",
    "publish": "see what was published, and take it back",
    "metrics": "list, explain and check the metrics",
}


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="nocturne", description="Nightly analytics for music streaming: many tenants on one installation.")
    groups: dict[str, Any] = {"": top.add_subparsers(metavar="COMMAND", required=True)}
    for command in COMMANDS:
        group, _, name = command.words.rpartition(" ")
        if group not in groups:
            below = groups[""].add_parser(group, help=_GROUPS[group], description=_GROUPS[group])
            groups[group] = below.add_subparsers(metavar="COMMAND", required=True)
        parser = groups[group].add_parser(name, help=command.does, description=command.run.__doc__)
        for argument in command.arguments:
            parser.add_argument(*argument.names, **argument.options)
        parser.set_defaults(run=command.run)
    return top


if __name__ == "__main__":
    sys.exit(main())
