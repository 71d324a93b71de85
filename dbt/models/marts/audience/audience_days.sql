{{ config(
    enabled=has('plays', 'listeners'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['channel', 'gender', 'home_country', 'played_on'],
    indexes=[{'columns': ['channel', 'gender', 'home_country', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_audience_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}
{%- set changed_days = ref('int_changed_audience_days') %}

with days as (
    select * from {{ of_days(ref('listener_days'), 'played_on', changed_days) }} as listener_days
),

sessions as (
    select * from {{ of_days(ref('sessions'), 'started_on', changed_days, 'played_on') }} as sessions
),

listeners as (
    select
        listener_key,
        channel,
        gender,
        country
    from {{ ref('stg_listeners') }}
),

-- of a listener's sessions of a day what the day itself does not hold
begun as (
    select
        listener_key,
        started_on,
        sum(play_count)::bigint as play_count,
        sum(duration_seconds::numeric) as duration_seconds
    from sessions
    group by listener_key, started_on
)

select
    coalesce(listeners.channel, 'unknown') as channel,
    coalesce(listeners.gender, 'unknown') as gender,
    coalesce(listeners.country, 'ZZ') as home_country,
    days.played_on,
    sum(days.play_count)::bigint as play_count,
    sum(days.stream_count)::bigint as stream_count,
    sum(days.skip_count)::bigint as skip_count,
    sum(days.completed_count)::bigint as completed_count,
    sum(days.intentional_count)::bigint as intentional_count,
    sum(days.ms_played)::bigint as ms_played,
    count(*) filter (where days.stream_count > 0) as listeners_1d,
    sum(days.session_count)::bigint as session_count,
    coalesce(sum(begun.play_count), 0)::bigint as session_play_count,
    -- as numbers: the sum of floats depends on the order in which rows stand
    coalesce(sum(begun.duration_seconds), 0)::double precision as session_seconds
from days
left join begun on days.listener_key = begun.listener_key and days.played_on = begun.started_on
left join listeners on days.listener_key = listeners.listener_key
group by
    coalesce(listeners.channel, 'unknown'),
    coalesce(listeners.gender, 'unknown'),
    coalesce(listeners.country, 'ZZ'),
    days.played_on
{{ days_together('days.played_on') }}
