{{ config(
    enabled=has('plays', 'tracks'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['release_age', 'played_on'],
    indexes=[{'columns': ['release_age', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_release_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

with tracks as (
    select
        track_id,
        released_on
    from {{ ref('stg_tracks') }}
),

sums as (
    {% call each_day(ref('int_listens'), 'played_on', ref('int_changed_release_days')) %}
    select
        heard.release_age,
        heard.played_on,
        sum(heard.play_count)::bigint as play_count,
        sum(heard.stream_count)::bigint as stream_count,
        sum(heard.ms_played)::bigint as ms_played,
        count(*) filter (where heard.stream_count > 0) as listeners_1d
    from (
        -- a row a listener: distinct ones are counted without sorting plays
        select
            {{ release_age('tracks.released_on', 'of_day.played_on') }} as release_age,
            of_day.played_on,
            of_day.listener_id,
            count(*) as play_count,
            count(*) filter (where of_day.is_stream) as stream_count,
            sum(of_day.ms_played)::bigint as ms_played
        from of_day
        left join tracks on of_day.track_id = tracks.track_id
        group by {{ release_age('tracks.released_on', 'of_day.played_on') }}, of_day.played_on, of_day.listener_id
    ) as heard
    group by heard.release_age, heard.played_on
    {% endcall %}
),

tracks_heard as (
    select
        {{ release_age('tracks.released_on', 'track_days.played_on') }} as release_age,
        track_days.played_on,
        count(distinct track_days.track_id) as track_count
    from {{ of_days(ref('track_days'), 'played_on', ref('int_changed_release_days')) }} as track_days
    left join tracks on track_days.track_id = tracks.track_id
    group by {{ release_age('tracks.released_on', 'track_days.played_on') }}, track_days.played_on
)

select
    sums.release_age,
    sums.played_on,
    sums.play_count,
    sums.stream_count,
    (sums.stream_count / nullif(sum(sums.stream_count) over (partition by sums.played_on), 0))::double precision as stream_share_ratio,
    sums.ms_played,
    tracks_heard.track_count,
    sums.listeners_1d
from sums
inner join tracks_heard on sums.release_age = tracks_heard.release_age and sums.played_on = tracks_heard.played_on
