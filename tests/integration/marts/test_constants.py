"""Every constant in the SQL of a whole build is a definition: change one, and the handmade world shows it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import pytest

from nocturne.errors import BuildFailed
from nocturne.marts.building import CI_ONLY, run_dbt
from nocturne.settings import PROJECT
from nocturne.tenants import Tenant
from tests.integration.marts import reference_audience
from tests.integration.marts.randomness import Randomness, random_world
from tests.integration.marts.reference import Marts, Table, differences, expected
from tests.integration.marts.test_definitions import RULES, fill
from tests.integration.marts.world import World, make_tenant

A_SUNDAY = date(2026, 5, 3)
"""The business day: the week that ends with it is just over."""
MODELS = PROJECT / "dbt" / "models"
_ONLY_BY_NIGHT = re.compile(r"int_affected|int_changed|int_window")
_NO_CONSTANT = re.compile(
    r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|--[^\n]*|numeric\(\d+, \d+\)|\)\)?\[1\]|\b1 preceding|\(\s*select 1"
    # which days a night must look at, and a tolerance for shares that are no finite decimals: no definitions
    r"|generate_series\(asked[^)]*\)|month_on \+ interval '1 month'|0\.0000005",
    re.DOTALL,
)
_TEXT = "'(?:gte|gt|ZZ|WW|trial_started|track_done)'"


def constants() -> Iterator[tuple[Path, int, int]]:
    """(file, start, end) of every number, and of the words that rules turn on, in models that a whole build makes."""
    for path in sorted((*(MODELS / "intermediate").rglob("*.sql"), *(MODELS / "marts").rglob("*.sql"))):
        if _ONLY_BY_NIGHT.search(path.stem):
            continue
        text = _NO_CONSTANT.sub(lambda found: " " * len(found.group()), path.read_text())
        for found in re.finditer(rf"(?<![\w.'])\d+(?:\.\d+)?(?![\w])|(?<=interval ')\d+|{_TEXT}", text):
            if found.group() not in {"0", "0.0"}:
                yield path, found.start(), found.end()


def other(constant: str) -> str:
    """A constant that is near, but not the same."""
    if constant.startswith("'"):
        return "'another'"
    return str(float(constant) * 1.5) if "." in constant else str(int(constant) + 1)


def named(place: tuple[Path, int, int]) -> str:
    path, start, end = place
    text = path.read_text()
    return f"{path.stem}:{text[:start].count(chr(10)) + 1}:{text[start:end]}"


@pytest.fixture(scope="module")
def world(new_world: Callable[[Tenant], World]) -> World:
    made = new_world(make_tenant("constants", begins_on=date(2025, 10, 1), sees_whole_market=True, rules=RULES))
    fill(made, A_SUNDAY)
    random_world(made, 11, date(2026, 1, 1), date(2026, 2, 20), plays=150)
    crowd = Randomness(29, listeners=30)
    for dataset, rows in crowd.listening(made.tenant, date(2026, 3, 1), A_SUNDAY, 400).items():
        made.add(dataset, *rows)
    made.night(A_SUNDAY)
    return made


@pytest.fixture(scope="module")
def wanted(world: World) -> dict[str, Table]:
    found = expected(world, A_SUNDAY)
    assert differences(world, A_SUNDAY, world.tenant.build_schema, by=found) == []
    return found


@contextmanager
def altered(world: World, path: Path, text: str, folder: Path) -> Iterator[None]:
    """The world's marts, built by a project in which one model is another, as long as the block runs: that model and what reads it.

    Raises BuildFailed if they cannot be built.
    """
    project = folder / "dbt"
    shutil.copytree(PROJECT / "dbt", project)
    (project / path.relative_to(PROJECT / "dbt")).write_text(text)
    build = ("build", "--full-refresh", "--exclude", CI_ONLY, "--select", f"{path.stem}+")
    try:
        run_dbt(world.tenant, world.settings.model_copy(update={"project": folder}), *build)
        yield
    finally:
        try:
            run_dbt(world.tenant, world.settings, *build)
        except BuildFailed as error:
            raise AssertionError("the world is not what it was") from error


@pytest.mark.slow
@pytest.mark.parametrize("place", list(constants()), ids=named)
def test_a_changed_constant_shows(world: World, wanted: dict[str, Table], place: tuple[Path, int, int], tmp_path: Path) -> None:
    path, start, end = place
    text = path.read_text()
    with suppress(BuildFailed), altered(world, path, text[:start] + other(text[start:end]) + text[end:], tmp_path):
        assert differences(world, A_SUNDAY, world.tenant.build_schema, by=wanted) != []


@pytest.mark.slow
def test_of_more_listeners_than_the_bound_the_first_by_key_are_counted(world: World, wanted: dict[str, Table], tmp_path: Path) -> None:
    path, marts = MODELS / "marts" / "artists" / "artist_pairs.sql", Marts(world, A_SUNDAY)
    marts.all()
    few = {"artist_pairs": reference_audience.pairs(marts, most_listeners=20)}
    with altered(world, path, path.read_text().replace("most_listeners = 5000", "most_listeners = 20"), tmp_path):
        assert differences(world, A_SUNDAY, world.tenant.build_schema, by=few) == []
    assert few["artist_pairs"] != wanted["artist_pairs"]
