"""What a report asks of the published marts and predictions: a query for each subject, with what it needs to be there.

Sums are exact (`numeric` or whole numbers): the same rows give the same digits, in whatever order PostgreSQL adds them up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Query:
    """One subject: `needs` are the tables that it reads (`ml.` before those of predictions), each with the columns that it takes.

    In `text`, {marts} and {ml} are the tenant's schemas; parameters are `day`, `zone` and days before it (`d7`: 7 days before, ...).
    """

    subject: str
    needs: Mapping[str, str]
    text: str


QUERIES: Final = (
    Query(
        "activity",
        {
            "activity_days": "played_on play_count stream_count listeners_1d listeners_7d listeners_28d stickiness_ratio"
            " skip_ratio completion_ratio play_time_ms new_listener_count is_final",
        },
        """
        SELECT played_on, play_count, stream_count, listeners_1d, listeners_7d, listeners_28d, stickiness_ratio, skip_ratio,
               completion_ratio, play_time_ms, new_listener_count, is_final
          FROM {marts}.activity_days
         WHERE played_on > %(d400)s AND played_on <= %(day)s
         ORDER BY played_on
        """,
    ),
    Query(
        "hours",
        {"plays": "played_at played_on is_stream"},
        """
        SELECT extract(isodow FROM played_at AT TIME ZONE %(zone)s)::int AS weekday,
               extract(hour FROM played_at AT TIME ZONE %(zone)s)::int AS hour,
               count(*) AS stream_count
          FROM {marts}.plays
         WHERE played_on > %(d28)s AND played_on <= %(day)s AND is_stream
         GROUP BY 1, 2
         ORDER BY 1, 2
        """,
    ),
    Query(
        "tracks",
        {
            "track_days": "track_id played_on play_count stream_count skip_count",
            "track_facts": "track_id title artist_name genre released_on",
        },
        """
        WITH sums AS (
            SELECT track_id,
                   coalesce(sum(stream_count) FILTER (WHERE played_on > %(d28)s), 0)::bigint AS streams_28d,
                   coalesce(sum(stream_count) FILTER (WHERE played_on <= %(d28)s), 0)::bigint AS streams_28d_before,
                   coalesce(sum(stream_count) FILTER (WHERE played_on > %(d7)s), 0)::bigint AS streams_7d,
                   coalesce(sum(stream_count) FILTER (WHERE played_on > %(d14)s AND played_on <= %(d7)s), 0)::bigint AS streams_7d_before,
                   coalesce(sum(play_count) FILTER (WHERE played_on > %(d28)s), 0)::bigint AS plays_28d,
                   (sum(skip_count) FILTER (WHERE played_on > %(d28)s))::bigint AS skips_28d
              FROM {marts}.track_days
             WHERE played_on > %(d56)s AND played_on <= %(day)s
             GROUP BY track_id
        ), ranked AS (
            SELECT *, row_number() OVER (ORDER BY streams_28d DESC, track_id) AS place,
                   row_number() OVER (ORDER BY streams_7d - streams_7d_before DESC, track_id) AS rising_place
              FROM sums
        )
        SELECT ranked.*, facts.title, facts.artist_name, facts.genre, facts.released_on
          FROM ranked LEFT JOIN {marts}.track_facts AS facts USING (track_id)
         WHERE (place <= 100 OR rising_place <= 10) AND ranked.streams_28d > 0
         ORDER BY place
        """,
    ),
    Query(
        "countries",
        {"track_days": "country played_on stream_count"},
        """
        SELECT nullif(country, 'ZZ') AS country,
               coalesce(sum(stream_count) FILTER (WHERE played_on > %(d28)s), 0)::bigint AS streams_28d,
               coalesce(sum(stream_count) FILTER (WHERE played_on <= %(d28)s), 0)::bigint AS streams_28d_before
          FROM {marts}.track_days
         WHERE played_on > %(d56)s AND played_on <= %(day)s
         GROUP BY 1
        HAVING sum(stream_count) FILTER (WHERE played_on > %(d28)s) > 0
         ORDER BY streams_28d DESC, 1
        """,
    ),
    Query(
        "artists",
        {"artist_days": "artist_id played_on stream_count", "track_facts": "artist_id artist_name"},
        """
        WITH names AS (
            SELECT artist_id, min(artist_name) AS artist_name FROM {marts}.track_facts GROUP BY artist_id
        ), sums AS (
            SELECT artist_id,
                   coalesce(sum(stream_count) FILTER (WHERE played_on > %(d28)s), 0)::bigint AS streams_28d,
                   coalesce(sum(stream_count) FILTER (WHERE played_on <= %(d28)s), 0)::bigint AS streams_28d_before
              FROM {marts}.artist_days
             WHERE played_on > %(d56)s AND played_on <= %(day)s
             GROUP BY artist_id
        )
        SELECT sums.*, names.artist_name
          FROM sums LEFT JOIN names USING (artist_id)
         WHERE streams_28d > 0
         ORDER BY streams_28d DESC, artist_id
         LIMIT 100
        """,
    ),
    Query(
        "genres",
        {"genre_days": "genre played_on stream_count"},
        """
        SELECT nullif(genre, 'unknown') AS genre,
               coalesce(sum(stream_count) FILTER (WHERE played_on > %(d28)s), 0)::bigint AS streams_28d,
               coalesce(sum(stream_count) FILTER (WHERE played_on <= %(d28)s), 0)::bigint AS streams_28d_before
          FROM {marts}.genre_days
         WHERE played_on > %(d56)s AND played_on <= %(day)s
         GROUP BY 1
        HAVING sum(stream_count) FILTER (WHERE played_on > %(d28)s) > 0
         ORDER BY streams_28d DESC, 1
        """,
    ),
    Query(
        "listener_groups",
        {"listener_facts": "country channel first_streamed_on last_streamed_on"},
        """
        SELECT country, channel, count(*) AS listener_count,
               count(*) FILTER (WHERE last_streamed_on > %(d28)s) AS active_count,
               count(*) FILTER (WHERE first_streamed_on > %(d28)s) AS new_count
          FROM {marts}.listener_facts
         WHERE first_streamed_on <= %(day)s
         GROUP BY country, channel
         ORDER BY country, channel
        """,
    ),
    Query(
        "retention",
        {"retention_weeks": "cohort_on week listener_count retained_count retention_ratio"},
        """
        SELECT cohort_on, week, listener_count, retained_count, retention_ratio
          FROM {marts}.retention_weeks
         WHERE cohort_on > %(d119)s AND cohort_on <= %(day)s
         ORDER BY cohort_on, week
        """,
    ),
    Query(
        "subscriptions",
        {
            "mrr_days": "day_on opening_amount new_amount expansion_amount contraction_amount churn_amount"
            " reactivation_amount closing_amount payer_count arppu_amount",
        },
        """
        SELECT day_on AS day, opening_amount, new_amount, expansion_amount, contraction_amount, churn_amount,
               reactivation_amount, closing_amount, payer_count, arppu_amount
          FROM {marts}.mrr_days
         WHERE day_on > %(d400)s AND day_on <= %(day)s
         ORDER BY day_on
        """,
    ),
    Query(
        "revenue",
        {"revenue_days": "revenue_on country stream_of_revenue gross_amount net_amount"},
        """
        SELECT revenue_on AS day, stream_of_revenue, sum(gross_amount) AS gross_amount, sum(net_amount) AS net_amount
          FROM {marts}.revenue_days
         WHERE revenue_on > %(d400)s AND revenue_on <= %(day)s
         GROUP BY revenue_on, stream_of_revenue
         ORDER BY revenue_on, stream_of_revenue
        """,
    ),
    Query(
        "revenue_countries",
        {"revenue_days": "revenue_on country stream_of_revenue gross_amount net_amount"},
        """
        SELECT nullif(country, 'ZZ') AS country,
               sum(net_amount) FILTER (WHERE revenue_on > %(d28)s) AS net_amount,
               sum(net_amount) FILTER (WHERE revenue_on <= %(d28)s) AS net_amount_before
          FROM {marts}.revenue_days
         WHERE revenue_on > %(d56)s AND revenue_on <= %(day)s
         GROUP BY 1
        HAVING sum(net_amount) FILTER (WHERE revenue_on > %(d28)s) <> 0
         ORDER BY 2 DESC, 1
        """,
    ),
    Query(
        "statements",
        {"statement_months": "month_on service track_id stream_count net_amount"},
        """
        SELECT month_on AS month, nullif(service, 'unknown') AS service, sum(stream_count)::bigint AS stream_count,
               sum(net_amount) AS net_amount
          FROM {marts}.statement_months
         WHERE month_on > %(d400)s AND month_on <= %(day)s
         GROUP BY 1, 2
         ORDER BY 1, 2
        """,
    ),
    Query(
        "statement_tracks",
        {
            "statement_months": "month_on service track_id stream_count net_amount",
            "track_facts": "track_id title artist_name",
        },
        """
        WITH latest AS (
            SELECT max(month_on) AS month FROM {marts}.statement_months WHERE month_on <= %(day)s
        ), sums AS (
            SELECT month_on AS month, track_id, sum(stream_count)::bigint AS stream_count, sum(net_amount) AS net_amount
              FROM {marts}.statement_months
             WHERE month_on = (SELECT month FROM latest)
             GROUP BY month_on, track_id
        )
        SELECT sums.*, facts.title, facts.artist_name
          FROM sums LEFT JOIN {marts}.track_facts AS facts USING (track_id)
         ORDER BY net_amount DESC, track_id
         LIMIT 50
        """,
    ),
    Query(
        "holders",
        {"holder_days": "holder_id holder_name played_on stream_count market_share_ratio"},
        """
        SELECT holder_id, max(holder_name) AS holder_name, sum(stream_count) AS stream_count,
               sum(stream_count) / nullif(sum(sum(stream_count)) OVER (), 0) AS part_ratio,
               bool_and(market_share_ratio IS NOT NULL) AS is_market_share
          FROM {marts}.holder_days
         WHERE played_on > %(d28)s AND played_on <= %(day)s
         GROUP BY holder_id
         ORDER BY 3 DESC, holder_id
         LIMIT 50
        """,
    ),
    Query(
        "reconciliation",
        {
            "reconciliation": "dataset received_on delivered_count left_out_count valid_count quarantined_count held_batch_count"
            " difference_count",
        },
        """
        SELECT dataset, received_on, delivered_count, left_out_count, coalesce(valid_count, 0) AS valid_count,
               coalesce(quarantined_count, 0) AS quarantined_count, held_batch_count, difference_count
          FROM {marts}.reconciliation
         WHERE received_on > %(d28)s AND received_on <= %(day)s
         ORDER BY dataset, received_on
        """,
    ),
    Query(
        "layers",
        {
            "reconciliation_days": "dataset event_on silver_count duplicate_count warehouse_count mart_count joined_count"
            " zero_length_count difference_count",
        },
        """
        SELECT dataset, sum(silver_count)::bigint AS silver_count, sum(duplicate_count)::bigint AS duplicate_count,
               sum(warehouse_count)::bigint AS warehouse_count, sum(mart_count)::bigint AS mart_count,
               sum(joined_count)::bigint AS joined_count, sum(zero_length_count)::bigint AS zero_length_count,
               sum(abs(difference_count))::bigint AS difference_count
          FROM {marts}.reconciliation_days
         WHERE event_on > %(d28)s AND event_on <= %(day)s
         GROUP BY dataset
         ORDER BY dataset
        """,
    ),
    Query(
        "forecasts",
        {"ml.stream_forecasts": "forecast_on target_on metric value low high model_version"},
        """
        SELECT forecast_on, target_on, metric, value, low, high, model_version
          FROM {ml}.stream_forecasts
         WHERE forecast_on = (SELECT max(forecast_on) FROM {ml}.stream_forecasts WHERE forecast_on <= %(day)s AND forecast_on > %(d7)s)
           AND target_on > %(day)s
         ORDER BY metric, target_on
        """,
    ),
    Query(
        # What was said a week ahead, beside what came.
        "forecast_checks",
        {
            "ml.stream_forecasts": "forecast_on target_on metric value low high model_version",
            "activity_days": "played_on stream_count",
        },
        """
        SELECT said.target_on, said.metric, said.value, said.low, said.high, came.stream_count AS actual
          FROM {ml}.stream_forecasts AS said JOIN {marts}.activity_days AS came ON came.played_on = said.target_on
         WHERE said.target_on > %(d56)s AND said.target_on <= %(day)s AND said.forecast_on = said.target_on - 7
         ORDER BY said.metric, said.target_on
        """,
    ),
    Query(
        "churn",
        {"ml.churn_predictions": "listener_key predicted_on probability horizon_days model_version"},
        """
        SELECT predicted_on, model_version, horizon_days, least(floor(probability * 10), 9)::int AS tenth, count(*) AS listener_count,
               sum(probability::numeric) AS expected_count
          FROM {ml}.churn_predictions
         WHERE predicted_on = (SELECT max(predicted_on) FROM {ml}.churn_predictions WHERE predicted_on <= %(day)s AND predicted_on > %(d7)s)
         GROUP BY 1, 2, 3, 4
         ORDER BY 4, 2
        """,
    ),
    Query(
        "genre_predictions",
        {"ml.genre_predictions": "track_id predicted_on genre probability model_version"},
        """
        WITH newest AS (
            SELECT DISTINCT ON (track_id) track_id, genre, probability, model_version
              FROM {ml}.genre_predictions
             WHERE predicted_on <= %(day)s
             ORDER BY track_id, predicted_on DESC, probability DESC
        )
        SELECT genre, count(*) AS track_count, avg(probability::numeric) AS probability, max(model_version) AS model_version
          FROM newest
         GROUP BY genre
         ORDER BY track_count DESC, genre
        """,
    ),
    Query(
        "insights",
        {"ml.insights": "insight_id found_on rank metric dimension member_name value expected change_ratio severity text"},
        """
        SELECT rank, severity, metric, dimension, member_name, value, expected, change_ratio, text
          FROM {ml}.insights
         WHERE found_on = %(day)s
         ORDER BY rank, insight_id
        """,
    ),
)
"""Every subject, in the order of a report."""

BEFORE: Final = (7, 14, 28, 56, 119, 400)
"""The days before the report's that queries may name."""
