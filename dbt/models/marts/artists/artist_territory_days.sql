{{ config(
    enabled=has('plays', 'tracks'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['artist_id', 'played_on', 'country'],
    indexes=[{'columns': ['artist_id', 'played_on', 'country'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

{% call each_day(ref('int_artist_listener_days'), 'played_on', ref('int_changed_play_days')) %}
select
    artist_id,
    played_on,
    country,
    sum(play_count) as play_count,
    sum(stream_count) as stream_count,
    sum(intentional_count) as intentional_count,
    sum(ms_played)::bigint as ms_played,
    count(*) filter (where stream_count > 0) as listeners_1d
from of_day
group by artist_id, played_on, country
{% endcall %}
