{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['track_id', 'played_on', 'country'],
    indexes=[{'columns': ['track_id', 'played_on', 'country'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

{% call each_day(ref('int_listens'), 'played_on', ref('int_changed_play_days')) %}
select
    track_id,
    played_on,
    coalesce(country, 'ZZ') as country,
    count(*) as play_count,
    count(*) filter (where is_stream) as stream_count,
    sum(is_skip::integer) as skip_count,
    sum(is_completed::integer) as completed_count,
    sum(is_intentional::integer) as intentional_count,
    sum(is_scrobble::integer)::integer as scrobble_count,
    (count(*) filter (where is_offline))::integer as offline_count,
    (count(*) filter (where is_estimated))::integer as estimated_count,
    sum(ms_played)::bigint as ms_played,
    count(distinct listener_id) filter (where is_stream) as listeners_1d,
    {% for tenth in range(1, 11) %}
    count(*) filter (where tenths_heard >= {{ tenth }})::integer as reached_{{ tenth }}0_count,
    {% endfor %}
    count(tenths_heard)::integer as timed_play_count
from of_day
group by track_id, played_on, coalesce(country, 'ZZ')
{% endcall %}
