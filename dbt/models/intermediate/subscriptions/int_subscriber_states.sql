{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['listener_key', 'changed_on'],
    indexes=[{'columns': ['listener_key', 'changed_on'], 'unique': true}, {'columns': ['changed_on']}],
    meta={
        'scope': {'relation': 'int_affected_subscribers', 'columns': {'listener_key': 'listener_key'}},
        'day': 'changed_on',
    }
) }}
{#- The days on which a listener's state has changed: paying, trial, grace (paid until of late, and may come back within CHURN_GRACE_DAYS),
    churned (did not come back in time), or none. Holds days to come, which is what will be if nothing more happens. -#}
{%- set affected = ref('int_affected_subscribers') %}

with periods as (
    select * from {{ ref('subscription_periods') }}
    {%- if not builds_all() %}
    where listener_key in (select affected.listener_key from {{ affected }} as affected)
    {%- endif %}
),

listeners as (
    select * from {{ ref('stg_listeners') }}
),

spans as (
    select
        listener_key,
        subscription_id,
        plan_id,
        tier,
        period_from_on as begun_on,
        case kind when 'paid' then 1 else 2 end as place,
        case kind when 'paid' then 'paying' else 'trial' end as state,
        period_from_on as from_on,
        period_to_on as to_on
    from periods
    union all
    select
        listener_key,
        subscription_id,
        plan_id,
        tier,
        period_from_on as begun_on,
        3 as place,
        'grace' as state,
        period_to_on as from_on,
        settles_on as to_on
    from periods
    where kind = 'paid' and settles_on > period_to_on
    union all
    select
        listener_key,
        subscription_id,
        plan_id,
        tier,
        period_from_on as begun_on,
        4 as place,
        'churned' as state,
        settles_on as from_on,
        'infinity' as to_on
    from periods
    where kind = 'paid'
),

turns as (
    select
        listener_key,
        from_on as changed_on
    from spans
    union
    select
        listener_key,
        to_on as changed_on
    from spans
    where to_on < 'infinity'
),

-- of several states that hold on a day the first of: paying, trial, grace, churned; of these the one begun last
standing as (
    select distinct on (turns.listener_key, turns.changed_on)
        turns.listener_key,
        turns.changed_on,
        spans.state,
        spans.plan_id,
        spans.tier
    from turns
    left join spans
        on
            turns.listener_key = spans.listener_key
            and turns.changed_on >= spans.from_on
            and turns.changed_on < spans.to_on
    order by
        turns.listener_key asc,
        turns.changed_on asc,
        spans.place asc,
        spans.begun_on desc,
        spans.subscription_id asc
),

compared as (
    select
        *,
        lag(state) over life as state_before,
        lag(plan_id) over life as plan_id_before,
        lag(tier) over life as tier_before
    from standing
    window life as (partition by listener_key order by changed_on)
)

select
    compared.listener_key,
    compared.changed_on,
    coalesce(listeners.country, 'ZZ') as country,
    compared.state,
    compared.plan_id,
    compared.tier,
    compared.state_before,
    compared.plan_id_before
from compared
left join listeners on compared.listener_key = listeners.listener_key
where
    (compared.state, compared.plan_id, compared.tier)
    is distinct from (compared.state_before, compared.plan_id_before, compared.tier_before)
