{{ config(
    enabled=has('plays', 'tracks'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['release_id', 'played_on'],
    indexes=[{'columns': ['release_id', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_release_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

with tracks as (
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
    {% call each_day(ref('int_listens'), 'played_on', ref('int_changed_release_days')) %}
    select
        tracks.release_id,
        of_day.played_on,
        count(*) as play_count,
        count(*) filter (where of_day.is_stream) as stream_count,
        sum(of_day.ms_played)::bigint as ms_played,
        count(distinct of_day.track_id) as track_count,
        count(distinct of_day.listener_id) filter (where of_day.is_stream) as listeners_1d
    from of_day
    inner join tracks on of_day.track_id = tracks.track_id
    group by tracks.release_id, of_day.played_on
    {% endcall %}
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
