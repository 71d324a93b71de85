"""Tenants with marts, for the tests of models."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nocturne.settings import Settings
from nocturne.tenants import Tenant
from tests.integration.ml.world import Marts, generate, make_tenant


@pytest.fixture(scope="session")
def world() -> Marts:
    """One generated world for the session; tests that change it copy what they change."""
    return generate()


@pytest.fixture
def place(provisioned: Callable[[Tenant], Tenant], database: Settings) -> Callable[..., Tenant]:
    """Makes a tenant and writes marts for it."""

    def make(slug: str, marts: Marts, *datasets: str, tier: str = "pro") -> Tenant:
        tenant = provisioned(
            make_tenant(slug, *(datasets or ("plays", "subscription_events", "tracks", "payments", "listeners")), tier=tier)
        )
        marts.write(tenant, database)
        return tenant

    return make
