{{ config(enabled=has('plays', 'interactions'), indexes=[{'columns': ['day_on'], 'unique': true}]) }}
{#- Made whole: what it costs follows the number of days, whose sums stand already. -#}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

activity as (
    select
        played_on,
        listeners_7d
    from {{ ref('int_activity') }}
),

counted as (
    select
        shared_on as day_on,
        share_count,
        0 as new_listener_count
    from {{ ref('int_share_days') }}
    union all
    select
        first_streamed_on as day_on,
        0 as share_count,
        1 as new_listener_count
    from {{ ref('int_listener_totals') }}
    where first_streamed_on is not null
    union all
    select
        played_on as day_on,
        0 as share_count,
        0 as new_listener_count
    from activity
),

by_day as (
    select
        day_on,
        sum(share_count) as share_count,
        sum(new_listener_count) as new_listener_count
    from counted
    group by day_on
),

windows as (
    select
        day_on,
        sum(share_count) over seven_days as share_count_7d,
        sum(new_listener_count) over seven_days as new_listeners_7d
    from by_day
    window seven_days as (order by day_on range between interval '6 days' preceding and current row)
),

known as (
    select
        activity.played_on as day_on,
        activity.listeners_7d,
        windows.share_count_7d::bigint as share_count_7d,
        -- in the first days of deliveries everybody is new
        case when activity.played_on - 7 >= tenant.begins_on then windows.new_listeners_7d::bigint end as new_listeners_7d
    from activity
    inner join windows on activity.played_on = windows.day_on
    cross join tenant
)

select
    day_on,
    listeners_7d,
    share_count_7d,
    new_listeners_7d,
    share_count_7d::double precision / nullif(listeners_7d, 0) as shares_per_listener_7d,
    new_listeners_7d::double precision / nullif(share_count_7d, 0) as new_listeners_per_share_7d,
    share_count_7d::double precision / nullif(listeners_7d, 0) * new_listeners_7d / nullif(share_count_7d, 0) as virality_7d
from known
