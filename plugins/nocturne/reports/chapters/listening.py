"""Listening: streams with their forecast, listeners, how they listen and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any, Final

from nocturne.reports import charts, formats
from nocturne.reports.charts import Forecast, Line
from nocturne.reports.document import Block, Chart, Column, Page, Table
from nocturne.reports.material import Material, Row, Rows
from nocturne.reports.windows import Days
from nocturne.tenants import Tenant

CHART_DAYS: Final = 84
TABLE_DAYS: Final = 14
_RATES: Final = (("completed", "completion_ratio"), ("skipped", "skip_ratio"))
_COLUMNS: Final = (
    ("Streams", "stream_count"),
    ("Plays", "play_count"),
    ("Listeners", "listeners_1d"),
    ("New", "new_listener_count"),
    ("Play time", "play_time_ms"),
    ("Skipped", "skip_ratio"),
    ("Completed", "completion_ratio"),
)
_SHOW: Final[Mapping[str, Callable[[Any], str]]] = {
    "play_time_ms": formats.hours,
    "skip_ratio": formats.percent,
    "completion_ratio": formats.percent,
}


def listening(_tenant: Tenant, material: Material) -> Page | None:
    """The page of the daily activity; none without it."""
    if not material.has("activity"):
        return None
    activity = Days(material.rows("activity"), "played_on")
    blocks: list[Block] = [_streams(activity, material), *_listeners(activity)]
    if hours := material.rows("hours"):
        blocks.append(_hours(hours, material.time_zone))
    blocks.append(_last_days(activity))
    return Page("listening", "Listening", _lead(activity, material.time_zone), tuple(blocks))


def provisional(activity: Days, days: list[date]) -> list[bool]:
    """Which of these days can still change."""
    return [(row := activity.get(day)) is not None and not row["is_final"] for day in days]


def forecasts_of(material: Material, metric: str) -> list[Forecast]:
    """What is forecast of a metric, by day."""
    return [
        Forecast(row["target_on"], float(row["value"]), float(row["low"]), float(row["high"]))
        for row in material.rows("forecasts")
        if row["metric"] == metric
    ]


def _lead(activity: Days, time_zone: str) -> str:
    now, then = activity[activity.last], activity.get(activity.last - timedelta(days=7))
    text = (
        f"{formats.long_date(activity.last)}: {formats.count(now['stream_count'])} streams by {formats.count(now['listeners_1d'])} "
        f"listeners, {formats.hours(now['play_time_ms'])} of play time"
    )
    if then:
        text += f"; streams {formats.change(now['stream_count'], then['stream_count'])} on the same weekday a week before"
    return f"{text}. Days are calendar days in {time_zone}."


def _streams(activity: Days, material: Material) -> Chart:
    days = activity.span(CHART_DAYS)
    ahead = forecasts_of(material, "stream_count")
    title = f"Streams a day, with the next {len(ahead)} days forecast" if ahead else "Streams a day"
    description = f"Streams of each day from {days[0]} to {days[-1]} and their mean of 7 days"
    if ahead:
        description += f"; forecast up to {ahead[-1].day} with the band that holds 8 of 10 days"
    return charts.course(
        "streams",
        title,
        f"{description}.",
        days,
        activity.course("stream_count", days),
        provisional=provisional(activity, days),
        forecasts=ahead,
        label="streams",
    )


def _listeners(activity: Days) -> list[Chart]:
    days = activity.span(CHART_DAYS)
    period = f"from {days[0]} to {days[-1]}"
    windows = [
        Line("28 days" if w == 28 else "7 days" if w == 7 else "1 day", activity.course(f"listeners_{w}d", days)) for w in (28, 7, 1)
    ]
    rates = [Line(name, activity.course(column, days)) for name, column in _RATES]
    sticky = [Line("stickiness", activity.course("stickiness_ratio", days))]
    drawn = [charts.lines("listeners", "Listeners of 1, 7 and 28 days", f"Distinct listeners of rolling windows {period}.", days, windows)]
    for name, title, description, lines in (
        ("engagement", "Completed and skipped plays", f"Shares of plays {period}.", rates),
        ("stickiness", "Stickiness", f"Mean daily listeners over 28-day listeners {period}.", sticky),
    ):
        if known := [line for line in lines if any(value is not None for value in line.values)]:
            drawn.append(charts.lines(name, title, description, days, known, unit=formats.PERCENT, is_half=True))
    return drawn


def _hours(rows: Rows, time_zone: str) -> Chart:
    cells: list[list[float | None]] = [[0.0] * 24 for _ in range(7)]
    for row in rows:
        cells[row["weekday"] - 1][row["hour"]] = row["stream_count"] / 4  # 28 days have four of each weekday
    return charts.heatmap(
        "hours",
        "When people listen: streams an hour, mean of 28 days",
        "Mean streams by weekday and hour of the day.",
        [f"{hour:02d}" for hour in range(24)],
        formats.WEEKDAYS,
        cells,
        x_title=f"hour of the day, {time_zone}",
        left=80,
    )


def _last_days(activity: Days) -> Table:
    rows = activity.window(activity.last, TABLE_DAYS)[::-1]
    known = [(title, column) for title, column in _COLUMNS if any(row[column] is not None for row in rows)]
    columns = (Column("Day", width=20), *(Column(title, True) for title, _ in known))
    shown = [(_day(row), *(_SHOW.get(column, formats.count)(row[column]) for _, column in known)) for row in rows]
    muted = frozenset(place for place, row in enumerate(rows) if not row["is_final"])
    note = "* provisional: late deliveries can still change this day." if muted else ""
    return Table(f"The last {TABLE_DAYS} days", columns, tuple(shown), note, muted)


def _day(row: Row) -> str:
    return f"{row['played_on']} {formats.WEEKDAYS[row['played_on'].weekday()][:3]}{'' if row['is_final'] else ' *'}"
