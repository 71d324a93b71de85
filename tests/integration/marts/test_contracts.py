"""The marts are what they promise: columns, types and grain, by version; a change that breaks readers is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import yaml

from nocturne.errors import SettingsError
from nocturne.marts.contracts import Contract, broken, built_contracts, differences, load_contracts, write_contracts
from nocturne.postgres import connect, statement
from nocturne.settings import PROJECT
from nocturne.tenants import Tenant
from tests.integration.marts.world import World, make_tenant

DAY = date(2026, 1, 3)
PROMISED = PROJECT / "dbt" / "contracts" / "marts.yml"
WAS = Contract("days", 1, ("day_on",), {"day_on": "date", "amount": "numeric(24,6)"})


@pytest.fixture(scope="module")
def world(new_world: Callable[[Tenant], World]) -> World:
    """A tenant that delivers all there is: it has every mart."""
    made = new_world(make_tenant("promising"))
    made.load(DAY)
    made.build(DAY)
    return made


def test_every_mart_is_what_it_promises(world: World) -> None:
    """With WRITE_CONTRACTS (`make contracts`) the promises are brought to what is new; what breaks readers is refused either way."""
    if os.environ.get("WRITE_CONTRACTS"):
        write_contracts(world.tenant, world.settings)
    promised, now = load_contracts(PROMISED), built_contracts(world.tenant, world.settings)
    assert broken(promised, now) == [], "raise the mart's version beside its description, then `make contracts`"
    assert promised == now, "`make contracts` writes what is new"


def test_every_step_has_the_columns_that_are_told_of_it(world: World) -> None:
    told = {
        model["name"]: [column["name"] for column in model["columns"]]
        for path in (PROJECT / "dbt" / "models" / "intermediate").rglob("*.yml")
        for model in yaml.safe_load(path.read_text())["models"]
    }
    query = (
        "SELECT relname, array_agg(attname::text ORDER BY attnum) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
        " WHERE relnamespace = to_regnamespace(%s) AND relname LIKE %s AND relkind IN ('r', 'v') AND attnum > 0 AND NOT attisdropped"
        " GROUP BY relname"
    )
    with connect(world.settings, role=world.tenant.owner_role) as connection:
        built = dict(connection.execute(query, (world.tenant.build_schema, r"int\_%")).fetchall())
    assert built == told


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (replace(WAS, columns={"day_on": "date"}), "days.amount is gone"),
        (replace(WAS, columns={**WAS.columns, "amount": "double precision"}), "days.amount was numeric(24,6) and is double precision"),
        (replace(WAS, grain=("day_on", "amount")), "days: its grain was day_on and is day_on, amount"),
    ],
)
def test_what_breaks_readers_needs_a_new_version(now: Contract, says: str) -> None:
    assert broken({"days": WAS}, {"days": now}) == [says]
    assert broken({"days": WAS}, {"days": replace(now, version=2)}) == []


def test_what_only_adds_breaks_nobody() -> None:
    more = replace(WAS, columns={**WAS.columns, "play_count": "bigint"})
    assert broken({"days": WAS}, {"days": more, "weeks": replace(WAS, mart="weeks")}) == []
    assert [change.text for change in differences(WAS, more)] == ["days.play_count is new"]


def test_a_breaking_change_is_not_written_over_a_promise(world: World, tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "dbt", tmp_path / "dbt")
    settings = world.settings.model_copy(update={"project": tmp_path})
    before = (tmp_path / "dbt" / "contracts" / "marts.yml").read_text()
    assert write_contracts(world.tenant, settings) == []
    assert (tmp_path / "dbt" / "contracts" / "marts.yml").read_text() == before
    table = f"{world.tenant.build_schema}.revenue_days"
    with connect(world.settings, role=world.tenant.owner_role) as connection:
        connection.execute(statement(f"ALTER TABLE {table} ALTER COLUMN net_amount TYPE double precision, ADD COLUMN tip_amount numeric"))
    with pytest.raises(SettingsError, match=r"revenue_days.net_amount was numeric\(24,6\) and is double precision"):
        write_contracts(world.tenant, settings)
    assert (tmp_path / "dbt" / "contracts" / "marts.yml").read_text() == before
    path = tmp_path / "dbt" / "models" / "marts" / "revenue" / "revenue.yml"
    path.write_text(path.read_text().replace("- name: revenue_days\n", "- name: revenue_days\n    config: {meta: {version: 2}}\n"))
    told = write_contracts(world.tenant, settings)
    assert told == ["revenue_days.net_amount was numeric(24,6) and is double precision", "revenue_days.tip_amount is new"]
    assert load_contracts(tmp_path / "dbt" / "contracts" / "marts.yml")["revenue_days"].version == 2
