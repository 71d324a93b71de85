"""Data quality: what was delivered, kept and refused, how the night went, and what every number means."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from nocturne.reports import charts, formats
from nocturne.reports.agreement import DAYS, Printed, printed
from nocturne.reports.charts import Line
from nocturne.reports.definitions import definitions
from nocturne.reports.document import Block, Chart, Column, Link, Notes, Page, Table
from nocturne.reports.formats import Unit
from nocturne.reports.material import QUALITY_DAYS, Material, Rows
from nocturne.reports.windows import total
from nocturne.tenants import Tenant

REASONS: Final = 12
QUALITY_PAGES: Final = "../quality/index.html"
CHART_DAYS: Final = 28
_SHARE: Final = Unit(behind=f"{formats.THIN}%", factor=100, places=2, least=0.0001)


def data(_tenant: Tenant, material: Material) -> Page | None:
    """The page of deliveries and of the night; none without both."""
    blocks: list[Block] = []
    if rows := material.rows("reconciliation"):
        blocks += [*_verdict(material, rows), _datasets(material, rows), *_deliveries(material, rows)]
    if layers := material.rows("layers"):
        blocks.append(_layers(layers))
        blocks += _printed(printed(material))
    if material.quality:
        blocks += [*_sums(material), _quality(material), Link("Every check of every table, and the rows that failed it", QUALITY_PAGES)]
    if material.reasons:
        columns = (Column("Dataset", width=22), Column("Reason", width=60), Column("Rows", True))
        shown = tuple((str(row["dataset"]), str(row["reason"]), formats.count(row["rows"])) for row in material.reasons[:REASONS])
        blocks.append(Table("Why rows were quarantined, deliveries of 7 days", columns, shown))
    if material.outcomes:
        blocks.append(_night(material))
    if not blocks:
        return None
    lead = "Every delivered row is accounted for: landed = left out + kept + quarantined."
    return Page("data", "Data quality and reconciliation", lead, tuple(blocks))


def meanings(tenant: Tenant, material: Material) -> Page | None:
    """The page of definitions of what the report speaks of."""
    found = definitions(tenant, material.day, [subject for subject in material.subjects if material.has(subject)])
    if not found:
        return None
    columns = (Column("Term", width=18), Column("What it is", width=50), Column("How it is computed", width=32))
    table = Table("", columns, tuple((each.term, each.meaning, each.formula) for each in found))
    return Page("definitions", "What the numbers mean", "With this tenant's own rules, as they hold on the day of the report.", (table,))


def _verdict(material: Material, rows: Rows) -> list[Notes]:
    wrong = sum(abs(row["difference_count"]) for row in (*rows, *material.rows("layers")))
    held = total(rows, "held_batch_count")
    notes = [
        Notes("", (f"{formats.count(wrong)} rows do not add up: see the tables.",), "bad")
        if wrong
        else Notes("", (f"All {formats.count(total(rows, 'delivered_count'))} rows landed in {CHART_DAYS} days add up.",), "good")
    ]
    if held:
        notes.append(
            Notes("", (f"{formats.count(held)} deliveries have not passed their gate: none of their rows is in any number here.",), "bad")
        )
    return notes


def _datasets(material: Material, rows: Rows) -> Table:
    shown = []
    for dataset in sorted({str(row["dataset"]) for row in rows}):
        own = [row for row in rows if str(row["dataset"]) == dataset]
        last = max(row["received_on"] for row in own)
        newest = [row for row in own if row["received_on"] == last]
        week = [row for row in own if row["received_on"] > material.day - timedelta(days=7)]
        landed, wrong = total(week, "delivered_count"), total(own, "difference_count")
        shown.append(
            (
                dataset,
                str(last),
                *(
                    formats.count(total(newest, column))
                    for column in ("delivered_count", "left_out_count", "valid_count", "quarantined_count")
                ),
                formats.percent(total(week, "quarantined_count") / landed if landed else None, 2),
                formats.difference(wrong, 0) if wrong else "yes",
            )
        )
    titles = ("Landed", "Left out", "Kept", "Quarantined", "in 7 days")
    columns = (
        Column("Dataset", width=21),
        Column("Last delivery", width=14),
        *(Column(title, True) for title in titles),
        Column("Adds up", True),
    )
    note = "in 7 days: share of the rows landed in 7 days that were quarantined; – where nothing was delivered."
    return Table("The last delivery of each dataset", columns, tuple(shown), note)


def _sums(material: Material) -> list[Notes]:
    """Whether the sums of the last night that built anything were equal, and how often they were."""
    nights = sorted({one.day for one in material.quality if one.layer == "sums"})
    if not nights:
        return []
    wrong = {one.day: one for one in material.quality if one.layer == "sums" and one.failed}
    equal = f"{len(nights) - len(wrong)} of {len(nights)} nights that built anything in {QUALITY_DAYS} days"
    text = f"The sums from delivery to mart were equal, to the row and the cent, on {equal}, the last on {nights[-1]}."
    if not wrong:
        return [Notes("", (text,), "good")]
    last = wrong[max(wrong)]
    return [Notes("", (text, f"{last.table}, {last.day}: {last.failed[0].observed}."), "bad" if last.day == nights[-1] else "neutral")]


def _quality(material: Material) -> Table:
    """The score of each table's last day beside its usual one: what is delivered first, then the marts."""
    shown = []
    tables = dict.fromkeys((one.layer, one.table) for one in material.quality if one.layer in ("bronze", "marts"))
    for layer, table in tables:
        days = [one for one in material.quality if (one.layer, one.table) == (layer, table)]
        last, scores = days[-1], [one.score for one in days if one.score is not None]
        failed = "; ".join(f"{one.check}: {one.observed}" for one in last.failed[:2])
        shown.append(
            (
                f"{table} (delivered)" if layer == "bronze" else table,
                str(last.day),
                formats.percent(last.score, 1),
                formats.percent(sum(scores) / len(scores) if scores else None, 1),
                formats.percent(last.quarantined_ratio, 2),
                failed or "all",
            )
        )
    columns = (
        Column("Table", width=24),
        Column("Last day", width=12),
        Column("Score", True),
        Column("Mean", True),
        Column("Quarantined", True),
        Column("Passed", width=32),
    )
    note = (
        f"Score: share of the checks passed, weighted by severity (stop 5, warn 1); mean of {QUALITY_DAYS} days. Quarantined: share of the"
        " rows delivered that day; – of marts, and until they are taken."
    )
    return Table("Quality of each table", columns, tuple(shown), note)


def _layers(rows: Rows) -> Table:
    columns = ("silver_count", "warehouse_count", "mart_count", "joined_count", "zero_length_count")
    shown = [
        (
            str(row["dataset"]),
            *(formats.count(row[column]) for column in columns),
            formats.difference(row["difference_count"], 0) if row["difference_count"] else "yes",
        )
        for row in rows
    ]
    titles = ("Lake", "Warehouse", "Marts", "Joined resumes", "Never sounded", "Adds up")
    note = "Plays: lake = marts + resumes joined to an earlier play + attempts that never sounded. Other datasets: lake = warehouse."
    heading = f"From the lake to the marts, events of {CHART_DAYS} days"
    return Table(heading, (Column("Dataset", width=21), *(Column(title, True) for title in titles)), tuple(shown), note)


def _printed(sums: Sequence[Printed]) -> list[Notes]:
    """Whether this report prints the same number wherever it prints it."""
    wrong = tuple(f"Not the same everywhere in this report, {one.told}." for one in sums if not one.agrees)
    same = "; ".join(f"{one.what} {' = '.join(one.sums)}" for one in sums if one.agrees)
    equal = [Notes("", (f"The same everywhere in this report, of {DAYS} days, to the row and the cent: {same}.",), "good")]
    return [*(equal if same else []), *([Notes("", wrong, "bad")] if wrong else [])]


def _deliveries(material: Material, rows: Rows) -> list[Chart]:
    span = [material.day - timedelta(days=back) for back in range(CHART_DAYS - 1, -1, -1)]
    by_day = [[row for row in rows if row["received_on"] == day] for day in span]
    landed = [float(total(own, "delivered_count")) if own else None for own in by_day]
    refused = [total(own, "quarantined_count") / total(own, "delivered_count") if total(own, "delivered_count") else None for own in by_day]
    period = f"by the day of their delivery, {span[0]} to {span[-1]}"
    return [
        charts.lines("deliveries", "Rows landed a day", f"Rows {period}.", span, [Line("landed", landed)], is_half=True),
        charts.lines(
            "quarantined",
            "Quarantined, share of landed rows",
            f"Share {period}.",
            span,
            [Line("quarantined", refused)],
            unit=_SHARE,
            is_half=True,
        ),
    ]


def _night(material: Material) -> Table:
    columns = (Column("Station", width=18), Column("Outcome", width=12), Column("What it said"))
    shown = []
    for outcome in material.outcomes:
        said = [*([outcome.error.splitlines()[0]] if outcome.error else []), *outcome.warnings]
        shown.append((outcome.station, outcome.outcome, "; ".join(said) or formats.UNKNOWN))
    return Table("The night, station by station", columns, tuple(shown))
