"""Charts as plain plotly figures: data in, dictionary out, no library needed and no randomness anywhere.

Axes carry ticks in words for people (`1.2 M`), titles say what is seen and over which time, and nothing is told by colour alone. Names from
outside (titles, artists, services) are escaped: plotly reads a subset of HTML in texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from nocturne.reports import formats, palette
from nocturne.reports.document import Chart
from nocturne.reports.formats import COUNT, Unit

FULL: Final = 720
HALF: Final = 352
_LETTER: Final = 6.1  # mean width of a letter of an axis label, in pixels: no font is narrower than the room it gets
Figure = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One series: a value for each day or period, None where there is none."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Bar:
    """One bar of a ranking: its label, its value and the text at its end."""

    label: str
    value: float
    text: str


@dataclass(frozen=True)
class Forecast:
    """A forecast of a day: value and the bounds of its band."""

    day: date
    value: float
    low: float
    high: float


def course(
    name: str,
    title: str,
    description: str,
    days: Sequence[date],
    values: Sequence[float | None],
    *,
    provisional: Sequence[bool],
    label: str,
    forecasts: Sequence[Forecast] = (),
    unit: Unit = COUNT,
    height: int = 290,
) -> Chart:
    """Bars of each day (hatched while provisional), their mean of 7 days, and what is forecast with its band."""
    traces = [_daily(days, values, provisional, wanted, label) for wanted in (False, True) if wanted in provisional]
    means = _means(values)
    if any(mean is not None for mean in means):
        traces.append(_line(days, means, "mean of 7 days", palette.INDIGO, "solid", width=2.2))
    traces += _forecast(forecasts)
    every = [*days, *(forecast.day for forecast in forecasts)]
    peak = max([value for value in values if value is not None] + [forecast.high for forecast in forecasts], default=0)
    axes = {"xaxis": _dates(every, FULL), "yaxis": _numbers(0, peak, unit), "barmode": "overlay", "bargap": 0.15}
    return _chart(name, title, description, traces, axes, FULL, height, legend=True)


def lines(
    name: str,
    title: str,
    description: str,
    days: Sequence[date],
    series: Sequence[Line],
    *,
    unit: Unit = COUNT,
    is_half: bool = False,
    from_zero: bool = True,
) -> Chart:
    """Lines over days, each with its own dash and its last value beside its end."""
    width, height = (HALF, 215) if is_half else (FULL, 235)
    shown = [value for line in series for value in line.values if value is not None]
    low, high = (0 if from_zero else min(shown, default=0)), max(shown, default=0)
    traces = [_line(days, line.values, line.name, palette.SERIES[place], palette.DASHES[place]) for place, line in enumerate(series)]
    has_legend = len(series) > 1
    ends = _ends(days, series, nice_ticks(low, high, least=unit.least), height - (86 if has_legend else 66), unit)
    axes = {"xaxis": _dates(days, width), "yaxis": _numbers(low, high, unit), "annotations": ends}
    return _chart(name, title, description, traces, axes, width, height, right=54, legend=has_legend)


def ranking(name: str, title: str, description: str, bars: Sequence[Bar], *, is_half: bool = False, color: str = palette.INDIGO) -> Chart:
    """Horizontal bars, the longest on top, each with its text at its end."""
    width, height = HALF if is_half else FULL, 50 + 21 * len(bars)
    names = [formats.shortened(bar.label, 20 if is_half else 40) for bar in bars]
    room = 16 + round(_LETTER * max(map(len, names), default=0))
    texts = 12 + round(_LETTER * max((len(bar.text) for bar in bars), default=0))
    longest = max((bar.value for bar in bars), default=0) or 1
    places = [str(place) for place in range(len(bars))]  # not names: two tracks may share one
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": places,
        "x": [bar.value for bar in bars],
        "text": [escape(bar.text) for bar in bars],
        "textposition": "outside",
        "textfont": {"size": 10, "color": palette.INK},
        "constraintext": "none",
        "cliponaxis": False,
        "marker": {"color": color},
        "hoverinfo": "skip",
    }
    axes = {
        "bargap": 0.3,
        "xaxis": {"visible": False, "range": [0, longest * (width - room) / max(width - room - texts, 60)], "fixedrange": True},
        "yaxis": _labels(places, [escape(name) for name in names]) | {"type": "category", "autorange": "reversed"},
    }
    return _chart(name, title, description, [trace], axes, width, height, left=room, right=4, bottom=10)


def heatmap(
    name: str,
    title: str,
    description: str,
    columns: Sequence[str],
    rows: Sequence[str],
    cells: Sequence[Sequence[float | None]],
    *,
    x_title: str,
    left: int,
    text: Callable[[float], str] | None = None,
) -> Chart:
    """Cells whose darkness is their value; what is not known stays blank. With `text` each cell says its value, else a key is drawn."""
    top = nice_ticks(0, max((value for row in cells for value in row if value is not None), default=1), least=0 if text else 1)[-1]
    trace = {
        "type": "heatmap",
        "z": [list(row) for row in cells],
        "x": list(range(len(columns))),
        "y": list(range(len(rows))),
        "zmin": 0,
        "zmax": top,
        "colorscale": [list(stop) for stop in palette.SCALE],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hoverinfo": "z",
        "hoverongaps": False,
    }
    axes: Figure = {
        "xaxis": _labels(list(range(len(columns))), columns) | {"title": {"text": x_title, "standoff": 6, "font": {"size": 10.5}}},
        "yaxis": _labels(list(range(len(rows))), [escape(row) for row in rows]) | {"autorange": "reversed"},
    }
    if text is None:
        axes |= _key(top)
    else:
        axes["annotations"] = [
            _label(x, y, text(value), palette.PAPER if value > top * 0.45 else palette.INK)
            for y, row in enumerate(cells)
            for x, value in enumerate(row)
            if value is not None
        ]
    return _chart(name, title, description, [trace], axes, FULL, 82 + 21 * len(rows), left=left, right=10, bottom=44)


def stacked(
    name: str, title: str, description: str, periods: Sequence[str], series: Sequence[Line], *, unit: Unit = COUNT, height: int = 240
) -> Chart:
    """Bars of periods in layers, each layer with its own colour and hatching."""
    places = list(range(len(periods)))
    traces = [
        {"type": "bar", "name": escape(line.name), "x": places, "y": list(line.values), "marker": _filling(place)}
        for place, line in enumerate(series)
    ]
    highest = max((sum(line.values[place] or 0 for line in series) for place in places), default=0)
    kept = places[:: -max(1, math.ceil(len(periods) / 14))][::-1]
    axes = {
        "barmode": "stack",
        "bargap": 0.2,
        "xaxis": _labels(kept, [periods[place] for place in kept]) | {"tickangle": 0},
        "yaxis": _numbers(0, highest, unit),
    }
    return _chart(name, title, description, traces, axes, FULL, height, legend=len(series) > 1)


def bridge(name: str, title: str, description: str, steps: Sequence[tuple[str, float, bool]], *, unit: Unit) -> Chart:
    """How an opening becomes a closing: (label, amount, is a total) of each step. The axis does not begin at 0: steps are small."""
    spans = _spans(steps)
    edges = [edge for (_, _, is_total), span in zip(steps, spans, strict=True) for edge in (span[1:] if is_total else span)]
    low, high = min(edges), max(edges)
    axis = _numbers(max(0.0, low - (high - low) * 0.5), high + (high - low) * 0.15, unit)
    floor = axis["range"][0]
    bases = [max(bottom, floor) for bottom, _ in spans]
    falls = [amount < 0 and not is_total for _, amount, is_total in steps]
    fill = [
        palette.ORANGE if fall else palette.INDIGO if is_total else palette.TEAL
        for fall, (_, _, is_total) in zip(falls, steps, strict=True)
    ]
    places = list(range(len(steps)))
    trace = {
        "type": "bar",
        "x": places,
        "base": bases,
        "y": [max(top - base, 0) for (_, top), base in zip(spans, bases, strict=True)],
        "marker": {
            "color": fill,
            "pattern": {
                "shape": ["/" if fall else "" for fall in falls],
                "bgcolor": fill,
                "fgcolor": palette.PAPER,
                "size": 5,
                "solidity": 0.2,
            },
        },
        "text": [f"{'' if total or amount < 0 else '+'}{unit.text(amount)}" for _, amount, total in steps],
        "textposition": "outside",
        "textfont": {"size": 10},
        "constraintext": "none",
        "cliponaxis": False,
        "hoverinfo": "text",
    }
    axes = {
        "bargap": 0.35,
        "xaxis": _labels(places, [escape(label) for label, *_ in steps]),
        "yaxis": axis,
    }
    return _chart(name, f"{title} (axis does not begin at 0)", description, [trace], axes, FULL, 260)


def escape(text: str) -> str:
    """Text from outside as plotly shows it unchanged."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def nice_ticks(low: float, high: float, *, least: float = 0.0, count: int = 5) -> list[float]:
    """Round values from at most `low` to at least `high`, about `count` of them: their step is 1, 2, 2.5 or 5 times a power of ten, and a
    whole multiple of `least` where that is given.
    """
    if high - low <= max(abs(low), abs(high)) * 1e-6 + 1e-15:  # a level line
        low, high = low - abs(low) * 0.1, high + max(abs(high) * 0.1, 1e-9 if high else 1)
    raw = max((high - low) / count, least)
    size = 10.0 ** math.floor(math.log10(raw))
    steps = (size * part for part in (1, 2, 2.5, 5, 10) if size * part >= raw * 0.999)
    step = next(step for step in steps if not least or abs(step / least - round(step / least)) < 1e-6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = 6 - math.floor(math.log10(step))
    return [round(place * step, digits) for place in range(first, last + 1)]


def _chart(
    name: str,
    title: str,
    description: str,
    traces: Sequence[Mapping[str, Any]],
    axes: Figure,
    width: int,
    height: int,
    *,
    left: int = 58,
    right: int = 10,
    bottom: int = 30,
    legend: bool = False,
) -> Chart:
    """The chart with what all of them share. Traces get fixed identifiers, where plotly would draw random ones."""
    layout = {
        "width": width,
        "height": height,
        "margin": {"l": left, "r": right, "t": 56 if legend else 36, "b": bottom, "pad": 0},
        "font": {"family": palette.FONTS, "size": 10.5, "color": palette.INK},
        "paper_bgcolor": palette.PAPER,
        "plot_bgcolor": palette.PAPER,
        "showlegend": legend,
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.01,
            "yanchor": "bottom",
            "font": {"size": 10.5},
            "traceorder": "normal",
        },
        "title": {
            "text": f"<b>{escape(title)}</b>",
            "font": {"size": 12.5},
            "x": 0,
            "xanchor": "left",
            "xref": "container",
            "y": 1,
            "yanchor": "top",
            "yref": "container",
            "pad": {"l": 2, "t": 8},
        },
    }
    identified = [{**trace, "uid": f"t{place:05d}"} for place, trace in enumerate(traces)]
    return Chart(name, title, description, {"data": identified, "layout": layout | axes}, width, height)


def _daily(days: Sequence[date], values: Sequence[float | None], provisional: Sequence[bool], wanted: bool, label: str) -> Figure:
    shown = [(day, value) for day, value, mark in zip(days, values, provisional, strict=True) if mark is wanted]
    hatched = {"pattern": {"shape": "/", "fgcolor": palette.INDIGO, "bgcolor": palette.PAPER, "size": 4, "solidity": 0.25}}
    return {
        "type": "bar",
        "name": f"{label}, provisional" if wanted else label,
        "x": [day.isoformat() for day, _ in shown],
        "y": [value for _, value in shown],
        "width": 0.85 * 86_400_000,  # of a day: a single bar would have no width of its own
        "marker": {"color": palette.SKY} | (hatched if wanted else {}),
    }


def _forecast(forecasts: Sequence[Forecast]) -> list[Figure]:
    if not forecasts:
        return []
    days = [forecast.day for forecast in forecasts]
    edge = _line(days, [forecast.low for forecast in forecasts], "", palette.ORANGE, "solid", width=0)
    band = _line(days, [forecast.high for forecast in forecasts], "its band (8 of 10 days)", palette.ORANGE, "solid", width=0)
    middle = _line(days, [forecast.value for forecast in forecasts], "forecast", palette.ORANGE, "dash", width=2.2)
    return [
        edge | {"showlegend": False, "hoverinfo": "skip"},
        band | {"fill": "tonexty", "fillcolor": "rgba(226,113,29,0.18)", "hoverinfo": "skip"},
        middle,
    ]


def _line(days: Sequence[date], values: Sequence[float | None], name: str, color: str, dash: str, *, width: float = 2) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines" if sum(value is not None for value in values) > 1 else "markers",  # one point makes no line
        "name": escape(name),
        "x": [day.isoformat() for day in days],
        "y": list(values),
        "line": {"color": color, "dash": dash, "width": width},
        "connectgaps": False,
    }


def _means(values: Sequence[float | None]) -> list[float | None]:
    """The mean of each day and the six before it; None as long as one of them is missing."""
    means: list[float | None] = []
    for end in range(1, len(values) + 1):
        window = [value for value in values[max(0, end - 7) : end] if value is not None]
        means.append(sum(window) / 7 if len(window) == 7 else None)
    return means


def _filling(place: int) -> Figure:
    color = palette.SERIES[place % len(palette.SERIES)]
    fill: Figure = {"color": color, "line": {"width": 0.5, "color": palette.PAPER}}
    if shape := palette.HATCHES[place % len(palette.HATCHES)]:
        fill["pattern"] = {"shape": shape, "bgcolor": color, "fgcolor": palette.PAPER, "size": 5, "solidity": 0.2}
    return fill


def _spans(steps: Sequence[tuple[str, float, bool]]) -> list[tuple[float, float]]:
    """(bottom, top) of each step of a bridge."""
    level, spans = 0.0, []
    for _, amount, is_total in steps:
        before = 0.0 if is_total else level
        level = before + amount
        spans.append((min(before, level), max(before, level)))
    return spans


def _key(top: float) -> Figure:
    """What the shades of a heatmap mean: swatches above its right end. plotly draws a gradient, which not every reader shows."""
    size, step = 12, 20
    swatches = [
        {
            "type": "rect",
            "xref": "paper",
            "xsizemode": "pixel",
            "xanchor": 1,
            "x0": -50 - step * (len(palette.SCALE) - place),
            "x1": -50 - step * (len(palette.SCALE) - place) + step,
            "yref": "paper",
            "ysizemode": "pixel",
            "yanchor": 1,
            "y0": 9,
            "y1": 9 + size,
            "fillcolor": color,
            "line": {"width": 0.5, "color": palette.PALE},
        }
        for place, (_, color) in enumerate(palette.SCALE)
    ]
    ends = (("0", -54 - step * len(palette.SCALE), "right"), (COUNT.text(top), -46, "left"))
    labels = [
        _label(1, 1, text, palette.INK)
        | {"xref": "paper", "yref": "paper", "xanchor": anchor, "yanchor": "middle", "xshift": shift, "yshift": 15}
        for text, shift, anchor in ends
    ]
    return {"shapes": swatches, "annotations": labels}


def _dates(days: Sequence[date], width: int) -> Figure:
    """An axis over days whose ticks are whole weeks before the last day."""
    last = max(days)
    first = min(*days, last - timedelta(days=13))  # a few days alone would be as wide as houses
    weeks = max(1, math.ceil((last - first).days / 7 / (width / 80)))
    ticks = [last - timedelta(days=back) for back in range(0, (last - first).days + 1, 7 * weeks)][::-1]
    return _labels([day.isoformat() for day in ticks], [formats.day_and_month(day) for day in ticks]) | {
        "type": "date",
        "range": [f"{first - timedelta(days=1)}T10:00:00", f"{last}T14:00:00"],
        "linecolor": palette.PALE,
        "tickangle": 0,
    }


def _numbers(low: float, high: float, unit: Unit) -> Figure:
    ticks = nice_ticks(low, high, least=unit.least)
    return _labels(ticks, unit.ticks(ticks)) | {"range": [ticks[0], ticks[-1]], "showgrid": True, "gridcolor": palette.LINE}


def _labels(places: Sequence[Any], texts: Sequence[str]) -> Figure:
    return {
        "tickvals": list(places),
        "ticktext": list(texts),
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
        "ticklabelstandoff": 4,
    } | {"fixedrange": True}


def _ends(days: Sequence[date], series: Sequence[Line], ticks: Sequence[float], pixels: float, unit: Unit) -> list[Figure]:
    """The last value of each line beside its end, pushed apart where they would overlap; `pixels` is the height of the axis."""
    apart = 13 * (ticks[-1] - ticks[0]) / pixels
    known = [[value for _, value in zip(days, line.values, strict=True) if value is not None] for line in series]
    labels: list[Figure] = []
    floor = -math.inf
    for value in sorted(values[-1] for values in known if values):
        floor = max(value, floor + apart)
        labels.append(_label(1.008, floor, unit.text(value), palette.INK) | {"xref": "paper", "xanchor": "left"})
    return labels


def _label(x: float, y: float, text: str, color: str) -> Figure:
    return {"x": x, "y": y, "text": text, "showarrow": False, "font": {"size": 10, "color": color}}
