"""A tenant's usage once more, in plain Python: listening by calendar month. What was received is known to no world of silver rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.marts.reference import Marts, Table

KEYS: dict[str, tuple[str, ...]] = {"usage_months": ("month_on",)}


def tables(marts: Marts) -> dict[str, Table]:
    """Months in which somebody listened, or did anything else."""
    if not marts.has("plays"):
        return {"usage_months": {}}
    months = {on.replace(day=1) for on in [p["played_on"] for p in marts.plays] + [session.events[0].on for session in marts.sessions]}
    found: Table = {}
    for month in months:
        plays = [p for p in marts.plays if p["played_on"].replace(day=1) == month]
        found[month,] = {
            "delivered_count": 0,
            "play_count": len(plays),
            "stream_count": sum(p["is_stream"] for p in plays),
            "listeners_month": len({p["listener_key"] for p in plays if p["is_stream"]}),
            "price_amount": None,
        }
    return {"usage_months": found}
