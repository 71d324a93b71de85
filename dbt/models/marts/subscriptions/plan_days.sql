{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['day_on', 'plan_id', 'country'],
    indexes=[{'columns': ['day_on', 'plan_id', 'country'], 'unique': true}],
    meta={
        'scope': {'relation': 'int_changed_plan_days', 'columns': {'day_on': 'day_on'}},
        'day': 'day_on',
    }
) }}
{%- set changed_days_of_plans = ref('int_changed_plan_days') %}
{%- set states = ['paying', 'trial', 'grace', 'churned'] %}

with changes as (
    select * from {{ ref('int_subscriber_states') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

first_day as (
    {%- if builds_all() %}
    select min(changed_on) as first_on
    from changes
    {%- else %}
    select min(day_on) as first_on
    from {{ changed_days_of_plans }}
    {%- endif %}
),

-- who came into a state counts there from the day on, and no longer where they were
steps as (
    select
        changed_on,
        country,
        plan_id,
        state,
        1 as step
    from changes
    where changed_on >= (select first_on from first_day) and changed_on <= (select business_day from tenant) and state is not null
    union all
    select
        changed_on,
        country,
        plan_id_before as plan_id,
        state_before as state,
        -1 as step
    from changes
    where changed_on >= (select first_on from first_day) and changed_on <= (select business_day from tenant) and state_before is not null
    {%- if not builds_all() %}
    {%- for state in states %}
    union all
    select
        standing.day_on + 1 as changed_on,
        standing.country,
        standing.plan_id,
        '{{ state }}' as state,
        standing.{{ state }}_count as step
    from {{ this }} as standing
    where standing.day_on = (select first_on - 1 from first_day)
    {%- endfor %}
    {%- endif %}
),

moved as (
    select
        {%- for state in states %}
        coalesce(sum(step) filter (where state = '{{ state }}'), 0) as {{ state }}_step,
        {%- endfor %}
        changed_on,
        country,
        plan_id
    from steps
    group by changed_on, country, plan_id
),

groups as (
    select
        country,
        plan_id,
        min(changed_on) as first_on
    from moved
    group by country, plan_id
),

counted as (
    select
        {%- for state in states %}
        (sum(coalesce(moved.{{ state }}_step, 0)) over run)::bigint as {{ state }}_count,
        {%- endfor %}
        days.day_on::date as day_on,
        groups.country,
        groups.plan_id
    from groups
    cross join tenant
    cross join generate_series(groups.first_on, tenant.business_day, interval '1 day') as days (day_on)
    left join moved
        on groups.country = moved.country and groups.plan_id = moved.plan_id and moved.changed_on = days.day_on::date
    window run as (partition by groups.country, groups.plan_id order by days.day_on)
)

select
    day_on,
    plan_id,
    country,
    paying_count,
    trial_count,
    grace_count,
    churned_count
from counted
where paying_count + trial_count + grace_count + churned_count > 0
