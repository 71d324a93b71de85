"""What models are for: in a world of some size, behaviour foretells churn, and the decisions follow the probabilities that are told."""

from __future__ import annotations

import numpy as np
import pytest

from nocturne.simulator import World, small_world
from nocturne.simulator.answers import churn_oracle


@pytest.fixture(scope="module")
def world() -> World:
    return small_world(seed=21, days=110, listeners=2_400, tracks=400, sessions_a_day=0.4, damage={"broken": 0})


def test_decisions_follow_their_probabilities(world: World) -> None:
    cancels, p = world.lives.decisions["cancels"], world.lives.cancel_probability
    assert cancels.mean() == pytest.approx(p.mean(), abs=3 * np.sqrt((p * (1 - p)).mean() / len(p)))
    for low, high in ((0, 0.05), (0.05, 0.2), (0.2, 1)):
        of_bin = (low <= p) & (p < high)
        assert of_bin.sum() > 100
        assert cancels[of_bin].mean() == pytest.approx(p[of_bin].mean(), abs=4 * np.sqrt(p[of_bin].mean() / of_bin.sum()))


def test_trials_follow_theirs(world: World) -> None:
    converts, p = world.lives.conversions["converts"], world.lives.convert_probability
    assert converts.mean() == pytest.approx(p.mean(), abs=4 * np.sqrt((p * (1 - p)).mean() / len(p)))


def test_what_can_be_observed_foretells_who_leaves(world: World) -> None:
    p, left = (np.concatenate(parts) for parts in zip(*(_known(world, day) for day in (34, 41, 48)), strict=True))
    rate = left.mean()
    loss = -np.log(np.where(left, p, 1 - p)).mean()
    guessed = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    assert left.sum() > 80
    assert loss < 0.95 * guessed
    assert p[left].mean() > 1.8 * p[~left].mean()


def _known(world: World, day: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    oracle = churn_oracle(world, world.days[day])
    return oracle.probability[oracle.known], oracle.left[oracle.known]
