"""The metrics once more, counted from the plays and tables that the reference of the marts gives: nothing is shared with the SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from tests.integration.marts.reference import KEYS, Key
from tests.integration.marts.reference_acquisition import RULES
from tests.integration.marts.reference_content import known
from tests.integration.marts.world import Row

Group = tuple[Any, ...]
STEPS = ("day", "week", "month", "quarter", "year")
MISSING = {"artist": "unknown", "release": "unknown", "country": "ZZ", "channel": "unknown", "tier": "unknown"}
"""Members of rows that do not know theirs."""
COUNTED: dict[str, Callable[[Sequence[Row]], Any]] = {
    "play_count": len,
    "stream_count": lambda plays: sum(play["is_stream"] for play in plays),
    "skip_count": lambda plays: known(play["is_skip"] for play in plays),
    "completed_count": lambda plays: known(play["is_completed"] for play in plays),
    "intentional_count": lambda plays: known(play["is_intentional"] for play in plays),
    "scrobble_count": lambda plays: known(play["is_scrobble"] for play in plays),
    "offline_count": lambda plays: sum(play["is_offline"] for play in plays),
    "estimated_count": lambda plays: sum(play["is_estimated"] for play in plays),
    "play_time_ms": lambda plays: sum(play["ms_played"] for play in plays),
    "avg_duration": lambda plays: sum(play["ms_played"] for play in plays) / len(plays),
    "stream_rate": lambda plays: sum(play["is_stream"] for play in plays) / len(plays),
    "listeners": lambda plays: len({play["listener_key"] for play in plays if play["is_stream"]}),
    "heard_tracks": lambda plays: len({play["track_id"] for play in plays}),
}
"""Metrics of plays, and what each is of some plays."""

MEMBER: dict[str, Callable[[Row], Any]] = {
    "country": lambda play: play["country"] or "ZZ",
    "genre": lambda play: play["genre"] or "unknown",
    "artist": lambda play: play["artist_id"] or "unknown",
    "track": lambda play: play["track_id"],
    "platform": lambda play: play["platform"] or "unknown",
    "tier": lambda play: play["tier"] or "unknown",
    "context_type": lambda play: play["context_type"] or "unknown",
    "skip_bucket": lambda play: play["skip_bucket"] or "none",
}


def stretch(step: str, day: date) -> date:
    """The first day of the day, week (from Monday), month, quarter or year that holds a day."""
    return {
        "day": day,
        "week": day - timedelta(day.weekday()),
        "month": day.replace(day=1),
        "quarter": day.replace(month=day.month - (day.month - 1) % 3, day=1),
        "year": day.replace(month=1, day=1),
    }[step]


def counted(plays: Iterable[Row], metric: str, dimensions: Sequence[str]) -> dict[Group, Any]:
    """A metric of plays by dimensions and stretches of time."""
    groups: dict[Group, list[Row]] = defaultdict(list)
    for play in plays:
        told = (MEMBER[name](play) if name in MEMBER else stretch(name, play["played_on"]) for name in dimensions)
        groups[tuple(told)].append(play)
    return {group: COUNTED[metric](of_group) for group, of_group in groups.items()}


# metrics of other marts -----------------------------------------------------------------------------------------------------------------
def _column(name: str) -> Callable[[Row], Any]:
    return lambda row: row[name]


def _only(test: Callable[[Row], bool], name: str) -> Callable[[Row], Any]:
    return lambda row: row[name] if test(row) else None


def _is_ad(row: Row) -> bool:
    return bool(row["stream_of_revenue"] == "advertising")


ADDED: dict[str, tuple[str, Callable[[Row], Any]]] = {
    "held_streams": ("payable_months", _column("stream_count")),
    "payable_streams": ("payable_months", _column("payable_count")),
    "payable_intentional_streams": ("payable_months", _column("payable_intentional_count")),
    "artificial_held_streams": ("payable_months", _column("artificial_count")),
    "pro_rata_royalties": ("royalty_shares", _column("pro_rata_amount")),
    "user_centric_royalties": ("royalty_shares", _column("user_centric_amount")),
    "artist_centric_royalties": ("royalty_shares", _column("artist_centric_amount")),
    "pool_streams": ("royalty_shares", _column("payable_count")),
    "weighted_streams": ("royalty_shares", _column("weighted_count")),
    "licensed_streams": ("licence_months", _column("share_count")),
    "album_units": ("unit_months", _column("unit_count")),
    "album_sales": ("unit_months", _column("album_sale_count")),
    "track_sales": ("unit_months", _column("track_sale_count")),
    "paid_streams": ("unit_months", _column("paid_stream_count")),
    "ad_streams": ("unit_months", _column("ad_stream_count")),
    "untold_tier_streams": ("unit_months", _column("untold_stream_count")),
    "artificial_streams": ("unit_months", _column("artificial_count")),
    "tier_gross_revenue": ("tier_revenue_days", _column("gross_amount")),
    "tier_refunds": ("tier_revenue_days", _column("refund_amount")),
    "tier_taxes": ("tier_revenue_days", _column("tax_amount")),
    "tier_net_revenue": ("tier_revenue_days", _column("net_amount")),
    "ad_revenue": ("tier_revenue_days", _only(_is_ad, "gross_amount")),
    "priced_impressions": ("tier_revenue_days", lambda row: row["transaction_count"] - row["unconverted_count"] if _is_ad(row) else None),
    "payer_months": ("subscription_months", _only(_column("is_settled"), "opening_payer_count")),
    "churned_of_opening": ("subscription_months", _only(_column("is_settled"), "churned_payer_count")),
    "voluntary_churn": ("subscription_months", _only(_column("is_settled"), "voluntary_churn_count")),
    "payment_failure_churn": ("subscription_months", _only(_column("is_settled"), "payment_failure_churn_count")),
    "unknown_churn": ("subscription_months", _only(_column("is_settled"), "unknown_churn_count")),
    "started_trial_count": ("subscription_periods", lambda row: 1 if row["opened_by"] == "trial_started" else None),
    "touchpoint_count": ("attribution_months", lambda row: row["touchpoint_count"] or None),
    "marketing_cost": ("attribution_months", _column("cost_amount")),
    "conversion_count": ("attribution_months", _column("linear_credit")),
    **{f"{rule}_conversions": ("attribution_months", _column(f"{rule}_credit")) for rule in RULES},
    "entered_count": ("listener_journeys", lambda row: 1),
    "funnel_cohort": ("funnel_weeks", lambda row: None if row["reached_count"] is None else row["listener_count"]),
    "funnel_reached": ("funnel_weeks", _column("reached_count")),
    "exposed_listeners": ("experiment_variants", _column("exposed_count")),
    "judged_listeners": ("experiment_variants", _column("judged_count")),
    "experiment_conversions": ("experiment_variants", _column("converted_count")),
    **{name: ("save_days", _column(name)) for name in ("save_count", "unsave_count", "net_save_count")},
    "playlist_adds": ("playlist_days", _column("add_count")),
    "playlist_removals": ("playlist_days", _column("removal_count")),
    "playlist_reach": ("playlist_days", _column("reach_count")),
    **{
        f"{unit}_{name}": ("retention_cohorts", lambda row, unit=unit, column=column: _cell(row, unit, column))
        for unit in ("day", "month")
        for name, column in (("cohort_size", "listener_count"), ("retained_count", "retained_count"), ("rolling_count", "rolling_count"))
    },
    "payer_cohort_size": ("payer_cohorts", lambda row: None if row["retained_count"] is None else row["payer_count"]),
    "payer_retained_count": ("payer_cohorts", _column("retained_count")),
    **{f"skip_{bucket}": ("listening_days", _column(f"skip_{bucket}_count")) for bucket in ("before_5s", "before_30s", "before_end")},
    "timed_play_count": ("track_days", _column("timed_play_count")),
    **{f"reached_{share}_count": ("track_days", _column(f"reached_{share}_count")) for share in range(10, 101, 10)},
    "session_play_count": ("session_days", _column("play_count")),
    "path_sessions": ("path_days", _column("session_count")),
    "path_step_sessions": ("path_transitions", _column("session_count")),
}
"""Metrics that add up, the mart whose reference holds them, and what a row of it brings (None: nothing)."""

DIVIDED: dict[str, tuple[str, str, int]] = {
    "payable_rate": ("payable_streams", "held_streams", 1),
    "pro_rata_per_stream": ("pro_rata_royalties", "pool_streams", 1),
    "ecpm": ("ad_revenue", "priced_impressions", 1_000),
    "churn_rate": ("churned_of_opening", "payer_months", 1),
    "voluntary_churn_rate": ("voluntary_churn", "payer_months", 1),
    "payment_failure_churn_rate": ("payment_failure_churn", "payer_months", 1),
    "funnel_rate": ("funnel_reached", "funnel_cohort", 1),
    "experiment_conversion": ("experiment_conversions", "judged_listeners", 1),
    "cost_per_conversion": ("marketing_cost", "last_touch_conversions", 1),
    "day_retention": ("day_retained_count", "day_cohort_size", 1),
    "day_rolling_retention": ("day_rolling_count", "day_cohort_size", 1),
    "month_retention": ("month_retained_count", "month_cohort_size", 1),
    "month_rolling_retention": ("month_rolling_count", "month_cohort_size", 1),
    "payer_retention": ("payer_retained_count", "payer_cohort_size", 1),
    "reached_50_rate": ("reached_50_count", "timed_play_count", 1),
    "reached_100_rate": ("reached_100_count", "timed_play_count", 1),
}
"""Ratios: of, over, and what they are multiplied by."""

STANDING: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "ltv": ("subscription_months", "ltv_amount", ("month",)),
    "virality": ("virality_days", "virality_7d", ("day",)),
    "players": ("listening_days", "player_count", ("day",)),
    "mtd_listeners": ("activity_days", "listeners_mtd", ("day",)),
    "spread_p50": ("distribution_days", "p50", ("day", "measure")),
    "spread_p99": ("distribution_days", "p99", ("day", "measure")),
    "artist_monthly_listeners": ("artist_facts", "listeners_28d", ("artist",)),
    "artist_super": ("artist_facts", "super_count", ("artist",)),
    "artist_listener_growth": ("artist_facts", "listener_growth_ratio", ("artist",)),
    "popularity": ("track_facts", "popularity_ratio", ("track",)),
    "experiment_difference": ("experiment_variants", "difference_ratio", ("experiment", "variant")),
}
"""Metrics that stand as they are: their mart, its column, and by what they are asked."""

COLUMN = {
    "holder": "holder_id", "territory": "territory", "tier": "tier", "track": "track_id", "is_eligible": "is_eligible",
    "licence_territory": "licence_territory", "release": "release_id", "country": "country", "stream_of_revenue": "stream_of_revenue",
    "plan": "plan_id", "channel": "channel", "step_number": "step_number", "experiment": "experiment_id", "variant": "variant",
    "playlist_type": "playlist_type", "day_number": "number", "month_number": "number", "path_step": "step", "measure": "measure",
    "payer_month": "month_number", "context_path": "context_path", "source": "source", "target": "target", "artist": "artist_id", "day": "day", "month": "month",
}  # fmt: skip
"""Dimensions whose members the rows of the marts name themselves."""


def _cell(row: Row, unit: str, column: str) -> Any:
    """A column of a cohort's cell of days or months, if it is mature."""
    return None if row["unit"] != unit or row["retained_count"] is None else row[column]


def rows_of(mart: str, reference: Mapping[str, Mapping[Key, Row]]) -> list[Row]:
    """The reference's rows of a mart with their keys, and the day and month by which they stand."""
    rows = []
    for key, row in reference[mart].items():
        whole = dict(zip(KEYS[mart], key, strict=True)) | row
        on = next(
            (whole[column] for column in (*KEYS[mart], "touched_on", "entered_on") if column.endswith("_on") and column in whole), None
        )
        rows.append(whole | ({"day": on, "month": on} if on else {}))
    return rows


def added(name: str, rows: Iterable[Row], by: Sequence[str]) -> dict[Group, Any]:
    """A metric that adds up, by dimensions and stretches of time; without what is not known."""
    groups: dict[Group, Any] = {}
    for row in rows:
        value = ADDED[name][1](row)
        if value is not None:
            members = (stretch(one, row["day"]) if one in STEPS else _member(row, one) for one in by)
            group = tuple(members)
            groups[group] = groups.get(group, 0) + value
    return groups


def _member(row: Row, name: str) -> Any:
    value = row[COLUMN[name]]
    return MISSING.get(name) if value is None else value
