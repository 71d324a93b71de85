"""The demo's REST API: pages, tokens, refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from nocturne.settings import Settings
from nocturne.simulator import World, small_world
from nocturne.simulator.columns import plain
from nocturne.simulator.server import create_app, token

TENANT = """
name: Shop
time_zone: Europe/Paris
currency: EUR
begins_on: 2026-03-01
sources:
  - name: payments
    dataset: payments
    kind: api
    connection: demo
    location: payments?day={day}
    records: rows
    paging: {kind: next_url, field: more}
    columns: {cents: bigint}
    map: {payment_id: id, paid_at: at, listener_id: who, status: upper(state), amount: cents / 100, currency: "'EUR'"}
"""


@pytest.fixture(scope="module")
def world() -> World:
    return small_world(seed=3, days=20, listeners=300)


@pytest.fixture
def app(settings: Settings, world: World) -> FastAPI:
    tenants = settings.var / "tenants"
    tenants.mkdir()
    for slug in ("shop", "stall"):
        (tenants / f"{slug}.yml").write_text(TENANT)
    return create_app(
        settings.model_copy(update={"tenants": tenants}), {"shop": world.parameters, "absent": world.parameters}, page_rows=100
    )


def get(app: FastAPI, path: str, authorization: str = "") -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://demo") as client:
            return await client.get(path, headers={"Authorization": authorization.encode("latin-1")} if authorization else {})

    return asyncio.run(ask())


def pages(app: FastAPI, path: str, bearer: str, field: str = "next") -> list[dict[str, Any]]:
    found = []
    following: str | None = path
    while following:
        answer = get(app, following, bearer)
        assert answer.status_code == 200
        found.append(answer.json())
        following = found[-1][field]
    return found


def test_health_names_the_tenants_without_a_token(app: FastAPI) -> None:
    answer = get(app, "/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "tenants": ["shop"]})


def test_pages_hold_the_days_delivery_in_the_sources_columns(app: FastAPI, settings: Settings, world: World) -> None:
    bearer = f"Bearer {token(settings, 'shop')}"
    for on in world.days[:3]:
        told = [row for page in pages(app, f"/shop/payments?day={on}", bearer, "more") for row in page["rows"]]
        true = plain("payments", world.delivered("payments", on).rows).to_pylist()
        assert [(row["id"], row["who"], row["state"], row["cents"]) for row in told] == [
            (row["payment_id"], row["listener_id"], row["status"].lower(), round(row["amount"] * 100)) for row in true
        ]
        assert all(row["at"].endswith("Z") for row in told)


def test_many_rows_come_in_pages(app: FastAPI, settings: Settings, world: World) -> None:
    told = pages(app, "/shop/tracks", f"Bearer {token(settings, 'shop')}")
    assert [len(page["records"]) for page in told[:-1]] == [100] * (len(told) - 1) and len(told) == 3
    assert told[0]["next"] == "/shop/tracks?page=2"
    rows = [row for page in told for row in page["records"]]
    assert [row["track_id"] for row in rows] == world.reference("tracks", world.days[-1])["track_id"].to_pylist()
    early = pages(app, f"/shop/tracks?day={world.days[0]}", f"Bearer {token(settings, 'shop')}")
    assert len([row for page in early for row in page["records"]]) == len(world.reference("tracks", world.days[0])) < len(rows)
    assert early[0]["next"] == f"/shop/tracks?day={world.days[0]}&page=2"


def test_a_day_outside_of_the_world_is_an_empty_page(app: FastAPI, settings: Settings) -> None:
    answer = get(app, "/shop/payments?day=2031-01-01", f"Bearer {token(settings, 'shop')}")
    assert (answer.status_code, answer.json()) == (200, {"rows": [], "more": None})


@pytest.mark.parametrize("path", ["/shop/payments?day=2026-03-02", "/shop/tracks", "/shop/nonsense", "/nobody/tracks", "/stall/tracks"])
@pytest.mark.parametrize("authorization", ["", "Bearer ", "Bearer wrong", "Basic eDp5", "Bearer \xff"])
def test_nothing_is_told_without_the_tenants_token(app: FastAPI, path: str, authorization: str) -> None:
    answer = get(app, path, authorization)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_one_tenants_token_opens_no_other_tenant(app: FastAPI, settings: Settings) -> None:
    assert get(app, "/shop/tracks", f"Bearer {token(settings, 'stall')}").status_code == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/shop/payments", 400),
        ("/shop/payments?day=yesterday", 422),
        ("/shop/tracks?page=0", 422),
        ("/shop/nonsense", 404),
        ("/shop/predicted_genres?day=2026-03-02", 404),
    ],
)
def test_a_wrong_question_is_refused(app: FastAPI, settings: Settings, path: str, status: int) -> None:
    assert get(app, path, f"Bearer {token(settings, 'shop')}").status_code == status


def test_a_tenant_without_a_world_is_not_served(app: FastAPI, settings: Settings) -> None:
    assert get(app, "/stall/tracks", f"Bearer {token(settings, 'stall')}").status_code == 404
