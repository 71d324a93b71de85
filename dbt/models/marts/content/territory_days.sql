{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['country', 'platform', 'tier', 'played_on'],
    indexes=[{'columns': ['country', 'platform', 'tier', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

{% call each_day(ref('int_listener_splits'), 'played_on', ref('int_changed_play_days')) %}
select
    country,
    platform,
    tier,
    played_on,
    sum(play_count)::bigint as play_count,
    sum(stream_count)::bigint as stream_count,
    sum(skip_count)::bigint as skip_count,
    sum(completed_count)::bigint as completed_count,
    sum(intentional_count)::bigint as intentional_count,
    sum(scrobble_count)::bigint as scrobble_count,
    sum(offline_count)::bigint as offline_count,
    sum(estimated_count)::bigint as estimated_count,
    sum(ms_played)::bigint as ms_played,
    count(*) filter (where stream_count > 0) as listeners_1d
from of_day
group by country, platform, tier, played_on
{% endcall %}
