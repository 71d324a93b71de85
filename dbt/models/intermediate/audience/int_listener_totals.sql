{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key='listener_key',
    indexes=[{'columns': ['listener_key'], 'unique': true}],
    meta={'scope': {'relation': 'int_affected', 'columns': {'listener_key': 'listener_key'}}}
) }}
{#- Beside the totals, what cohorts are made of: on which of some days, and in which of the first months, after that of the first stream
    the listener streamed again. It is kept by listener, so that a first stream that moves takes its listener from one cohort to the other. -#}
{%- set affected = ref('int_affected') %}

with months as (
    select * from {{ ref('listener_months') }}
    {%- if not builds_all() %}
    where listener_key in (select affected.listener_key from {{ affected }} as affected)
    {%- endif %}
),

totals as (
    select
        listener_key,
        sum(play_count)::bigint as play_count,
        sum(stream_count)::bigint as stream_count,
        sum(ms_played)::bigint as ms_played,
        sum(session_count)::bigint as session_count,
        sum(active_day_count)::bigint as active_day_count,
        min(first_streamed_on) as first_streamed_on,
        max(last_streamed_on) as last_streamed_on
    from months
    group by listener_key
),

returns as (
    {%- if builds_all() %}
    select
        totals.listener_key,
        heard.played_on - totals.first_streamed_on as day_number
    from totals
    inner join {{ ref('listener_days') }} as heard on totals.listener_key = heard.listener_key
    where heard.stream_count > 0
    {%- else %}
    select
        totals.listener_key,
        heard.played_on - totals.first_streamed_on as day_number
    from totals
    cross join
        lateral (
            select any_day.played_on from {{ ref('listener_days') }} as any_day
            where
                any_day.listener_key = totals.listener_key
                and any_day.played_on > totals.first_streamed_on
                and any_day.played_on <= totals.first_streamed_on + {{ cohort_days() | max }}
                and any_day.stream_count > 0
            offset 0
        ) as heard
    {%- endif %}
),

returned as (
    select
        listener_key,
        array_agg(day_number order by day_number) as active_day_numbers
    from returns
    where day_number in ({{ cohort_days() | join(', ') }})
    group by listener_key
),

stayed as (
    select
        months.listener_key,
        array_agg(numbers.month_number order by numbers.month_number) as active_month_numbers
    from months
    inner join totals on months.listener_key = totals.listener_key
    cross join
        lateral (
            select {{ months_between(month_of('totals.first_streamed_on'), 'months.month_on') }} as month_number
        ) as numbers
    where months.stream_count > 0 and numbers.month_number <= {{ cohort_months() }}
    group by months.listener_key
)

select
    totals.*,
    coalesce(returned.active_day_numbers, '{}') as active_day_numbers,
    coalesce(stayed.active_month_numbers, '{}') as active_month_numbers
from totals
left join returned on totals.listener_key = returned.listener_key
left join stayed on totals.listener_key = stayed.listener_key
