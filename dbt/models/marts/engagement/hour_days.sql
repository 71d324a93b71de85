{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['played_on', 'hour'],
    indexes=[{'columns': ['played_on', 'hour'], 'unique': true}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

with time_zones as (
    select * from {{ ref('stg_time_zones') }}
),

heard as (
    {% call each_day(ref('int_listens'), 'played_on', ref('int_changed_play_days')) %}
    select
        heard.played_on,
        heard.hour,
        sum(heard.play_count)::bigint as play_count,
        sum(heard.stream_count)::bigint as stream_count,
        sum(heard.ms_played)::bigint as ms_played,
        count(*) filter (where heard.stream_count > 0) as listeners_in_hour
    from (
        -- a row a listener: distinct ones are counted without sorting plays
        select
            of_day.played_on,
            of_day.listener_id,
            extract(hour from of_day.played_at at time zone time_zones.time_zone)::smallint as hour,
            count(*) as play_count,
            count(*) filter (where of_day.is_stream) as stream_count,
            sum(of_day.ms_played)::bigint as ms_played
        from of_day
        inner join time_zones
            on of_day.played_at >= time_zones.valid_from_at and of_day.played_at < time_zones.valid_to_at
        group by
            of_day.played_on, of_day.listener_id, extract(hour from of_day.played_at at time zone time_zones.time_zone)::smallint
    ) as heard
    group by heard.played_on, heard.hour
    {% endcall %}
),

asked as (
    select distinct played_on from heard
),

-- the day's own clock, by its quarters: an hour that comes twice has eight of them, one that is skipped has none
quarters as (
    select
        asked.played_on,
        quarters.quarter_at at time zone time_zones.time_zone as clock_at
    from asked
    cross join
        lateral generate_series(asked.played_on - interval '1 day', asked.played_on + interval '2 days', interval '15 minutes')
            as clocks (utc_at)
    cross join lateral (select clocks.utc_at at time zone 'UTC' as quarter_at) as quarters
    inner join time_zones
        on quarters.quarter_at >= time_zones.valid_from_at and quarters.quarter_at < time_zones.valid_to_at
),

clock as (
    select
        played_on,
        extract(hour from clock_at)::smallint as hour,
        count(*) / 4.0 as clock_hours
    from quarters
    where clock_at::date = played_on
    group by played_on, extract(hour from clock_at)
)

select
    clock.played_on,
    clock.hour,
    extract(isodow from clock.played_on)::smallint as weekday,
    clock.clock_hours::double precision as clock_hours,
    coalesce(heard.play_count, 0) as play_count,
    coalesce(heard.stream_count, 0) as stream_count,
    coalesce(heard.ms_played, 0) as ms_played,
    coalesce(heard.listeners_in_hour, 0) as listeners_in_hour
from clock
left join heard on clock.played_on = heard.played_on and clock.hour = heard.hour
