{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['track_id', 'month_on'],
    indexes=[{'columns': ['track_id', 'month_on'], 'unique': true}, {'columns': ['month_on']}],
    meta={'scope': {'relation': 'int_changed_months', 'columns': {'month_on': 'month_on'}}, 'day': 'month_on'}
) }}
{#- Also a step on the way to a track's numbers of all time: a night adds up the months that it changed, not all days since the first. -#}
{%- set changed_months = ref('int_changed_months') %}
{%- set added = ['play_count', 'stream_count', 'skip_count', 'completed_count', 'intentional_count', 'scrobble_count', 'offline_count',
    'estimated_count', 'ms_played', 'timed_play_count'] %}

with days as (
    select
        *,
        {{ month_of('played_on') }} as month_on
    from {{ of_days(ref('track_days'), 'played_on', month_days(changed_months)) }} as track_days
)

select
    track_id,
    month_on,
    {% for count in added %}
    sum({{ count }})::bigint as {{ count }},
    {% endfor %}
    {% for tenth in range(1, 11) %}
    sum(reached_{{ tenth }}0_count)::bigint as reached_{{ tenth }}0_count,
    {% endfor %}
    min(played_on) filter (where stream_count > 0) as first_streamed_on,
    max(played_on) filter (where stream_count > 0) as last_streamed_on
from days
group by track_id, month_on
