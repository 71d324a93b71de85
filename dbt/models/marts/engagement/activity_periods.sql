{{ config(indexes=[{'columns': ['period', 'starts_on'], 'unique': true}]) }}
{#- Made of a row a day alone: distinct listeners of the week and of the month stand on the last day of each. -#}

with days as (
    select * from {{ ref('activity_days') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

in_periods as (
    select
        *,
        'week' as period,
        {{ week_of('played_on') }} as starts_on,
        {{ week_of('played_on') }} + 6 as ends_on,
        listeners_7d as listeners_in_period
    from days
    union all
    select
        *,
        'month' as period,
        {{ month_of('played_on') }} as starts_on,
        {{ month_end('played_on') }} as ends_on,
        listeners_mtd as listeners_in_period
    from days
),

told as (
    select
        in_periods.*,
        in_periods.played_on between tenant.begins_on and tenant.business_day as is_known,
        in_periods.ends_on <= tenant.business_day as is_over,
        in_periods.played_on = in_periods.ends_on and in_periods.ends_on <= tenant.business_day as is_last
    from in_periods
    cross join tenant
)

select
    period,
    starts_on,
    ends_on,
    count(*) filter (where is_known) as day_count,
    sum(play_count)::bigint as play_count,
    sum(stream_count)::bigint as stream_count,
    sum(skip_count)::bigint as skip_count,
    sum(completed_count)::bigint as completed_count,
    sum(intentional_count)::bigint as intentional_count,
    sum(session_count)::bigint as session_count,
    sum(play_time_ms)::bigint as play_time_ms,
    sum(new_listener_count)::bigint as new_listener_count,
    avg(listeners_1d) filter (where is_known)::double precision as listeners_1d_mean,
    max(listeners_7d) filter (where is_last) as listeners_7d,
    max(listeners_28d) filter (where is_last) as listeners_28d,
    max(listeners_in_period) filter (where is_last) as listeners_in_period,
    max(stickiness_ratio) filter (where is_last) as stickiness_ratio,
    sum(skip_count)::double precision / nullif(sum(play_count), 0) as skip_ratio,
    sum(completed_count)::double precision / nullif(sum(play_count), 0) as completion_ratio,
    bool_and(is_over) as is_over,
    bool_and(is_over and is_final) as is_final
from told
group by period, starts_on, ends_on
