{{ config(
    enabled=has('plays'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['listener_key', 'month_on'],
    indexes=[{'columns': ['listener_key', 'month_on'], 'unique': true}, {'columns': ['month_on']}],
    meta={
        'scope': {'relation': 'int_affected_months', 'columns': {'listener_key': 'listener_key', 'month_on': 'month_on'}},
        'day': 'month_on',
    }
) }}
{#- Also a step on the way to what a listener did in all time: a night adds up the months that it changed, not all days since the first. -#}
{%- set affected_months = ref('int_affected_months') %}

with days as (
    {%- if builds_all() %}
    select
        *,
        {{ month_of('played_on') }} as month_on
    from {{ ref('listener_days') }}
    {%- else %}
    select
        listener_days.*,
        affected.month_on
    from {{ affected_months }} as affected
    cross join
        lateral (
            select * from {{ ref('listener_days') }} as any_day
            where
                any_day.listener_key = affected.listener_key
                and any_day.played_on >= affected.month_on
                and any_day.played_on < affected.month_on + interval '1 month'
            offset 0
        ) as listener_days
    {%- endif %}
)

select
    listener_key,
    month_on,
    sum(play_count)::bigint as play_count,
    sum(stream_count)::bigint as stream_count,
    sum(ms_played)::bigint as ms_played,
    sum(session_count)::bigint as session_count,
    count(*) filter (where stream_count > 0) as active_day_count,
    min(played_on) filter (where stream_count > 0) as first_streamed_on,
    max(played_on) filter (where stream_count > 0) as last_streamed_on
from days
group by listener_key, month_on
