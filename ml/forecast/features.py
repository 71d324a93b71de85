"""Series of a tenant's days, what was known of them at an origin, and the rows of a forecast.

Everything is said relative to the *profile*: the mean of the target's weekday over the four weeks before the origin. So a model learns how
series depart from their own weekly rhythm, whatever their size, and one that has learned nothing answers with the rhythm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import numpy as np

from ml.problem import Array, Examples, Marts, Rows, TooLittle, require

HORIZON: Final = 28
HISTORY: Final = 28  # days that must stand before an origin
SERIES: Final = ("stream_count", "listeners_1d", "net_amount")
FEATURES: Final = (
    "series", "horizon", "weekday", "month_day", "week_trend", "month_trend", "weekday_trend", "last_day", "month_before", "spread",
    "growth",
)  # fmt: skip
WIDTHS: Final = (7, 14, 28)  # a forecast of up to so many days has an interval of its own width
LOW: Final = 0.1
HIGH: Final = 0.9
FEWEST_DAYS: Final = 91  # final days: four weeks before the first origin, five to learn from, four to judge


@dataclass(frozen=True)
class Days:
    """The series as they stand: `values` [series, days] from `first` on, of which the first `final` days cannot change any more."""

    names: tuple[str, ...]
    first: date
    values: Array
    final: int


def gather(marts: Marts, day: date) -> Examples:
    """Every (series, origin, target) whose target is a final day. Reads no day after `day`."""
    days = read_days(marts, day)
    if days.final < FEWEST_DAYS:
        raise TooLittle(f"{days.final} final days, and {FEWEST_DAYS} are needed")
    origins = np.arange(HISTORY - 1, days.final - 1)
    return examples(days, origins, days.final - 1)


def today(marts: Marts, day: date) -> Rows:
    """The next 28 days of each series, from origin `day`."""
    days = read_days(marts, day)
    last = days.values.shape[1] - 1
    if last + 1 < HISTORY:
        raise TooLittle(f"{last + 1} days, and {HISTORY} are needed before the first forecast")
    series, horizon = (part.ravel() for part in np.meshgrid(np.arange(len(days.names)), np.arange(1, HORIZON + 1), indexing="ij"))
    x, profile, _ = describe(days, series, np.full(len(series), last), horizon)
    keys = {
        "series": np.array(days.names, dtype=object)[series],
        "number": np.array([SERIES.index(name) for name in days.names])[series],
        "horizon": horizon,
        "profile": profile,
    }
    return Rows(FEATURES, x, keys)


def read_days(marts: Marts, day: date) -> Days:
    """The daily series up to `day`. A day without a row in between is a day on which nothing came."""
    require(marts, {"activity_days": ("played_on", "stream_count", "listeners_1d", "is_final")})
    activity = marts.read(
        "SELECT played_on, stream_count, listeners_1d, is_final FROM activity_days WHERE played_on <= %(day)s ORDER BY played_on", day=day
    )
    if not len(activity["played_on"]):
        raise TooLittle("no day has any activity")
    first: date = activity["played_on"][0].item()
    length = (day - first).days + 1
    names, values = list(SERIES[:2]), [_daily(activity, "played_on", name, first, length) for name in SERIES[:2]]
    if {"revenue_on", "net_amount"} <= marts.columns("revenue_days"):
        revenue = marts.read(
            "SELECT revenue_on, sum(net_amount) AS net_amount FROM revenue_days WHERE revenue_on BETWEEN %(first)s AND %(day)s"
            " GROUP BY revenue_on",
            first=first,
            day=day,
        )
        if len(revenue["revenue_on"]):
            names.append(SERIES[2])
            values.append(_daily(revenue, "revenue_on", SERIES[2], first, length))
    is_open = activity["played_on"][activity["is_final"] != 1.0]
    final = (is_open.min().item() - first).days if len(is_open) else length
    return Days(tuple(names), first, np.array(values), final)


def _daily(frame: Mapping[str, Array], day: str, name: str, first: date, length: int) -> Array:
    values = np.zeros(length)
    values[(frame[day] - np.datetime64(first)).astype(np.int64)] = np.nan_to_num(frame[name])
    return np.maximum(values, 0.0)


def examples(days: Days, origins: Array, last: int) -> Examples:
    """All rows of these origins whose target is day number `last` at most."""
    grid = np.meshgrid(np.arange(len(days.names)), origins, np.arange(1, HORIZON + 1), indexing="ij")
    series, origin, horizon = (part.ravel() for part in grid)
    known = origin + horizon <= last
    series, origin, horizon = series[known], origin[known], horizon[known]
    x, profile, naive = describe(days, series, origin, horizon)
    actual = days.values[series, origin + horizon]
    first = np.datetime64(days.first)
    return Examples(
        features=FEATURES,
        x=x,
        y=departure(actual, profile),
        moments=first + origin + horizon,
        groups=origin,
        segments=np.array(days.names)[series],
        more={"origins": first + origin, "horizons": horizon, "actual": actual, "profile": profile, "naive": departure(naive, profile)},
    )


def describe(days: Days, series: Array, origin: Array, horizon: Array) -> tuple[Array, Array, Array]:
    """(features, profile, last known value of the same weekday) of each row, from days up to its origin alone."""
    target = origin + horizon
    weeks_back = (horizon + 6) // 7  # the last week before the origin in which the target's weekday was known
    lags = np.stack([days.values[series, target - 7 * (weeks_back + week)] for week in range(4)])
    profile = lags.mean(axis=0)
    week, before = window(days, series, origin, 0, 7), window(days, series, origin, 7, 7)
    month = window(days, series, origin, 0, 28)
    dates = np.datetime64(days.first) + target
    month_day = (dates - dates.astype("datetime64[M]")).astype(np.int64) + 1
    anniversary = _month_before(dates, month_day) - np.datetime64(days.first)
    columns = (
        np.array([SERIES.index(name) for name in days.names])[series],
        horizon,
        (dates.astype(np.int64) + 3) % 7,  # 1970-01-01 was a Thursday; Monday is 0
        month_day,
        departure(week.mean(axis=0), before.mean(axis=0)),
        departure(week.mean(axis=0), month.mean(axis=0)),
        departure(lags[0], profile),
        departure(days.values[series, origin], month.mean(axis=0)),
        departure(_value(days, series, anniversary.astype(np.int64)), profile),
        np.std(np.log1p(month), axis=0),
        _slope(np.log1p(month)),
    )
    return np.stack(columns, axis=1).astype(np.float32), profile, lags[0]


def window(days: Days, series: Array, origin: Array, back: int, length: int) -> Array:
    """The `length` days up to `back` days before each origin: [days, rows], the latest first."""
    return np.stack([days.values[series, origin - back - lag] for lag in range(length)])


def _month_before(dates: Array, month_day: Array) -> Array:
    """The same day of the month before, or that month's last: subscriptions are paid by the calendar."""
    month = dates.astype("datetime64[M]")
    last = month.astype("datetime64[D]") - 1
    before: Array = np.minimum((month - 1).astype("datetime64[D]") + month_day - 1, last)
    return before


def _value(days: Days, series: Array, number: Array) -> Array:
    return np.where(number >= 0, days.values[series, np.maximum(number, 0)], np.nan)


def _slope(values: Array) -> Array:
    """Least-squares growth a day of [days, rows], the latest first."""
    at = -np.arange(len(values), dtype=np.float64)
    centred = at - at.mean()
    slope: Array = centred @ (values - values.mean(axis=0)) / (centred @ centred)
    return slope


def departure(value: Array, profile: Array) -> Array:
    """How far a value is from the profile, as a logarithm; 0 is a day like its weekday's usual."""
    departed: Array = np.log1p(value) - np.log1p(profile)
    return departed


def arrive(departed: Array, profile: Array) -> Array:
    """The value that departs so far from the profile; never below 0."""
    value: Array = np.maximum(np.expm1(departed + np.log1p(profile)), 0.0)
    return value


def results(rows: Rows, predictions: Array, settled: Mapping[str, Any], day: date, version: str) -> Iterator[tuple[Any, ...]]:
    """The rows of `stream_forecasts`."""
    middle = predictions[:, 0]
    targets = list(zip(rows.keys["series"], rows.keys["horizon"], strict=True))
    width = np.array([settled["widths"][f"{name} {bucket(int(horizon))}"] for name, horizon in targets])
    profile = rows.keys["profile"]
    value, low, high = arrive(middle, profile), arrive(middle + width[:, 0], profile), arrive(middle + width[:, 1], profile)
    for (name, horizon), v, lo, hi in zip(targets, value, low, high, strict=True):
        yield day, day + timedelta(days=int(horizon)), str(name), float(v), float(min(lo, v)), float(max(hi, v)), version


def bucket(horizon: int) -> int:
    """The width that a horizon belongs to."""
    return next(width for width in WIDTHS if horizon <= width)


def decay(marts: Marts, day: date, version: str) -> float | None:
    """The realised error of what `version` foretold for the last 14 final days up to `day`; None if it foretold too few of them."""
    if not marts.columns("stream_forecasts"):
        return None
    days = read_days(marts, day)
    last = days.first + timedelta(days=days.final - 1)
    told = marts.read(
        "SELECT metric, target_on, value FROM stream_forecasts WHERE model_version = %(version)s AND target_on <= %(last)s"
        " AND target_on > %(last)s - 14",
        version=version,
        last=last,
    )
    errors = []
    for number, name in enumerate(days.names):
        mine = told["metric"] == name
        if len(np.unique(told["target_on"][mine])) < 14:
            return None
        actual = days.values[number, (told["target_on"][mine] - np.datetime64(days.first)).astype(np.int64)]
        errors.append(float(np.abs(told["value"][mine] - actual).sum() / max(actual.sum(), 1e-12)))
    return float(np.mean(errors)) if errors else None
