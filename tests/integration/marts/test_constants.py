"""Every constant in the SQL of a whole build is a definition: change one, and the handmade world shows it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from nocturne.errors import BuildFailed
from nocturne.settings import PROJECT
from nocturne.tenants import Tenant
from tests.integration.marts import reference_audience
from tests.integration.marts.randomness import Randomness, random_world
from tests.integration.marts.reference import Marts, actual, differences
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
    crowd = Randomness(12, listeners=30)
    for dataset, rows in crowd.listening(made.tenant, date(2026, 3, 1), A_SUNDAY, 300).items():
        made.add(dataset, *rows)
    made.night(A_SUNDAY)
    assert differences(made, A_SUNDAY) == []
    return made


def altered(world: World, path: Path, text: str, folder: Path) -> World:
    """The same world, its marts built by a project of which one file is another."""
    project = folder / "dbt"
    shutil.copytree(PROJECT / "dbt", project)
    (project / path.relative_to(PROJECT / "dbt")).write_text(text)
    mutant = World(world.tenant, world.settings.model_copy(update={"project": folder}), world.rows)
    mutant.build(A_SUNDAY)
    return mutant


@pytest.mark.slow
@pytest.mark.parametrize("place", list(constants()), ids=named)
def test_a_changed_constant_shows(world: World, place: tuple[Path, int, int], tmp_path: Path) -> None:
    path, start, end = place
    text = path.read_text()
    try:
        mutant = altered(world, path, text[:start] + other(text[start:end]) + text[end:], tmp_path)
    except BuildFailed:
        return
    assert differences(mutant, A_SUNDAY, mutant.tenant.build_schema) != []


@pytest.mark.slow
def test_of_more_listeners_than_the_bound_the_first_by_key_are_counted(world: World, tmp_path: Path) -> None:
    path = MODELS / "marts" / "artists" / "artist_pairs.sql"
    few = altered(world, path, path.read_text().replace("most_listeners = 5000", "most_listeners = 20"), tmp_path)
    marts = Marts(world, A_SUNDAY)
    everybody = marts.all()["artist_pairs"]
    wanted = reference_audience.pairs(marts, most_listeners=20)
    columns = next(iter(wanted.values())).keys()
    given = actual(few, "artist_pairs", few.tenant.build_schema)
    found = {key: {column: row[column] for column in columns} for key, row in given.items()}
    assert found == {key: row | {"lift": pytest.approx(row["lift"])} for key, row in wanted.items()}
    assert wanted != everybody
