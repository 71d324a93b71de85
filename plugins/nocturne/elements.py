"""Which elements of an XML document are rows, and where the values of a row stand: the part of a source's declaration that says it.

A path is a small part of XPath, read by local names (namespaces are left out):

    ResourceId/ISRC             elements in elements; the text of the last
    ResourceGroup//Reference    the same at any depth
    PartyId[@IsISNI=true]       only with this attribute; PartyName[Language=en] only with this element in it
    DisplayTitle/@Language      an attribute
    ../../DealReference         from the element that holds the one that holds the record; what stands before the record there is seen
    .                           the record's own text
    ArtistReference -> names    what the lookup `names` knows under that text; several arrows follow one another
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

ANY: Final = "*"
_NAME: Final = r"[^\W\d][\w.\-]*"
_STEP: Final = re.compile(rf"(?P<name>{_NAME}|\*)(?:\[(?P<asked>@?{_NAME})=(?P<value>[^\]]*)\])?")
_MAX_STEPS: Final = 20


@dataclass(frozen=True)
class Step:
    """One step to elements of a name (`*`: of any): directly below, or at any depth; `asked` (attribute or element) must have `value`."""

    name: str
    is_deep: bool = False
    asked: str | None = None
    value: str = ""


@dataclass(frozen=True)
class Path:
    """`ups` elements up, then `steps` down, then the attribute or the text, then through the lookups `through`."""

    ups: int
    steps: tuple[Step, ...]
    attribute: str | None
    through: tuple[str, ...]


@lru_cache(maxsize=10_000)
def path_of(text: str) -> Path:
    """The path that is written so. Raises ValueError."""
    way, *through = (part.strip() for part in text.split("->"))
    wrong = ValueError(f"{text!r} is no path: write it like ResourceId/ISRC, ../@Language or ArtistReference -> names")
    if any(not re.fullmatch(_NAME, name) for name in through):
        raise wrong
    parts = [] if way == "." else re.split(r"(?<!\[)/(?![^\[]*\])", way)
    ups = 0
    while parts and parts[0] == "..":
        ups, parts = ups + 1, parts[1:]
    attribute = parts.pop()[1:] if parts and re.fullmatch(f"@{_NAME}", parts[-1]) else None
    steps: list[Step] = []
    is_deep = False
    for at, part in enumerate(parts):
        if part == "" and 0 < at < len(parts) - 1 and not is_deep:
            is_deep = True
            continue
        found = _STEP.fullmatch(part)
        if found is None:
            raise wrong
        steps.append(Step(found["name"], is_deep, found["asked"], found["value"] or ""))
        is_deep = False
    if len(steps) + ups > _MAX_STEPS:
        raise wrong
    return Path(ups, tuple(steps), attribute, tuple(through))


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _is_path(text: str) -> str:
    path_of(text)
    return text


def _is_place(text: str) -> str:
    path = path_of(text)
    if path.ups or path.attribute or path.through or not path.steps or any(step.is_deep or step.asked for step in path.steps):
        raise ValueError(f"{text!r} leads to no elements from the document's root: write it like ResourceList/SoundRecording")
    return text


Paths = Annotated[
    tuple[Annotated[str, AfterValidator(_is_path)], ...],
    BeforeValidator(_listed),
    Field(min_length=1, description="One path, or several of which the first that leads to a text counts."),
]
Places = Annotated[
    tuple[Annotated[str, AfterValidator(_is_place)], ...],
    BeforeValidator(_listed),
    Field(min_length=1, description="Where elements stand below the root: names with `/` between them."),
]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Lookup(_Strict):
    """What other elements of the document, before or behind a record, tell: `value` under each text of `key`.

    What stands under no key, or has no value, is unknown, and NULL. The keys of the elements `ignored` lead to nothing at all.
    """

    records: Places
    key: Paths
    value: Paths
    ignored: Annotated[tuple[Annotated[str, AfterValidator(_is_place)], ...], BeforeValidator(_listed)] = ()


class Elements(_Strict):
    """The rows of an XML document.

    Each element at `records` is a row; its columns are the first text that a path leads to. A column of `each` makes a row of every
    different text instead; if there are none, one row without it. `spans`, the columns of a first and a last day: rows of a document that
    are equal but for these, and hold on the same days, are one row, from the first day of any to the last (open, if one is).
    """

    root: str | None = Field(None, description="The root's local name; a document with another one is refused.")
    records: Places
    paths: Mapping[str, Paths] = Field(min_length=1, description="Delivered column: where its text stands.")
    each: tuple[str, ...] = ()
    spans: tuple[str, str] | None = None
    lookups: Mapping[str, Lookup] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _knows_what_it_names(self) -> Self:
        for field, named in (("each", self.each), ("spans", self.spans or ())):
            if strange := sorted(set(named) - set(self.paths)):
                raise ValueError(f"{field}: there are no paths for {', '.join(strange)}")
        asked = [*(text for texts in self.paths.values() for text in texts)]
        keys = [text for lookup in self.lookups.values() for text in (*lookup.key, *lookup.value)]
        if unknown := sorted({name for text in asked for name in path_of(text).through} - set(self.lookups)):
            raise ValueError(f"there are no lookups {', '.join(unknown)}")
        if any(path_of(text).through or path_of(text).ups for text in keys):
            raise ValueError("lookups: key and value stand within their own element")
        least = min(len(path_of(place).steps) for place in self.records)
        if any(path_of(text).ups > least for text in asked):
            raise ValueError("a path leads out of the document")
        return self
