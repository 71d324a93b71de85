"""What marts look like, as dbt's YAML describes them: columns, key, and the column by which they stand in time.

Nothing is declared twice: a new mart is known here once it is described there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from nocturne.errors import SettingsError


class Step(StrEnum):
    """A length of time by which numbers are grouped."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"

    def holds(self, other: Step) -> bool:
        """Whether every `other` lies within one of these: weeks lie in no month."""
        if self is other or other is Step.DAY:
            return True
        order = list(Step)
        return Step.WEEK not in (self, other) and order.index(other) < order.index(self)


_STEP_OF_NAME = {"_weeks": Step.WEEK, "_months": Step.MONTH}


@dataclass(frozen=True)
class Shape:
    """A mart: `time` is the date column by which it is asked (None: it says what is so now), `key` its grain."""

    name: str
    domain: str
    description: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    time: str | None
    file: str

    @cached_property
    def step(self) -> Step:
        """How long one row lasts, by the mart's name: `..._weeks`, `..._months`, else a day."""
        return next((step for ending, step in _STEP_OF_NAME.items() if self.name.endswith(ending)), Step.DAY)


def load_shapes(project: Path) -> dict[str, Shape]:
    """Every mart that dbt's project describes, by name. Raises SettingsError for a mart without a grain."""
    found: dict[str, Shape] = {}
    for path in sorted((project / "models" / "marts").rglob("*.yml")):
        document = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader) or {}
        for model in document.get("models", ()):
            shape = _shape(model, path, project)
            found[shape.name] = shape
    return found


def _shape(model: Mapping[str, Any], path: Path, project: Path) -> Shape:
    file = path.relative_to(project.parent).as_posix()
    tests = (test["grain"]["arguments"] for test in model.get("data_tests", ()) if isinstance(test, dict) and "grain" in test)
    grain = next(tests, None)
    if grain is None:
        raise SettingsError(f"{file}: the mart {model['name']} has no test of its grain.", next_step="Give it one: its key is read there.")
    key = tuple(grain["key"])
    dates = [column for column in key if column.endswith("_on")]
    time = grain.get("day") or (dates[0] if len(dates) == 1 else None)
    columns = {column["name"]: " ".join(str(column["description"]).split()) for column in model["columns"]}
    return Shape(model["name"], path.parent.name, " ".join(model["description"].split()), columns, key, time, file)
