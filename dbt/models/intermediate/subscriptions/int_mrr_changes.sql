{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['listener_key', 'changed_on'],
    indexes=[{'columns': ['listener_key', 'changed_on'], 'unique': true}],
    meta={'scope': {'relation': 'int_affected_subscribers', 'columns': {'listener_key': 'listener_key'}}}
) }}
{#- The days on which what a listener pays a month has changed, and which of the bridge's five movements it was. Holds days to come (a paid
    period that nothing follows yet ends some day); mrr_days takes those up to the business day. -#}
{%- set affected = ref('int_affected_subscribers') %}

with periods as (
    select * from {{ ref('subscription_periods') }}
    where
        kind = 'paid'
        {%- if not builds_all() %}
        and listener_key in (select affected.listener_key from {{ affected }} as affected)
        {%- endif %}
),

rules as (
    select * from {{ ref('int_rules') }}
),

edges as (
    select
        listener_key,
        period_from_on as changed_on,
        coalesce(mrr_amount, 0) as amount
    from periods
    union all
    select
        listener_key,
        period_to_on as changed_on,
        -coalesce(mrr_amount, 0) as amount
    from periods
),

days as (
    select
        listener_key,
        changed_on,
        sum(amount) as amount
    from edges
    group by listener_key, changed_on
    having sum(amount) <> 0
),

levels as (
    select
        listener_key,
        changed_on,
        amount,
        sum(amount) over listener as closing_amount,
        sum(amount) over listener - amount as opening_amount,
        lag(changed_on) over listener as changed_before_on
    from days
    window listener as (partition by listener_key order by changed_on)
),

churns as (
    select distinct
        listener_key,
        churned_on
    from periods
    where churned_on is not null
)

select
    levels.listener_key,
    levels.changed_on,
    levels.amount,
    case
        when levels.opening_amount = 0 and levels.changed_before_on is null then 'new'
        -- coming back within the grace is no reactivation, for there was no churn: the lapse contracted, the return expands
        when levels.opening_amount = 0 and levels.changed_on <= levels.changed_before_on + rules.churn_grace_days then 'expansion'
        when levels.opening_amount = 0 then 'reactivation'
        when churns.churned_on is not null and levels.closing_amount = 0 then 'churn'
        when levels.amount > 0 then 'expansion'
        else 'contraction'
    end as movement,
    (levels.closing_amount > 0)::integer - (levels.opening_amount > 0)::integer as payer_step
from levels
left join churns on levels.listener_key = churns.listener_key and levels.changed_on = churns.churned_on
left join rules
    on levels.changed_before_on >= rules.valid_from_on and levels.changed_before_on < rules.valid_to_on
