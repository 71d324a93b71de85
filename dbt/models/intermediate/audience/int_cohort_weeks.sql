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
        listener_key,
        {{ week_of('played_on') }} as week_on
    from {{ of_days(ref('listener_days'), 'played_on', week_days(changed_weeks)) }} as listener_days
    where stream_count > 0
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
