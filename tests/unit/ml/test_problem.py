"""The frame: what each problem of the catalogue must bring, and what examples remember."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ml.problem import Examples, Metric, Rows, TooLittle, catalogue, problem, problems_of
from nocturne.datasets import DATASETS
from nocturne.tenants import LIMITS, Tenant


def tenant(tier: str, *datasets: str) -> Tenant:
    sources = [{"name": name, "dataset": name, "kind": "files", "location": f"{name}.ndjson"} for name in datasets]
    return Tenant.model_validate(
        {
            "slug": "alpha",
            "name": "Alpha",
            "tier": tier,
            "time_zone": "UTC",
            "currency": "EUR",
            "begins_on": date(2026, 1, 1),
            "sources": sources,
        }
    )


def examples() -> Examples:
    return Examples(
        features=("a", "b"),
        x=np.array([[1.0, np.nan], [2.0, 3.0]], dtype=np.float32),
        y=np.array([0.0, 1.0]),
        moments=np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[D]"),
        groups=np.array([5, 6]),
        segments=np.array(["FR", "DE"]),
        more={"as_of": np.array(["2026-01-01", "2026-01-01"], dtype="datetime64[D]")},
    )


@pytest.mark.parametrize("name", catalogue())
def test_a_problem_fits_its_own_declarations(name: str) -> None:
    one = problem(name)
    columns = [column for column, _ in one.table.columns]
    assert set(one.needs) <= set(DATASETS)
    assert set(one.watched) <= set(one.features)
    assert {one.table.day, *one.table.key, "model_version"} <= set(columns)
    assert len(set(one.features)) == len(one.features)
    assert all(parameter.low <= parameter.default <= parameter.high for parameter in one.space)
    assert list(one.defaults) == [parameter.name for parameter in one.space]
    assert len(one.code) == 32


def test_tiers_give_problems_of_the_catalogue() -> None:
    given = set().union(*(limits.problems for limits in LIMITS.values()))
    assert given == set(catalogue())


def test_a_tenant_has_the_problems_of_its_tier_and_its_datasets() -> None:
    def names(one: Tenant) -> list[str]:
        return [found.name for found in problems_of(one)]

    assert names(tenant("pro", "plays", "subscription_events", "tracks")) == ["churn", "forecast", "genre"]
    assert names(tenant("pro", "plays", "tracks")) == ["forecast", "genre"]
    assert names(tenant("free", "plays", "subscription_events", "tracks")) == ["forecast"]
    assert names(tenant("pro", "statements")) == []


def test_a_metric_knows_its_better_side() -> None:
    loss, score = Metric("loss", False, ""), Metric("score", True, "")
    assert loss.is_better(1.0, 2.0) and not loss.is_better(2.0, 2.0)
    assert score.is_better(2.0, 1.0) and not score.is_better(1.0, 1.0)
    assert loss.worsening(1.1, 1.0) == pytest.approx(0.1)
    assert score.worsening(0.9, 1.0) == pytest.approx(0.1)
    assert score.worsening(1.1, 1.0) == pytest.approx(-0.1)


def test_a_file_gives_the_same_examples_back(tmp_path: Path) -> None:
    examples().save(tmp_path / "examples.npz")
    again = Examples.load(tmp_path / "examples.npz")
    assert again.fingerprint == examples().fingerprint
    assert again.features == ("a", "b")
    assert again.more["as_of"].dtype == np.dtype("datetime64[D]")


def test_every_value_is_in_the_fingerprint() -> None:
    one = examples()
    others = [
        replace(one, features=("a", "c")),
        replace(one, x=one.x + 1),
        replace(one, y=one.y[::-1].copy()),
        replace(one, moments=one.moments + 1),
        replace(one, groups=one.groups + 1),
        replace(one, segments=np.array(["FR", "FR"])),
        replace(one, more={"as_of": one.more["as_of"] + 1}),
    ]
    assert len({other.fingerprint for other in (one, *others)}) == 8


def test_rows_are_given_in_the_order_that_a_champion_reads() -> None:
    rows = Rows(("a", "b"), np.array([[1.0, 2.0]]), {})
    assert rows.select(("b",)).tolist() == [[2.0]]
    with pytest.raises(TooLittle, match="reads c"):
        rows.select(("a", "c"))
