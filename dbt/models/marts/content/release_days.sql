{{ config(
    enabled=has('plays', 'tracks'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['release_id', 'played_on'],
    indexes=[{'columns': ['release_id', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_release_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

with plays as (
    select * from {{ of_days(ref('plays'), 'played_on', ref('int_changed_release_days')) }} as plays
),

tracks as (
    select
        track_id,
        release_id
    from {{ ref('stg_tracks') }}
    where release_id is not null
),

releases as (
    select * from {{ ref('stg_releases') }}
),

sums as (
    select
        tracks.release_id,
        plays.played_on,
        count(*) as play_count,
        count(*) filter (where plays.is_stream) as stream_count,
        sum(plays.ms_played)::bigint as ms_played,
        count(distinct plays.track_id) as track_count,
        count(distinct plays.listener_key) filter (where plays.is_stream) as listeners_1d
    from plays
    inner join tracks on plays.track_id = tracks.track_id
    group by tracks.release_id, plays.played_on
)

select
    sums.release_id,
    sums.played_on,
    sums.played_on - releases.released_on as days_since_release,
    sums.play_count,
    sums.stream_count,
    sums.ms_played,
    sums.track_count,
    sums.listeners_1d
from sums
left join releases on sums.release_id = releases.release_id
