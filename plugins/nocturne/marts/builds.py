"""What is known of a tenant's builds: the table `<slug>_build._builds`, by which building and publishing meet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from nocturne.datasets import Dataset
from nocturne.postgres import SQL, Connection, Identifier, Literal, connect, exclusion, statement
from nocturne.quality import FINDINGS
from nocturne.settings import Settings
from nocturne.tenants import Tenant

_SAID_OF_MARTS = {"metrics", "contracts"}
"""Folders of dbt's project that tell of marts, and decide nothing in them."""
TOUCHED = ("_touched", "_touched_listeners", "_touched_rows")
"""The warehouse's tables of what has changed since marts were published; each has `touched_at`."""

_RELATIONS = (
    "TABLE IF NOT EXISTS {build}._builds (build_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, day date NOT NULL,"
    " fingerprint text NOT NULL, is_full boolean NOT NULL, started_at timestamptz NOT NULL, finished_at timestamptz,"
    " published_at timestamptz, marts jsonb)",
    "TABLE IF NOT EXISTS {build}._changed (model text NOT NULL, changed_on date NOT NULL, PRIMARY KEY (model, changed_on))",
    "TABLE IF NOT EXISTS {build}._moved (model text NOT NULL, key jsonb NOT NULL)",
    "INDEX IF NOT EXISTS _moved_model_idx ON {build}._moved (model)",
    "TABLE IF NOT EXISTS {build}._closed (mart text NOT NULL, closed_on date NOT NULL, closed_row jsonb NOT NULL,"
    " closed_at timestamptz NOT NULL DEFAULT now())",
    "INDEX IF NOT EXISTS _closed_mart_closed_on_idx ON {build}._closed (mart, closed_on)",
)
"""What builds and publishes of a tenant keep beside the marts."""


@dataclass(frozen=True)
class Mart:
    """A mart as dbt knows it: `day` is the column whose dates `_changed` notes, as `_moved` notes keys; None: it is compared whole.

    What is published of a mart that `closes` never changes again: publishing keeps its rows in `_closed`, by `day`, and builds take them
    from there.
    """

    name: str
    key: tuple[str, ...]
    day: str | None
    description: str
    columns: dict[str, str]
    closes: bool = False


@dataclass(frozen=True)
class Build:
    """One build. What was loaded until `started_at` is in it."""

    build_id: int
    fingerprint: str
    is_full: bool
    started_at: datetime
    is_finished: bool
    is_published: bool
    marts: tuple[Mart, ...]


def prepare(tenant: Tenant, settings: Settings) -> None:
    """Make the tables that builds need before dbt runs. Run again, it changes nothing."""
    build = tenant.build_schema
    with connect(settings, role=tenant.owner_role) as connection:
        connection.execute(statement(exclusion(tenant)))
        for relation in _RELATIONS:
            connection.execute(statement(f"CREATE {relation.format(build=build)}"))


def last_build(connection: Connection, tenant: Tenant) -> Build | None:
    """The newest build, finished or not."""
    row = connection.execute(
        statement(
            "SELECT build_id, fingerprint, is_full, started_at, finished_at IS NOT NULL, published_at IS NOT NULL, marts"
            f" FROM {tenant.build_schema}._builds ORDER BY build_id DESC LIMIT 1"
        )
    ).fetchone()
    if row is None:
        return None
    build_id, fingerprint, is_full, started_at, is_finished, is_published, marts = row
    return Build(build_id, fingerprint, is_full, started_at, is_finished, is_published, tuple(_mart(one) for one in marts or ()))


def published_fingerprint(connection: Connection, tenant: Tenant) -> str | None:
    """The fingerprint of the code that the published marts were built by."""
    row = connection.execute(
        statement(f"SELECT fingerprint FROM {tenant.build_schema}._builds WHERE published_at IS NOT NULL ORDER BY build_id DESC LIMIT 1")
    ).fetchone()
    return None if row is None else str(row[0])


def begin(connection: Connection, tenant: Tenant, day: date, fingerprint: str, *, is_full: bool) -> int:
    """Note that a build begins; its number. Loads that are under way are waited for, later ones are left to the next build."""
    connection.execute(statement(exclusion(tenant)))
    for table in TOUCHED:  # what one night fills and the next empties: the planner would go by what stood there before
        connection.execute(statement(f"ANALYZE {tenant.raw_schema}.{table}"))
    row = connection.execute(
        statement(
            f"INSERT INTO {tenant.build_schema}._builds (day, fingerprint, is_full, started_at) VALUES (%s, %s, %s, clock_timestamp())"
            " RETURNING build_id"
        ),
        (day, fingerprint, is_full),
    ).fetchone()
    assert row is not None  # noqa: S101 (INSERT ... RETURNING returns the row)
    return int(row[0])


def lacking(connection: Connection, tenant: Tenant, marts: Iterable[Mart], *, is_full: bool) -> list[str]:
    """Marts with a row whose key lacks a value; of marts by date, unless all was built anew, among the rows that builds have changed."""
    names, built = [], tenant.build_schema
    for mart in marts:
        if is_full or mart.day is None:
            lacks = SQL(" OR ").join(SQL("{} IS NULL").format(Identifier(column)) for column in mart.key)
            names.append(
                SQL("SELECT {} AS mart WHERE EXISTS (SELECT FROM {} WHERE {})").format(
                    Literal(mart.name), Identifier(built, mart.name), lacks
                )
            )
    moved = SQL("SELECT DISTINCT model FROM {} WHERE jsonb_path_exists(key, '$.* ? (@ == null)')").format(Identifier(built, "_moved"))
    rows = connection.execute(SQL(" UNION ").join([moved, *names]) + SQL(" ORDER BY 1")).fetchall()
    return [str(name) for (name,) in rows]


def finish(connection: Connection, tenant: Tenant, build_id: int, marts: Iterable[Mart]) -> None:
    """Note that a build is complete, and which marts it made."""
    listed = json.dumps([asdict(mart) for mart in marts])
    connection.execute(
        statement(f"UPDATE {tenant.build_schema}._builds SET finished_at = clock_timestamp(), marts = %s WHERE build_id = %s"),
        (listed, build_id),
    )


def is_touched_since(connection: Connection, tenant: Tenant, instant: datetime) -> bool:
    """Whether something was loaded that a build which started at `instant` has not seen; findings alone are taken in by the next build."""
    query = statement(f"SELECT EXISTS (SELECT FROM {tenant.raw_schema}._touched WHERE touched_at > %s AND dataset <> ALL (%s))")
    row = connection.execute(query, (instant, list(FINDINGS))).fetchone()
    return row is None or bool(row[0])


def fingerprint_of(tenant: Tenant, project: Path) -> str:
    """Digest of all that decides how marts are made, but not of what: dbt's project, the datasets' columns, the tenant's constants."""
    digest = hashlib.sha256()
    for path in sorted(path for path in project.rglob("*") if path.suffix in {".sql", ".yml"} and path.parent.name not in _SAID_OF_MARTS):
        digest.update(f"{path.relative_to(project)}\0".encode() + path.read_bytes() + b"\0")
    shapes = [(dataset.name, _shape(dataset)) for dataset in tenant.datasets]
    constants = (tenant.currency, tenant.week_start, tenant.begins_on, tenant.sees_whole_market)
    digest.update(repr((shapes, constants)).encode())
    return digest.hexdigest()[:32]


def _shape(dataset: Dataset) -> list[tuple[str, str]]:
    return [(name, kind) for name, kind, _ in dataset.postgres_columns]


def _mart(value: dict[str, Any]) -> Mart:
    return Mart(value["name"], tuple(value["key"]), value["day"], value["description"], value["columns"], value.get("closes", False))
