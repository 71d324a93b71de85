{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key='played_on',
    indexes=[{'columns': ['played_on'], 'unique': true}],
    meta={'scope': {'relation': 'int_window_days', 'columns': {'played_on': 'day_on'}}, 'day': 'played_on'}
) }}
{#- A stream makes its listener count from its day until 27 days later, or until the listener's next day with a stream, which takes
    over; in the month to date until the month's end. So every such day opens intervals and closes them, and the distinct listeners of every
    day's windows are running sums: nobody is counted twice, and no window is scanned on its own. -#}
{%- set window_days = ref('int_window_days') %}

with asked as (
    {%- if builds_all() %}
    select day_on from {{ ref('int_days') }}
    union
    select distinct played_on from {{ ref('listener_days') }}
    {%- else %}
    select changed.day_on from {{ window_days }} as changed
    where
        changed.day_on in (select days.day_on from {{ ref('int_days') }} as days)
        or exists (
            select 1 from {{ ref('listener_days') }} as heard
            where changed.day_on = heard.played_on
        )
    union
    select days.day_on from {{ ref('int_days') }} as days
    where days.day_on not in (select standing.played_on from {{ this }} as standing)
    {%- endif %}
),

-- all days that reach into the window of a day that is asked for
needed as (
    select distinct reach.day_on::date as day_on
    from asked
    cross join generate_series(asked.day_on - 30, asked.day_on, interval '1 day') as reach (day_on)
),

listened as (
    select * from {{ of_days(ref('listener_days'), 'played_on', 'needed', 'day_on') }} as listener_days
),

active as (
    select
        played_on,
        lead(played_on) over (partition by listener_key order by played_on) as next_on
    from listened
    where stream_count > 0
),

steps as (
    select
        played_on as day_on,
        1 as in_7d,
        1 as in_28d,
        1 as in_month
    from active
    union all
    select
        least(played_on + 7, next_on) as day_on,
        -1 as in_7d,
        0 as in_28d,
        0 as in_month
    from active
    union all
    select
        least(played_on + 28, next_on) as day_on,
        0 as in_7d,
        -1 as in_28d,
        0 as in_month
    from active
    union all
    select
        least(({{ month_of('played_on') }} + interval '1 month')::date, next_on) as day_on,
        0 as in_7d,
        0 as in_28d,
        -1 as in_month
    from active
    union all
    select
        day_on,
        0 as in_7d,
        0 as in_28d,
        0 as in_month
    from asked
),

by_day as (
    select
        day_on,
        sum(in_7d) as in_7d,
        sum(in_28d) as in_28d,
        sum(in_month) as in_month
    from steps
    group by day_on
),

windows as (
    select
        day_on,
        sum(in_7d) over (order by day_on)::bigint as listeners_7d,
        sum(in_28d) over (order by day_on)::bigint as listeners_28d,
        sum(in_month) over (order by day_on)::bigint as listeners_mtd
    from by_day
),

sums as (
    select
        played_on,
        sum(play_count)::bigint as play_count,
        sum(stream_count)::bigint as stream_count,
        sum(skip_count)::bigint as skip_count,
        sum(completed_count)::bigint as completed_count,
        sum(intentional_count)::bigint as intentional_count,
        sum(session_count)::bigint as session_count,
        sum(ms_played)::bigint as play_time_ms,
        count(*) filter (where stream_count > 0) as listeners_1d
    from listened
    group by played_on
)

select
    asked.day_on as played_on,
    coalesce(sums.play_count, 0) as play_count,
    coalesce(sums.stream_count, 0) as stream_count,
    sums.skip_count,
    sums.completed_count,
    sums.intentional_count,
    coalesce(sums.session_count, 0) as session_count,
    coalesce(sums.play_time_ms, 0) as play_time_ms,
    coalesce(sums.listeners_1d, 0) as listeners_1d,
    windows.listeners_7d,
    windows.listeners_28d,
    windows.listeners_mtd
from asked
inner join windows on asked.day_on = windows.day_on
left join sums on asked.day_on = sums.played_on
