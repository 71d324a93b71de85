{{ config(
    enabled=has('plays', 'tracks'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['artist_id', 'played_on'],
    indexes=[{'columns': ['artist_id', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_play_windows', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}
{#- Listeners of 28 days are counted as in int_activity, by artist. -#}
{%- set changed_windows = ref('int_changed_play_windows') %}

with asked as (
    {%- if builds_all() %}
    select distinct played_on from {{ ref('plays') }}
    {%- else %}
    select changed.played_on from {{ changed_windows }} as changed
    where exists (
            select 1 from {{ ref('plays') }} as plays
            where changed.played_on = plays.played_on
        )
    {%- endif %}
),

needed as (
    select distinct reach.played_on::date as played_on
    from asked
    cross join generate_series(asked.played_on - 27, asked.played_on, interval '1 day') as reach (played_on)
),

listened as (
    select
        artist_id,
        listener_key,
        played_on,
        track_id,
        is_stream,
        is_skip,
        is_intentional,
        ms_played
    from {{ of_days(ref('plays'), 'played_on', 'needed') }} as plays
    where artist_id is not null
),

sums as (
    select
        artist_id,
        played_on,
        count(*) as play_count,
        count(*) filter (where is_stream) as stream_count,
        sum(is_skip::integer) as skip_count,
        sum(is_intentional::integer) as intentional_count,
        sum(ms_played)::bigint as ms_played,
        count(distinct track_id) as track_count,
        count(distinct listener_key) filter (where is_stream) as listeners_1d
    from listened
    where played_on in (select asked.played_on from asked)
    group by artist_id, played_on
),

streamed as (
    select distinct
        artist_id,
        listener_key,
        played_on
    from listened
    where is_stream
),

active as (
    select
        artist_id,
        played_on,
        lead(played_on) over (partition by artist_id, listener_key order by played_on) as next_on
    from streamed
),

steps as (
    select
        artist_id,
        played_on as day_on,
        1 as step
    from active
    union all
    select
        artist_id,
        least(played_on + 28, next_on) as day_on,
        -1 as step
    from active
    union all
    select
        artist_id,
        played_on as day_on,
        0 as step
    from sums
),

by_day as (
    select
        artist_id,
        day_on,
        sum(step) as step
    from steps
    group by artist_id, day_on
),

windows as (
    select
        artist_id,
        day_on,
        sum(step) over (partition by artist_id order by day_on)::bigint as listeners_28d
    from by_day
)

select
    sums.artist_id,
    sums.played_on,
    sums.play_count,
    sums.stream_count,
    sums.skip_count,
    sums.intentional_count,
    sums.ms_played,
    sums.track_count,
    sums.listeners_1d,
    windows.listeners_28d
from sums
inner join windows on sums.artist_id = windows.artist_id and sums.played_on = windows.day_on
