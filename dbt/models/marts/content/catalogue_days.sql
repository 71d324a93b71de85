{{ config(
    enabled=has('plays', 'tracks'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['release_age', 'played_on'],
    indexes=[{'columns': ['release_age', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_release_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

with listens as (
    select * from {{ of_days(ref('int_listens'), 'played_on', ref('int_changed_release_days')) }} as listens
),

tracks as (
    select
        track_id,
        released_on
    from {{ ref('stg_tracks') }}
),

-- as of the day of the play, not as of today: what was new then stays new then
aged as (
    select
        listens.*,
        case
            when tracks.released_on < listens.played_on - interval '18 months' then 'catalogue'
            when tracks.released_on is not null then 'current'
            else 'unknown'
        end as release_age
    from listens
    left join tracks on listens.track_id = tracks.track_id
),

sums as (
    select
        release_age,
        played_on,
        count(*) as play_count,
        count(*) filter (where is_stream) as stream_count,
        sum(ms_played)::bigint as ms_played,
        count(distinct track_id) as track_count,
        count(distinct listener_id) filter (where is_stream) as listeners_1d
    from aged
    group by release_age, played_on
)

select
    release_age,
    played_on,
    play_count,
    stream_count,
    (stream_count / nullif(sum(stream_count) over (partition by played_on), 0))::double precision as stream_share_ratio,
    ms_played,
    track_count,
    listeners_1d
from sums
