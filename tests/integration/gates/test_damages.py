"""Every kind of damage to a delivery that the benchmark `mutation` knows, in a world small enough for every day."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import throwaway_installation
from benchmarks.damages import KINDS, Kind, Trial
from benchmarks.mutation import FOREIGN, tenant_of
from nocturne.simulator import World, WorldParameters

DAYS = 32


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    shape = {"seed": 11, "days": DAYS, "listeners": 2_500, "existing": 0.9}
    world, foreign = World(WorldParameters.model_validate(shape)), World(WorldParameters.model_validate({**FOREIGN, "days": DAYS}))
    with throwaway_installation() as settings:
        yield Trial(tenant_of(world), world, foreign, settings, builds=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_must_stop_stops_and_what_may_be_right_is_told(trial: Trial, kind: Kind) -> None:
    tried = trial.rows(kind)
    assert tried.is_met, f"{kind.name} demands {kind.demands}, and was {tried.outcome}"


@pytest.mark.slow
def test_a_day_that_was_mended_passes_as_before(trial: Trial) -> None:
    trial.rows(KINDS[0])
    assert set(trial.land()) <= set(trial.usual)
