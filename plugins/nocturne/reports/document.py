"""What a report says, before it becomes a PDF or an HTML page: pages of blocks, already in words for people.

Charts carry a plotly figure as a plain dictionary. A page exists only if there is something to say on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

Tone = Literal["good", "bad", "neutral"]


@dataclass(frozen=True)
class Chart:
    """One picture. `description` is its text for those who cannot see it; sizes in CSS pixels, 720 is the width of a page."""

    name: str
    title: str
    description: str
    figure: Mapping[str, Any]
    width: int = 720
    height: int = 300

    @property
    def is_half(self) -> bool:
        """Whether two of them stand side by side."""
        return self.width <= 360


@dataclass(frozen=True)
class KeyFigure:
    """One number with its change and its recent course (`spark`: None where a day has no value)."""

    name: str
    label: str
    value: str
    change: str
    against: str
    tone: Tone = "neutral"
    is_provisional: bool = False
    spark: Sequence[float | None] = ()


@dataclass(frozen=True)
class Column:
    """A column of a table; `is_number` aligns it right, `width` is a share of the table in percent."""

    title: str
    is_number: bool = False
    width: int | None = None


@dataclass(frozen=True)
class Table:
    """A table of texts. `muted` are the indices of rows that stand in grey italics (provisional)."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    muted: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Finding:
    """One thing that changed."""

    severity: str
    text: str
    detail: str = ""


@dataclass(frozen=True)
class Notes:
    """Sentences or a list of them under a heading."""

    title: str
    texts: tuple[str, ...]
    tone: Tone = "neutral"


@dataclass(frozen=True)
class KeyFigures:
    """A row of key figures."""

    figures: tuple[KeyFigure, ...]


@dataclass(frozen=True)
class Findings:
    """What changed, the weightiest first."""

    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Link:
    """Where more of it stands: `href` is relative to the report's own folder. On paper the place is written out."""

    text: str
    href: str


Block = Chart | Table | Notes | KeyFigures | Findings | Link


@dataclass(frozen=True)
class Page:
    """A chapter: it begins on a new sheet and may run over several."""

    name: str
    title: str
    lead: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """One report. `stamps` are warnings that stand on every page (not updated since, ...)."""

    tenant: str
    slug: str
    day: date
    title: str
    subtitle: str
    stamps: tuple[str, ...]
    cover: tuple[Block, ...]
    pages: tuple[Page, ...] = field(default=())

    def charts(self) -> Iterator[Chart]:
        """Every chart, in the order of the pages."""
        for blocks in (self.cover, *(page.blocks for page in self.pages)):
            yield from (block for block in blocks if isinstance(block, Chart))
