{{ config(
    enabled=has('plays', 'tracks'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['artist_id', 'played_on', 'country'],
    indexes=[{'columns': ['artist_id', 'played_on', 'country'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

with plays as (
    select * from {{ of_days(ref('plays'), 'played_on', ref('int_changed_play_days')) }} as plays
    where artist_id is not null
)

select
    artist_id,
    played_on,
    coalesce(country, 'ZZ') as country,
    count(*) as play_count,
    count(*) filter (where is_stream) as stream_count,
    sum(is_intentional::integer) as intentional_count,
    sum(ms_played)::bigint as ms_played,
    count(distinct listener_key) filter (where is_stream) as listeners_1d
from plays
group by artist_id, played_on, coalesce(country, 'ZZ')
