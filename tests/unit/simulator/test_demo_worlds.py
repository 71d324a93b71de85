"""The demo: three tenants whose files and worlds belong together, of the size that the demo wants."""

from __future__ import annotations

import pytest

from nocturne.datasets import DATASETS
from nocturne.settings import PROJECT
from nocturne.simulator import World, WorldParameters, demo_worlds
from nocturne.simulator.foreign import foreign
from nocturne.tenants import Tenant, load_tenants

ROLL = load_tenants(PROJECT / "dags" / "tenants")
DEMO = [(ROLL.tenants[slug], parameters) for slug, parameters in demo_worlds().items()]


def test_every_demo_world_has_its_tenant() -> None:
    assert not ROLL.broken
    assert len(DEMO) == 3
    assert len({tenant.tier for tenant, _ in DEMO}) > 1
    assert len({tenant.currency for tenant, _ in DEMO}) == len({parameters.seed for _, parameters in DEMO}) == 3


@pytest.mark.parametrize(("tenant", "parameters"), DEMO, ids=lambda value: getattr(value, "slug", ""))
def test_tenant_and_world_agree(tenant: Tenant, parameters: WorldParameters) -> None:
    assert {zone.value for zone in tenant.time_zone} == {parameters.time_zone}
    assert (tenant.currency, tenant.begins_on) == (parameters.currency, parameters.begins_on)
    assert (parameters.days, parameters.last_day.isoformat()) == (120, "2026-06-28")
    world = World(parameters)
    for source in tenant.sources:
        assert source.dataset in world.datasets
        assert foreign(tenant, source).fields
    for plays in tenant.sources_of("plays"):
        assert plays.required


@pytest.mark.parametrize(("tenant", "parameters"), DEMO, ids=lambda value: getattr(value, "slug", ""))
def test_the_world_is_large_enough_to_learn_from_and_small_enough_for_a_demo(tenant: Tenant, parameters: WorldParameters) -> None:
    world = World(parameters.model_copy(update={"has_subscriptions": False}))
    plays = sum(world.expected_plays(day) for day in range(0, parameters.days, 10)) * 10
    assert 100_000 < plays < 900_000
    assert parameters.tracks >= 600 and 0.05 < parameters.unlabelled < 0.2


def test_between_them_they_deliver_every_dataset_that_is_not_a_models() -> None:
    delivered = {dataset.name for tenant, _ in DEMO for dataset in tenant.datasets}
    assert set(DATASETS) - delivered == {"predicted_genres", "artificial_streams"}


def test_a_tenant_without_subscriptions_asks_for_none() -> None:
    without = [tenant for tenant, parameters in DEMO if not parameters.has_subscriptions]
    assert without
    assert not any(tenant.has(dataset) for tenant in without for dataset in ("subscription_events", "payments", "plans"))
