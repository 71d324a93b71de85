"""What is watched: metrics, where they stand in the published marts, and the dimensions that may explain their changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Dimension:
    """A way to split a metric: the mart that holds it, and the member's column.

    Only sums are split: distinct counts and ratios of members do not add up to the total's.
    """

    name: str
    mart: str
    member: str


@dataclass(frozen=True)
class Metric:
    """One watched number a day.

    measure             a column of the mart; its sum over the mart's rows of a day is the value; a ratio is one row a day
    weight              the column that counts what a ratio is a share of, or what an amount is made of
    worth               the smallest change worth a sentence
    noise               how many of the things counted come together (one listener brings many streams): widens what chance may do
    settles_after_days  how long after the first delivery it means little (at first, every listener is new)
    adds_up             whether days make a week: distinct listeners and ratios do not
    follows_months      whether days are alike a month apart as well (renewals): such a day is no surprise
    """

    name: str
    label: str
    mart: str
    day: str
    measure: str
    kind: Literal["count", "amount", "ratio"] = "count"
    weight: str | None = None
    dimensions: tuple[Dimension, ...] = ()
    worth: float = 0.0
    noise: float = 1.0
    settles_after_days: int = 0
    adds_up: bool = True
    follows_months: bool = False

    @property
    def columns(self) -> frozenset[tuple[str, str]]:
        """(mart, column) of everything that it reads."""
        own = {(self.mart, self.day), (self.mart, self.measure)} | ({(self.mart, self.weight)} if self.weight else set())
        return frozenset(own | {(one.mart, column) for one in self.dimensions for column in (self.day, one.member, self.measure)})


METRICS: tuple[Metric, ...] = (
    Metric(
        "stream_count",
        "Streams",
        "activity_days",
        "played_on",
        "stream_count",
        dimensions=(
            Dimension("track", "track_days", "track_id"),
            Dimension("artist", "artist_days", "artist_id"),
            Dimension("genre", "genre_days", "genre"),
            Dimension("country", "track_days", "country"),
        ),
        worth=30,
        noise=8,
    ),
    Metric("listeners_1d", "Listeners", "activity_days", "played_on", "listeners_1d", worth=15, adds_up=False),
    Metric("new_listener_count", "New listeners", "activity_days", "played_on", "new_listener_count", worth=10, settles_after_days=56),
    Metric(
        "skip_ratio",
        "The skip rate",
        "activity_days",
        "played_on",
        "skip_ratio",
        kind="ratio",
        weight="play_count",
        worth=0.02,
        adds_up=False,
    ),
    Metric(
        "completion_ratio",
        "The completion rate",
        "activity_days",
        "played_on",
        "completion_ratio",
        kind="ratio",
        weight="play_count",
        worth=0.02,
        adds_up=False,
    ),
    Metric(
        "net_amount",
        "Net revenue",
        "revenue_days",
        "revenue_on",
        "net_amount",
        kind="amount",
        weight="transaction_count",
        dimensions=(Dimension("country", "revenue_days", "country"), Dimension("stream_of_revenue", "revenue_days", "stream_of_revenue")),
        noise=2,
        settles_after_days=56,
        follows_months=True,
    ),
    Metric("new_payer_count", "New payers", "mrr_days", "day_on", "new_payer_count", worth=10, settles_after_days=56),
)
"""In the order in which equal findings are told."""

SPECIFIC_FIRST = ("track", "artist", "genre", "country")
"""Dimensions from the most to the least specific: where two explain a change alike, the more specific one is named."""

PLAYS = Metric("play_count", "Plays", "plays", "played_on", "play_id", noise=8)
"""Hours in which nothing was played; not compared day by day, where streams say the same."""
