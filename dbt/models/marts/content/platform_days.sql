{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['platform', 'played_on'],
    indexes=[{'columns': ['platform', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

{% call each_day(ref('int_listener_splits'), 'played_on', ref('int_changed_play_days')) %}
select
    heard.platform,
    heard.played_on,
    sum(heard.play_count)::bigint as play_count,
    sum(heard.stream_count)::bigint as stream_count,
    sum(heard.skip_count)::bigint as skip_count,
    sum(heard.completed_count)::bigint as completed_count,
    sum(heard.ms_played)::bigint as ms_played,
    count(*) filter (where heard.stream_count > 0) as listeners_1d
from (
    -- a row a listener: who listens in two countries or tiers of a platform counts once
    select
        platform,
        played_on,
        listener_id,
        sum(play_count) as play_count,
        sum(stream_count) as stream_count,
        sum(skip_count) as skip_count,
        sum(completed_count) as completed_count,
        sum(ms_played) as ms_played
    from of_day
    group by platform, played_on, listener_id
) as heard
group by heard.platform, heard.played_on
{% endcall %}
