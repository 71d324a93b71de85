"""Hand-made material: rows as the queries give them, small enough to reckon with."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from nocturne.reports.material import Material, Outcome

DAY = date(2026, 3, 1)


def made(marts_day: date | None = DAY, **subjects: list[dict[str, Any]]) -> Material:
    """Material of DAY with these subjects."""
    return Material(DAY, "Europe/Paris", {name: tuple(rows) for name, rows in subjects.items()}, marts_day=marts_day)


def activity(days: int = 28, **changes: Any) -> list[dict[str, Any]]:
    """Days up to DAY: 1000 streams a day in the last week, 800 before it; the last seven days are provisional."""
    return [
        {
            "played_on": DAY - timedelta(days=back),
            "play_count": 1_500,
            "stream_count": 1_000 if back < 7 else 800,
            "listeners_1d": 300,
            "listeners_7d": 500,
            "listeners_28d": 700,
            "stickiness_ratio": 0.4,
            "skip_ratio": 0.2 if back < 7 else 0.25,
            "completion_ratio": 0.6,
            "play_time_ms": 3_600_000_000,
            "new_listener_count": 12,
            "is_final": back >= 7,
        }
        | changes
        for back in range(days - 1, -1, -1)
    ]


def bridge_days(days: int = 14) -> list[dict[str, Any]]:
    """MRR that grows by 7 a day (10 new, 3 churn), from 1000."""
    return [
        {
            "day": DAY - timedelta(days=days - 1 - place),
            "opening_amount": Decimal(1_000 + 7 * place),
            "new_amount": Decimal(10),
            "expansion_amount": Decimal(0),
            "contraction_amount": Decimal(0),
            "churn_amount": Decimal(3),
            "reactivation_amount": Decimal(0),
            "closing_amount": Decimal(1_007 + 7 * place),
            "payer_count": 100,
            "arppu_amount": Decimal("10.07"),
        }
        for place in range(days)
    ]


def deliveries(**changes: Any) -> list[dict[str, Any]]:
    """One delivery of plays on DAY."""
    counts = {"delivered_count": 1_000, "left_out_count": 10, "valid_count": 985, "quarantined_count": 5}
    return [{"dataset": "plays", "received_on": DAY, **counts, "held_batch_count": 0, "difference_count": 0} | changes]


def said(station: str, *warnings: str, error: str | None = None) -> Outcome:
    """What a station said."""
    return Outcome(station, "failed" if error else "done", error, warnings)
