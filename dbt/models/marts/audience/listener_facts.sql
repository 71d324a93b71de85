{{ config(enabled=has('plays', 'listeners'), indexes=[{'columns': ['listener_key'], 'unique': true}]) }}

with listeners as (
    select * from {{ ref('stg_listeners') }}
),

totals as (
    select * from {{ ref('int_listener_totals') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

time_zones as (
    select * from {{ ref('stg_time_zones') }}
),

recent as (
    select
        listener_days.listener_key,
        sum(listener_days.stream_count)::bigint as streams_28d,
        count(*) filter (where listener_days.stream_count > 0) as active_days_28d,
        sum(listener_days.ms_played)::bigint as play_time_28d_ms,
        min(tenant.business_day - listener_days.played_on) filter (where listener_days.stream_count > 0) as recency_days
    from {{ ref('listener_days') }} as listener_days
    inner join tenant
        on listener_days.played_on > tenant.business_day - 28 and listener_days.played_on <= tenant.business_day
    group by listener_days.listener_key
),

-- quintiles of the listeners of the window: the best fifth has five, and who are alike have the same
scored as (
    select
        listener_key,
        5 - 5 * (rank() over (order by recency_days) - 1) / count(*) over () as recency_score,
        5 - 5 * (rank() over (order by active_days_28d desc) - 1) / count(*) over () as frequency_score,
        5 - 5 * (rank() over (order by play_time_28d_ms desc) - 1) / count(*) over () as listening_score,
        (
            40 * active_days_28d
            + 30 * (28 - recency_days)
            + 30.0 * least(play_time_28d_ms, 28 * 3600000.0) / 3600000.0
        ) / 28 as engagement_score
    from recent
    where streams_28d > 0
)

select
    coalesce(listeners.listener_key, totals.listener_key) as listener_key,
    listeners.country,
    listeners.channel,
    listeners.gender,
    listeners.birth_year,
    (listeners.signed_up_at at time zone time_zones.time_zone)::date as signed_up_on,
    totals.first_streamed_on,
    totals.last_streamed_on,
    coalesce(totals.play_count, 0) as play_count,
    coalesce(totals.stream_count, 0) as stream_count,
    coalesce(totals.ms_played, 0) as ms_played,
    coalesce(totals.session_count, 0) as session_count,
    coalesce(totals.active_day_count, 0) as active_day_count,
    coalesce(recent.streams_28d, 0) as streams_28d,
    coalesce(recent.active_days_28d, 0) as active_days_28d,
    coalesce(recent.play_time_28d_ms, 0) as play_time_28d_ms,
    -- a stream after the business day, delivered early, is not yet told
    coalesce(
        recent.recency_days,
        case when totals.last_streamed_on <= tenant.business_day then tenant.business_day - totals.last_streamed_on end
    ) as recency_days,
    scored.recency_score::smallint as recency_score,
    scored.frequency_score::smallint as frequency_score,
    scored.listening_score::smallint as listening_score,
    case
        when coalesce(totals.first_streamed_on > tenant.business_day, true) then 'never_listened'
        when tenant.business_day - totals.last_streamed_on >= 56 then 'lost'
        when scored.listener_key is null then 'lapsed'
        when tenant.business_day - totals.first_streamed_on < 28 then 'new'
        when scored.recency_score >= 4 and scored.frequency_score >= 4 and scored.listening_score >= 4 then 'champion'
        when scored.recency_score >= 3 and scored.frequency_score >= 4 then 'loyal'
        when scored.recency_score <= 2 and (scored.frequency_score >= 3 or scored.listening_score >= 3) then 'at_risk'
        when scored.recency_score <= 2 then 'fading'
        when scored.recency_score >= 4 then 'promising'
        else 'regular'
    end as segment,
    coalesce(scored.engagement_score, 0)::numeric(4, 1) as engagement_score
from listeners
full outer join totals on listeners.listener_key = totals.listener_key
cross join tenant
left join recent on coalesce(listeners.listener_key, totals.listener_key) = recent.listener_key
left join scored on recent.listener_key = scored.listener_key
left join time_zones
    on listeners.signed_up_at >= time_zones.valid_from_at and listeners.signed_up_at < time_zones.valid_to_at
