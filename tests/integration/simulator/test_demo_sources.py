"""The demo's sources, read by the stations of the night: what is true in the world stands in silver, and the counts are those told."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx
import pyarrow as pa
import pytest
import uvicorn

from nocturne.bronze import load_bronze
from nocturne.datasets import DATASETS, Personal
from nocturne.lake import duck, table
from nocturne.landing import land
from nocturne.landing.connections import Connection
from nocturne.ledger import Mark, MemoryMarks
from nocturne.settings import PROJECT, Settings
from nocturne.silver import refine_silver
from nocturne.simulator import World, WorldParameters, demo_worlds, write_sources
from nocturne.simulator.columns import plain
from nocturne.simulator.server import create_app, token
from nocturne.tenants import Tenant, load_tenants
from tests.conftest import free_ports

ROLL = load_tenants(PROJECT / "dags" / "tenants")
DAYS = 9


def shortened(parameters: WorldParameters) -> WorldParameters:
    """Its first days with fewer people and more damage: what is planted later is left out."""
    values = parameters.model_dump() | {"days": DAYS, "listeners": 260, "tracks": 300, "artists": 60, "events": {}}
    damage = {"late": 0.1, "repeated": 0.03, "corrected": 0.02, "broken": 0.03}
    return WorldParameters.model_validate(values | {"damage": damage})


@pytest.fixture(scope="module")
def api(session_settings: Settings) -> Iterator[str]:
    """The demo's REST API for the shortened worlds; its address."""
    (port,) = free_ports(1)
    worlds = {slug: shortened(parameters) for slug, parameters in demo_worlds().items()}
    app = create_app(session_settings, worlds, page_rows=150)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def refined(tenant: Tenant, world: World, settings: Settings, api: str) -> MemoryMarks:
    """The marks of a night over everything that the world delivered."""
    marks = MemoryMarks()
    day = world.parameters.last_day
    connection = Connection.from_uri(f"{api}/{tenant.slug}".replace("//", f"//:{token(settings, tenant.slug)}@"))
    land(tenant, day, settings, marks, lambda _: connection)
    load_bronze(tenant, day, settings, marks)
    for dataset in tenant.datasets:
        passed = {part: Mark(mark.fingerprint, {"passed": True}) for part, mark in marks.marks(tenant, "bronze", dataset.name).items()}
        marks.mark(tenant, "gate_bronze", dataset.name, passed)
    refine_silver(tenant, day, settings, marks)
    return marks


def comparable(value: Any) -> Any:
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    return round(value, 6) if isinstance(value, (float, Decimal)) else value


def mapped(tenant: Tenant, dataset: str) -> list[str]:
    """The columns of a dataset that its sources deliver and silver keeps."""
    (source,) = tenant.sources_of(dataset)
    columns = DATASETS[dataset].columns
    return [c.name for c in columns if (not source.map or c.name in source.map) and c.personal is not Personal.DIRECT]


def true_rows(world: World, secret: bytes, dataset: str, columns: list[str]) -> list[tuple[Any, ...]]:
    """What silver must hold: the truth, with the corrections of plays, and people by their keys."""
    rows = world.table(dataset).to_pylist()
    if dataset == "plays":
        corrected: dict[str, int] = {}
        for day in range(DAYS - 1):
            _, again = world.sent_again(day)
            corrected |= dict(zip(world.play_ids(again), again.ms_played.tolist(), strict=True))
        for row in rows:
            row["ms_played"] = corrected.get(row["play_id"], row["ms_played"])
    for row in rows:
        if row.get("listener_id") is not None:
            row["listener_id"] = hmac.new(secret, row["listener_id"].encode(), hashlib.sha256).hexdigest()
    return sorted((tuple(comparable(row[name]) for name in columns) for row in rows), key=repr)


@pytest.mark.parametrize("slug", sorted(demo_worlds()))
def test_silver_holds_what_is_true_and_quarantine_what_was_broken(slug: str, settings: Settings, api: str) -> None:
    tenant, world = ROLL.get(slug), World(shortened(demo_worlds()[slug]))
    secret = settings.derive("listener", slug)
    write_sources(tenant, world, settings.sources_root)
    marks = refined(tenant, world, settings, api)
    with duck(settings) as connection:
        for dataset in tenant.datasets:
            columns = mapped(tenant, dataset.name)
            names = [dataset.by_name[name].silver_name or name for name in columns]
            query = f"SELECT {', '.join(names)} FROM {table(settings, tenant, 'silver', dataset.name).scan()}"
            silver = connection.execute(query).fetchall()
            told = sorted((tuple(comparable(value) for value in row) for row in silver), key=repr)
            assert told == true_rows(world, secret, dataset.name, columns), dataset.name
    quarantined = sum(mark.facts["quarantined"] for mark in marks.marks(tenant, "quarantine", "plays").values())
    duplicates = sum(mark.facts["duplicates"] for mark in marks.marks(tenant, "silver", "plays").values())
    counts = [delivery.counts for _, delivery in world.deliveries("plays")]
    assert duplicates == sum(of_day["repeated"] + of_day["corrected"] for of_day in counts)
    assert quarantined == sum(len(delivery) - len(delivery.rows) for _, delivery in world.deliveries("plays")) > 0


def test_the_api_serves_pages_of_what_is_delivered(api: str, settings: Settings) -> None:
    slug = next(tenant.slug for tenant in ROLL.tenants.values() if any(source.kind == "api" for source in tenant.sources))
    world = World(shortened(demo_worlds()[slug]))
    with httpx.Client(base_url=api, headers={"Authorization": f"Bearer {token(settings, slug)}"}, trust_env=False) as client:
        following: str | None = f"/{slug}/plays?day={world.days[4]}"
        rows: list[dict[str, Any]] = []
        while following:
            page = client.get(following).json()
            rows, following = rows + page["records"], page["next"]
    delivery = world.delivered("plays", world.days[4])
    whole = plain("plays", delivery.rows)
    assert len(rows) == len(delivery)
    assert [row["play_id"] for row in rows[: len(whole)]] == whole["play_id"].to_pylist()
    assert pa.array([row["ms_played"] for row in rows[: len(whole)]]).equals(whole["ms_played"].combine_chunks())
