"""Audience: who comes back, who is new, and where from. Groups too small to hide a person are counted together."""

from __future__ import annotations

from collections import Counter
from typing import Final

from nocturne.reports import charts, formats
from nocturne.reports.chapters.listening import CHART_DAYS, provisional
from nocturne.reports.charts import Bar
from nocturne.reports.document import Block, Chart, Page
from nocturne.reports.material import SMALLEST_GROUP, Material, Rows
from nocturne.reports.windows import Days
from nocturne.tenants import Tenant

COHORTS: Final = 12
WEEKS: Final = 12
GROUPS: Final = 9
_GROUPS: Final = (("country", "Active listeners by home territory"), ("channel", "Active listeners by channel"))


def audience(_tenant: Tenant, material: Material) -> Page | None:
    """The page of the audience; none without cohorts, new listeners and groups."""
    blocks: list[Block] = []
    if cohorts := tuple(row for row in material.rows("retention") if row["week"] > 0 and row["retention_ratio"] is not None):
        blocks.append(_retention(cohorts))
    if activity := [row for row in material.rows("activity") if row["new_listener_count"] is not None]:
        blocks.append(_new_listeners(Days(activity, "played_on")))
    groups = material.rows("listener_groups")
    for column, title in _GROUPS:
        if bars := grouped(groups, column):
            blocks.append(charts.ranking(f"listeners_by_{column}", title, f"{title}, last 28 days.", bars, is_half=True))
    if not blocks:
        return None
    lead = "Cohorts are listeners by the week of their first stream." if cohorts else ""
    if groups:
        lead += f" Active: at least one stream in 28 days. Groups of fewer than {SMALLEST_GROUP} people are counted under other."
    return Page("audience", "Audience and retention", lead.strip(), tuple(blocks))


def grouped(rows: Rows, column: str) -> list[Bar]:
    """Active listeners by the values of `column`, the largest groups first; small, further and unknown ones together."""
    counts: Counter[str | None] = Counter()
    for row in rows:
        counts[row[column]] += row["active_count"]
    everybody = counts.total()
    named = sorted(((-count, name) for name, count in counts.items() if name is not None and count >= SMALLEST_GROUP))[:GROUPS]
    bars = [(name, -negative) for negative, name in named]
    rest = everybody - sum(count for _, count in bars)
    while bars and 0 < rest < SMALLEST_GROUP:  # what is left over must not be a small group either
        rest += bars.pop()[1]
    if bars and rest:
        bars.append(("other, not known", rest))
    return [Bar(name, float(count), f"{formats.short(count)} ({formats.percent(count / everybody)})") for name, count in bars]


def _retention(rows: Rows) -> Chart:
    found = {(row["cohort_on"], row["week"]): row["retention_ratio"] for row in rows}
    cohorts = sorted({row["cohort_on"] for row in rows})[-COHORTS:]
    weeks = sorted({row["week"] for row in rows if row["cohort_on"] in cohorts})[:WEEKS]
    sizes = {row["cohort_on"]: row["listener_count"] for row in rows}
    cells = [[None if (ratio := found.get((cohort, week))) is None else float(ratio) for week in weeks] for cohort in cohorts]
    return charts.heatmap(
        "retention",
        "Weekly retention: percent of a cohort that streams again",
        "Share of each weekly cohort that streams in the weeks after its first stream; weeks that are not over are blank.",
        [str(week) for week in weeks],
        [f"{cohort} · {formats.short(sizes[cohort])}" for cohort in cohorts],
        cells,
        text=lambda value: f"{value * 100:.0f}",
        x_title="weeks after the first stream; rows: first day of the week · listeners",
        left=136,
    )


def _new_listeners(activity: Days) -> Chart:
    days = activity.span(CHART_DAYS)
    return charts.course(
        "new_listeners",
        "New listeners a day",
        f"Listeners whose first stream falls on the day, {days[0]} to {days[-1]}.",
        days,
        activity.course("new_listener_count", days),
        provisional=provisional(activity, days),
        label="new listeners",
        height=240,
    )
