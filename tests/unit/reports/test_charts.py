"""Charts are plain figures: what they show, and what plotly must not do with them."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nocturne.reports import charts
from nocturne.reports.charts import Bar, Forecast, Line
from nocturne.reports.document import Chart
from nocturne.reports.formats import COUNT

DAYS = [date(2026, 2, 1) + timedelta(days=place) for place in range(28)]


def traces(chart: Chart) -> list[dict[str, Any]]:
    return list(chart.figure["data"])


def streams(**more: Any) -> Chart:
    values: list[float | None] = [float(100 + place) for place in range(28)]
    return charts.course("streams", "Streams", "…", DAYS, values, provisional=[place >= 21 for place in range(28)], label="streams", **more)


def test_provisional_days_are_bars_of_their_own_and_hatched() -> None:
    final, provisional, mean = traces(streams())
    assert (len(final["x"]), len(provisional["x"])) == (21, 7)
    assert "pattern" not in final["marker"]
    assert provisional["marker"]["pattern"]["shape"]
    assert provisional["name"] == "streams, provisional"
    assert mean["y"][:6] == [None] * 6
    assert mean["y"][6] == 103


def test_a_mean_over_a_gap_is_not_drawn() -> None:
    values = [1.0] * 10 + [None] + [1.0] * 17
    chart = charts.course("streams", "Streams", "…", DAYS, values, provisional=[False] * 28, label="streams")
    assert [place for place, mean in enumerate(traces(chart)[-1]["y"]) if mean is None] == [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 16]


def test_a_forecast_stands_behind_the_last_day_with_its_band_and_the_axis_holds_it() -> None:
    ahead = [Forecast(DAYS[-1] + timedelta(days=place), 130, 120, 400) for place in (1, 2)]
    chart = streams(forecasts=ahead)
    low, high, middle = traces(chart)[-3:]
    assert (low["y"], high["y"], middle["y"]) == ([120, 120], [400, 400], [130, 130])
    assert (high["fill"], middle["line"]["dash"]) == ("tonexty", "dash")
    assert chart.figure["layout"]["xaxis"]["range"][1].startswith("2026-03-02")
    assert chart.figure["layout"]["yaxis"]["range"][1] >= 400


def test_lines_differ_in_dash_and_say_their_last_value_without_overlap() -> None:
    series = [Line("one", [100.0] * 28), Line("two", [100.5] * 28), Line("none", [None] * 28)]
    chart = charts.lines("lines", "Lines", "…", DAYS, series)
    assert len({trace["line"]["dash"] for trace in traces(chart)}) == 3
    first, second = (label["y"] for label in chart.figure["layout"]["annotations"])
    top = chart.figure["layout"]["yaxis"]["range"][1]
    assert (second - first) / top * (chart.height - 86) >= 12.9


def test_two_bars_of_one_name_stay_two_bars() -> None:
    chart = charts.ranking("tracks", "Tracks", "…", [Bar("Hello", 3, "3"), Bar("Hello", 2, "2")])
    axis = chart.figure["layout"]["yaxis"]
    assert len(set(traces(chart)[0]["y"])) == 2
    assert axis["ticktext"] == ["Hello", "Hello"]


def test_names_from_outside_are_text_and_not_markup() -> None:
    name = '<a href="https://x">A</a> & B'
    chart = charts.ranking("tracks", "Tracks", "…", [Bar(name, 1, "1")])
    shown = chart.figure["layout"]["yaxis"]["ticktext"][0]
    assert "<" not in shown
    assert shown.startswith("&lt;a href=")
    stacked = charts.stacked("royalties", "R", "…", ["Jan"], [Line(name, [1.0]), Line("B", [1.0])])
    assert "<" not in traces(stacked)[0]["name"]


def test_long_names_are_shortened_and_given_room() -> None:
    chart = charts.ranking("tracks", "Tracks", "…", [Bar("x" * 200, 1, "1")], is_half=True)
    label = chart.figure["layout"]["yaxis"]["ticktext"][0]
    assert label.endswith("…")
    assert len(label) == 20
    assert chart.figure["layout"]["margin"]["l"] < chart.width / 2


def test_an_unknown_cell_of_a_heatmap_is_blank_and_unlabelled() -> None:
    chart = charts.heatmap("r", "R", "…", ["1", "2"], ["a"], [[0.5, None]], x_title="", left=50, text=lambda value: f"{value:.1f}")
    assert traces(chart)[0]["z"] == [[0.5, None]]
    assert [label["text"] for label in chart.figure["layout"]["annotations"]] == ["0.5"]


def test_a_bridge_floats_each_step_on_the_one_before() -> None:
    steps = [("Opening", 1_000.0, True), ("New", 200.0, False), ("Churn", -50.0, False), ("Closing", 1_150.0, True)]
    chart = charts.bridge("b", "Bridge", "…", steps, unit=COUNT)
    bars = traces(chart)[0]
    floor = chart.figure["layout"]["yaxis"]["range"][0]
    assert bars["base"] == [floor, 1_000, 1_150, floor]
    assert [base + height for base, height in zip(bars["base"], bars["y"], strict=True)] == [1_000, 1_200, 1_200, 1_150]
    assert [bool(shape) for shape in bars["marker"]["pattern"]["shape"]] == [False, False, True, False]
    assert "axis does not begin at 0" in chart.title


def test_layers_have_a_key_only_if_there_are_several() -> None:
    one = charts.stacked("s", "S", "…", ["a"], [Line("x", [1.0])])
    two = charts.stacked("s", "S", "…", ["a"], [Line("x", [1.0]), Line("y", [2.0])])
    assert (one.figure["layout"]["showlegend"], two.figure["layout"]["showlegend"]) == (False, True)


def test_a_figure_is_plain_json_and_always_the_same() -> None:
    text = json.dumps(streams().figure, allow_nan=False)
    assert text == json.dumps(streams().figure)
    assert all(trace["uid"] == f"t{place:05d}" for place, trace in enumerate(traces(streams())))


@given(st.floats(-1e12, 1e12), st.floats(0, 1e12))
def test_ticks_hold_all_values_and_are_few(low: float, span: float) -> None:
    ticks = charts.nice_ticks(low, low + span)
    slack = 1e-6 * max(abs(low), abs(low + span)) + 1e-9
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + span - slack
    assert 2 <= len(ticks) <= 9
    assert ticks == sorted(set(ticks))


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_count_has_no_ticks_between_whole_numbers(low: int, span: int) -> None:
    assert all(tick == int(tick) for tick in charts.nice_ticks(low, low + span, least=1))


def test_a_level_line_runs_in_the_middle_of_its_axis() -> None:
    low, *_, high = charts.nice_ticks(120, 120)
    assert low < 120 < high < 150


def test_a_single_day_is_seen() -> None:
    day = DAYS[:1]
    bar = traces(charts.course("s", "S", "…", day, [5.0], provisional=[True], label="streams"))
    line = traces(charts.lines("l", "L", "…", day, [Line("one", [5.0])]))
    assert [trace["name"] for trace in bar] == ["streams, provisional"]
    assert bar[0]["width"] > 0
    assert line[0]["mode"] == "markers"
