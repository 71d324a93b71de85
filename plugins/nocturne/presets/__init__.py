"""Presets: what is known of the formats that music services, distributors and chart makers deliver in, one YAML file each.

A tenant's source that says `preset: <name>` is expanded when its file is loaded: everything after the loading sees plain sources, one for
each dataset that the preset fills from the delivery. What the tenant says beside the preset wins, or narrows it:

    map, estimate             entry by entry, in every part whose dataset has the column
    columns, aliases          entry by entry, in every part
    where                     beside the preset's own condition: a row is taken if both hold
    only                      the datasets to fill; without it all
    anything else             instead of the preset's
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from nocturne.datasets import DATASETS

_FOLDER = Path(__file__).parent
_BY_ENTRY = ("map", "estimate")
_OF_DELIVERY = ("columns", "aliases")


class Preset(BaseModel):
    """One preset, as its file declares it.

    `parts`: of each dataset that it fills, what a tenant's source would say (format, columns, aliases, map, where, estimate, records).
    `needs`: our columns that no delivery of this kind tells, so that the tenant's `map` must, and what they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    reads: str = Field(description="The delivery: its files, and who makes them.")
    notes: str = Field("", description="What has no home in our datasets, what is estimated, what to know before use.")
    example: str = Field(description="The lines of a tenant's file.")
    needs: Mapping[str, str] = Field(default_factory=dict)
    parts: Mapping[str, Mapping[str, Any]] = Field(min_length=1)


class PresetError(ValueError):
    """A source that names a preset in a way that cannot be expanded."""


def names() -> tuple[str, ...]:
    """The names of all presets."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yml")))


@cache
def preset(name: str) -> Preset:
    """The preset `name`. Raises PresetError if there is none."""
    if name not in names():
        raise PresetError(f"there is no preset {name!r}; there are {', '.join(names())}")
    return Preset.model_validate(yaml.load((_FOLDER / f"{name}.yml").read_text(encoding="utf-8"), yaml.CSafeLoader))


def expanded(sources: Any) -> tuple[list[Any], list[int]]:
    """The sources with each preset in full, and of each the place of the entry that it came from.

    What cannot be expanded stays as it is: the model refuses it with `why_not`, at its place.
    """
    found = [(source, place) for place, entry in enumerate(sources) for source in _sources(entry)]
    return [source for source, _ in found], [place for _, place in found]


def why_not(source: Mapping[str, Any]) -> str:
    """Why this source's preset was not expanded."""
    try:
        list(_expand(source))
    except PresetError as error:
        return str(error)
    raise AssertionError("a source that can be expanded is expanded before it is checked")


def _sources(entry: Any) -> list[Any]:
    if not isinstance(entry, dict) or "preset" not in entry:
        return [entry]
    try:
        return list(_expand(entry))
    except PresetError:
        return [entry]


def _expand(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    chosen = preset(str(entry["preset"]))
    given = {key: value for key, value in entry.items() if key not in {"preset", "only"}}
    if "dataset" in given:
        raise PresetError("a preset says itself which datasets it fills; choose among them with `only`")
    _check(given, chosen)
    for dataset in _datasets(entry, chosen):
        name = entry.get("name")
        named = {"name": name if len(chosen.parts) == 1 else f"{name}_{dataset}"} if name else {}
        yield {**_merged(dataset, chosen.parts[dataset], given), **named}


def _datasets(entry: Mapping[str, Any], chosen: Preset) -> list[str]:
    only = entry.get("only", list(chosen.parts))
    unknown = [dataset for dataset in only if str(dataset) not in chosen.parts] if isinstance(only, list) else [only]
    if unknown or not only:
        raise PresetError(f"`only` is a list of the datasets that preset {entry['preset']} fills: {', '.join(chosen.parts)}")
    return [dataset for dataset in chosen.parts if dataset in only]


def _check(given: Mapping[str, Any], chosen: Preset) -> None:
    for field in (*_BY_ENTRY, *_OF_DELIVERY):
        if not isinstance(given.get(field, {}), dict):
            raise PresetError(f"`{field}` is a mapping of names to values")
    ours = {column for dataset in chosen.parts for column in DATASETS[dataset].by_name}
    for field in _BY_ENTRY:
        if unknown := sorted(str(column) for column in set(given.get(field, {})) - ours):
            raise PresetError(f"`{field}`: none of the datasets {', '.join(chosen.parts)} has the columns {unknown}")
    told = {**given.get("map", {})}
    if lacking := [column for column in chosen.needs if column not in told]:
        needed = "; ".join(f"{column} ({chosen.needs[column]})" for column in lacking)
        raise PresetError(f"this delivery does not tell {needed}: say it under `map`")


def _merged(dataset: str, part: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """One part of a preset as a source, with what the tenant says."""
    source: dict[str, Any] = {"dataset": dataset, "kind": "files", **part}
    source |= {key: value for key, value in given.items() if key not in {*_BY_ENTRY, *_OF_DELIVERY, "where"}}
    source |= {field: {**part.get(field, {}), **given.get(field, {})} for field in _OF_DELIVERY if field in part or field in given}
    for field in _BY_ENTRY:
        fitting = {column: value for column, value in given.get(field, {}).items() if column in DATASETS[dataset].by_name}
        source[field] = {**part.get(field, {}), **fitting}
    # A column that the tenant maps is delivered after all: the preset's rule for its estimate goes, unless the tenant gives one.
    mapped, estimated = given.get("map", {}), given.get("estimate", {})
    source["estimate"] = {column: rule for column, rule in source["estimate"].items() if column not in mapped or column in estimated}
    conditions = [text for text in (part.get("where"), given.get("where")) if text is not None]
    if conditions:
        source["where"] = conditions[0] if len(conditions) == 1 else " and ".join(f"({text})" for text in conditions)
    return source
