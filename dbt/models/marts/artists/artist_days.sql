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

sums as (
    select
        artist_id,
        played_on,
        sum(play_count) as play_count,
        sum(stream_count) as stream_count,
        sum(skip_count) as skip_count,
        sum(intentional_count) as intentional_count,
        sum(ms_played)::bigint as ms_played,
        count(*) filter (where is_listener) as listeners_1d
    from {{ of_days(ref('int_artist_listener_days'), 'played_on', 'asked') }} as listened
    group by artist_id, played_on
),

tracks as (
    select
        tracks.artist_id,
        heard.played_on,
        count(distinct heard.track_id) as track_count
    from {{ of_days(ref('track_days'), 'played_on', 'asked') }} as heard
    inner join {{ ref('stg_tracks') }} as tracks on heard.track_id = tracks.track_id
    group by tracks.artist_id, heard.played_on
),

active as (
    select
        artist_id,
        played_on,
        lead(played_on) over (partition by listener_id, artist_id order by played_on) as next_on
    from {{ of_days(ref('int_artist_listener_days'), 'played_on', 'needed') }} as listened
    where is_listener
),

-- listeners who count from a day until another, before which they stream the artist again or have not done so for 28 days
spans as (
    select
        artist_id,
        played_on,
        least(played_on + 28, next_on) as until_on,
        count(*) as listener_count
    from active
    group by artist_id, played_on, least(played_on + 28, next_on)
),

steps as (
    select
        artist_id,
        played_on as day_on,
        listener_count as step
    from spans
    union all
    select
        artist_id,
        until_on as day_on,
        -listener_count as step
    from spans
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
    tracks.track_count,
    sums.listeners_1d,
    windows.listeners_28d
from sums
inner join windows on sums.artist_id = windows.artist_id and sums.played_on = windows.day_on
inner join tracks on sums.artist_id = tracks.artist_id and sums.played_on = tracks.played_on
{{ days_together('sums.played_on') }}
