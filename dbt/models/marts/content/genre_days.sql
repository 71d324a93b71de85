{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['genre', 'played_on'],
    indexes=[{'columns': ['genre', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

{% call each_day(ref('int_listens'), 'played_on', ref('int_changed_play_days')) %}
select
    coalesce(genre, 'unknown') as genre,
    played_on,
    count(*) as play_count,
    count(*) filter (where is_stream) as stream_count,
    sum(is_skip::integer) as skip_count,
    sum(is_completed::integer) as completed_count,
    sum(ms_played)::bigint as ms_played,
    count(distinct track_id) as track_count,
    count(distinct listener_id) filter (where is_stream) as listeners_1d
from of_day
group by coalesce(genre, 'unknown'), played_on
{% endcall %}
