{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['country', 'played_on'],
    indexes=[{'columns': ['country', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

{% call each_day(ref('track_days'), 'played_on', ref('int_changed_play_days')) %}
select
    country,
    played_on,
    {% for tenth in range(1, 11) %}
    sum(reached_{{ tenth }}0_count)::bigint as reached_{{ tenth }}0_count,
    {% endfor %}
    sum(timed_play_count)::bigint as timed_play_count
from of_day
group by country, played_on
{% endcall %}
