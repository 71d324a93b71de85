{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['platform', 'played_on'],
    indexes=[{'columns': ['platform', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

with listens as (
    select * from {{ of_days(ref('int_listens'), 'played_on', ref('int_changed_play_days')) }} as listens
)

select
    coalesce(platform, 'unknown') as platform,
    played_on,
    count(*) as play_count,
    count(*) filter (where is_stream) as stream_count,
    sum(is_skip::integer) as skip_count,
    sum(is_completed::integer) as completed_count,
    sum(ms_played)::bigint as ms_played,
    count(distinct listener_id) filter (where is_stream) as listeners_1d
from listens
group by coalesce(platform, 'unknown'), played_on
