{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['cohort_on', 'week_on'],
    indexes=[{'columns': ['cohort_on', 'week_on'], 'unique': true}],
    meta={'scope': {'relation': 'int_changed_weeks', 'columns': {'week_on': 'week_on'}}}
) }}
{%- set changed_weeks = ref('int_changed_weeks') %}

with listened as (
    select
        listener_days.listener_key,
        {{ week_of('listener_days.played_on') }} as week_on
    from {{ ref('listener_days') }} as listener_days
    {%- if not builds_all() %}
    inner join {{ changed_weeks }} as changed
        on listener_days.played_on >= changed.week_on and listener_days.played_on < changed.week_on + 7
    {%- endif %}
    where listener_days.stream_count > 0
),

totals as (
    select * from {{ ref('int_listener_totals') }}
)

select
    {{ week_of('totals.first_streamed_on') }} as cohort_on,
    listened.week_on,
    count(distinct listened.listener_key) as retained_count
from listened
inner join totals on listened.listener_key = totals.listener_key
group by cohort_on, listened.week_on
