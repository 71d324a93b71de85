"""The quality pages of a tenant: `reports/<tenant>/quality/`, one page of what is wrong and of all tables, and one page a table.

They need nothing beside them and no server; the search is a few lines of script, and without it everything stands there. They hold numbers,
places of rows and values of columns that know of no person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Protocol

from nocturne.quality import Incident, Judgement, Layer, Result, TableDay, incidents, table_days
from nocturne.reports import formats
from nocturne.reports.folder import alone, facts, replace, stands
from nocturne.reports.printing import page
from nocturne.settings import Settings
from nocturne.tenants import Tenant

DAYS: Final = 60
FOLDER: Final = "quality"
INDEX: Final = "index.html"
_LAYERS: Final[dict[Layer, str]] = {"bronze": "as delivered", "sums": "sums", "access": "who may reach it", "marts": "mart"}
_ORDER: Final = {"failed": 0, "muted": 1, "passed": 2, "unknown": 3}


class Judged(Protocol):
    """What these pages need of the ledger."""

    def judgements(self, tenant: Tenant, since: date, until: date) -> list[Judgement]:
        """What gates found on the days from `since` to `until`."""


@dataclass(frozen=True)
class TablePage:
    """What is said of one table."""

    name: str
    layer: str
    file: str
    days: tuple[TableDay, ...]
    incidents: tuple[Incident, ...]

    @property
    def last(self) -> TableDay:
        """Its newest day."""
        return self.days[-1]

    @property
    def results(self) -> list[Result]:
        """The checks of its newest day, what failed first."""
        return sorted(self.last.results, key=lambda one: (_ORDER[one.outcome], one.severity, one.check))

    @property
    def scores(self) -> list[float | None]:
        """The course of its score, day by day."""
        return [one.score for one in self.days]

    @property
    def state(self) -> str:
        """Its newest day in one word."""
        failed = {one.severity for one in self.last.failed}
        return "stop" if "stop" in failed else "warn" if failed else "good"


def write_quality(tenant: Tenant, day: date, settings: Settings, ledger: Judged) -> int:
    """Write the quality pages as of a business day; how many (0: they stand there already, or no gate has judged anything).

    Reads the ledger's judgements of the last days; writes `reports/<slug>/quality/`, whole or not at all. A re-run with the same judgements
    writes nothing. Raises DatabaseUnavailable, DiskFull.
    """
    days = table_days(ledger.judgements(tenant, day - timedelta(days=DAYS - 1), day))
    folder = settings.reports_root / tenant.slug / FOLDER
    if not days:
        return 0
    files = {name: text.encode() for name, text in _pages(tenant, day, days).items()}
    with alone(folder):
        if stands(folder, {name: facts(content) for name, content in files.items()}):
            return 0
        replace(folder, files)
    return len(files)


def _pages(tenant: Tenant, day: date, days: Sequence[TableDay]) -> dict[str, str]:
    found = incidents(days)
    tables = [_table(name, layer, days, found) for layer, name in dict.fromkeys((one.layer, one.table) for one in days)]
    last = {(table.layer, table.name): table for table in tables}
    told: dict[str, Any] = {"tenant": tenant, "day": day, "formats": formats, "layers": _LAYERS, "days": DAYS}
    index = page(
        "quality.html.j2",
        **told,
        table=None,
        tables=sorted(tables, key=lambda one: ({"stop": 0, "warn": 1, "good": 2}[one.state], one.layer, one.name)),
        incidents=[(one, last[one.layer, one.table].file) for one in found],
        muted=_muted(tables),
        mean_scores=_course(days),
    )
    return {INDEX: index} | {table.file: page("quality.html.j2", **told, table=table) for table in tables}


def _table(name: str, layer: Layer, days: Iterable[TableDay], found: Iterable[Incident]) -> TablePage:
    own = tuple(one for one in days if (one.layer, one.table) == (layer, name))
    digest = hashlib.sha256(name.encode()).hexdigest()[:6] if not name.replace("_", "").isalnum() else ""
    file = f"{layer}-{digest or name}.html"
    return TablePage(name, layer, file, own, tuple(one for one in found if (one.layer, one.table) == (layer, name)))


def _muted(tables: Iterable[TablePage]) -> list[tuple[TablePage, Result]]:
    return [(table, one) for table in tables for one in table.last.results if one.outcome == "muted"]


def _course(days: Sequence[TableDay]) -> list[tuple[date, float]]:
    """The mean score of all tables that were judged on a day, by day."""
    by_day: dict[date, list[float]] = {}
    for one in days:
        if one.score is not None:
            by_day.setdefault(one.day, []).append(one.score)
    return [(day, sum(scores) / len(scores)) for day, scores in sorted(by_day.items())]
