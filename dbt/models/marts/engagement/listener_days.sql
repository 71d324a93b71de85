{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['listener_key', 'played_on'],
    indexes=[{'columns': ['listener_key', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={
        'scope': {'relation': 'int_affected', 'columns': {'listener_key': 'listener_key', 'played_on': 'event_on'}},
        'day': 'played_on',
    }
) }}

with plays as (
    select * from {{ of_affected(ref('plays'), 'played_on') }} as plays
),

sessions as (
    select * from {{ of_affected(ref('sessions'), 'started_on') }} as sessions
),

played as (
    select
        listener_key,
        played_on,
        count(*) as play_count,
        count(*) filter (where is_stream) as stream_count,
        sum(is_skip::integer) as skip_count,
        sum(is_completed::integer) as completed_count,
        sum(is_intentional::integer) as intentional_count,
        sum(ms_played)::bigint as ms_played,
        count(distinct track_id) as track_count,
        count(distinct artist_id) as artist_count,
        (array_agg(country order by played_at, play_id) filter (where country is not null))[1] as country
    from plays
    group by listener_key, played_on
),

-- a session belongs to the date that it starts on
begun as (
    select
        listener_key,
        started_on,
        count(*) as session_count
    from sessions
    group by listener_key, started_on
)

select
    coalesce(played.listener_key, begun.listener_key) as listener_key,
    coalesce(played.played_on, begun.started_on) as played_on,
    coalesce(played.play_count, 0) as play_count,
    coalesce(played.stream_count, 0) as stream_count,
    played.skip_count,
    played.completed_count,
    played.intentional_count,
    coalesce(played.ms_played, 0) as ms_played,
    coalesce(played.track_count, 0) as track_count,
    coalesce(played.artist_count, 0) as artist_count,
    coalesce(begun.session_count, 0) as session_count,
    played.country
from played
full outer join begun on played.listener_key = begun.listener_key and played.played_on = begun.started_on
{{ days_together('played_on') }}
