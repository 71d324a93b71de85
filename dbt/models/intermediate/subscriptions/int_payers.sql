{{ config(
    enabled=has('payments', 'subscription_events', 'plans'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['listener_key'],
    indexes=[{'columns': ['listener_key'], 'unique': true}],
    meta={'scope': {'relation': 'int_affected_payers', 'columns': {'listener_key': 'listener_key'}}}
) }}
{#- Who has paid, since when, and in which months: what cohorts of payers are made of. It is kept by listener, so that a first payment that
    moves takes its payer from one cohort to the other. Holds months to come, of periods that are paid for. -#}
{%- set affected = ref('int_affected_payers') %}

-- an attempt that failed collected nothing, and neither did one to collect nothing, with which trials often begin
with paid as (
    select
        listener_key,
        paid_on
    from {{ ref('stg_payments') }}
    where
        status = 'succeeded'
        and amount > 0
        {%- if not builds_all() %}
        and listener_key in (select affected.listener_key from {{ affected }} as affected)
        {%- endif %}
),

periods as (
    select * from {{ ref('subscription_periods') }}
    where
        kind = 'paid'
        {%- if not builds_all() %}
        and listener_key in (select affected.listener_key from {{ affected }} as affected)
        {%- endif %}
),

payers as (
    select
        listener_key,
        min(paid_on) as first_paid_on
    from paid
    group by listener_key
),

months as (
    select
        listener_key,
        {{ month_of('paid_on') }} as month_on
    from paid
    union
    select
        periods.listener_key,
        held.month_on::date as month_on
    from periods
    cross join
        generate_series(
            {{ month_of('periods.period_from_on') }}, {{ month_of('periods.period_to_on - 1') }}, interval '1 month'
        ) as held (month_on)
),

active as (
    select
        listener_key,
        array_agg(month_on order by month_on) as active_months
    from months
    group by listener_key
)

select
    payers.listener_key,
    payers.first_paid_on,
    active.active_months
from payers
inner join active on payers.listener_key = active.listener_key
