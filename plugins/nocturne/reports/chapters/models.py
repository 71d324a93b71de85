"""Models' health: which champion answers, whether its inputs have drifted, and how what it said turned out."""

from __future__ import annotations

from typing import Final

from nocturne.reports import charts, formats
from nocturne.reports.charts import Bar, Line
from nocturne.reports.document import Block, Column, Notes, Page, Table
from nocturne.reports.material import Material, Rows
from nocturne.reports.windows import Days, total
from nocturne.tenants import Tenant

TOP: Final = 10
_WATCH, _RETRAIN = 0.1, 0.25  # population stability index, as the metric definitions have it
_NAMES: Final = {"forecast": "Streams forecast", "churn": "Churn", "genre": "Genre"}


def models(_tenant: Tenant, material: Material) -> Page | None:
    """The page of the models; none as long as no model answers."""
    blocks: list[Block] = []
    if champions := material.rows("champions"):
        blocks.append(_champions(champions))
    if checks := tuple(row for row in material.rows("forecast_checks") if row["metric"] == "stream_count"):
        blocks += _forecast(checks)
    if genres := material.rows("genre_predictions")[:TOP]:
        bars = [Bar(str(row["genre"]), float(row["track_count"]), formats.count(row["track_count"])) for row in genres]
        title = "Tracks by predicted genre"
        blocks.append(charts.ranking("predicted_genres", title, f"{title}: tracks whose genre no source knows.", bars, is_half=True))
    if not blocks:
        return None
    return Page(
        "models",
        "Models’ health",
        "Which models answer, whether their inputs still look as in training, and how it turned out.",
        tuple(blocks),
    )


def _champions(rows: Rows) -> Table:
    columns = (Column("Model", width=20), Column("Version", width=14), Column("Last answer", width=16), Column("Drift of its inputs"))
    shown = [
        (
            _NAMES.get(row["problem"], str(row["problem"])),
            str(row["version"]),
            str(row["answered_on"]),
            _drift(row["feature"], row["drift_index"]),
        )
        for row in rows
    ]
    note = f"Population stability index: below {_WATCH} none, up to {_RETRAIN} watch, above it the model is trained again."
    return Table("Champions in force", columns, tuple(shown), note)


def _drift(feature: str | None, index: float | None) -> str:
    if index is None:
        return "not measured: too few rows"
    verdict = "none" if index < _WATCH else "watch" if index <= _RETRAIN else "train again"
    return f"{verdict} ({index:.2f}, most in {feature})"


def _forecast(checks: Rows) -> list[Block]:
    days = Days(checks, "target_on")
    span = days.span()
    missed = sum(abs(float(row["actual"]) - float(row["value"])) for row in checks) / max(float(total(checks, "actual")), 1.0)
    covered = sum(row["low"] <= row["actual"] <= row["high"] for row in checks) / len(checks)
    text = (
        f"Of {len(checks)} days forecast a week ahead, {formats.percent(covered, 0)} fell into the band, which is made to hold "
        f"{formats.percent(0.8, 0)}. "
        f"The forecast was {formats.percent(missed)} off (sum of absolute errors / sum of streams)."
    )
    series = [Line("came", days.course("actual", span)), Line("forecast a week before", days.course("value", span))]
    title = "Streams: what came, and what had been forecast"
    return [charts.lines("forecast_check", title, text, span, series), Notes("", (text,))]
