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
        sum(listener_days.stream_count)::bigint as streams_28d
    from {{ ref('listener_days') }} as listener_days
    inner join tenant
        on listener_days.played_on > tenant.business_day - 28 and listener_days.played_on <= tenant.business_day
    group by listener_days.listener_key
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
    coalesce(recent.streams_28d, 0) as streams_28d
from listeners
full outer join totals on listeners.listener_key = totals.listener_key
left join recent on coalesce(listeners.listener_key, totals.listener_key) = recent.listener_key
left join time_zones
    on listeners.signed_up_at >= time_zones.valid_from_at and listeners.signed_up_at < time_zones.valid_to_at
