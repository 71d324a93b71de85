{{ config(
    enabled=has('touchpoints', 'listeners', 'subscription_events', 'plans'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['listener_key'],
    indexes=[{'columns': ['listener_key'], 'unique': true}, {'columns': ['entered_on']}],
    meta={
        'scope': {'relation': 'int_affected_journeys', 'columns': {'listener_key': 'listener_key'}},
        'day': 'entered_on',
    }
) }}
{%- set affected = ref('int_affected_journeys') %}

with first_touchpoints as (
    select distinct on (listener_key) *
    from {{ ref('touchpoints') }}
    {%- if not builds_all() %}
    where listener_key in (select affected.listener_key from {{ affected }} as affected)
    {%- endif %}
    order by listener_key, touched_at, touchpoint_id
),

listeners as (
    select * from {{ ref('stg_listeners') }}
),

periods as (
    select * from {{ ref('subscription_periods') }}
    {%- if not builds_all() %}
    where listener_key in (select affected.listener_key from {{ affected }} as affected)
    {%- endif %}
),

-- who had an account before is not acquired by what came after
signed_up as (
    select
        first_touchpoints.*,
        listeners.country,
        listeners.signed_up_at
    from first_touchpoints
    left join listeners on first_touchpoints.listener_key = listeners.listener_key
    where listeners.signed_up_at is null or listeners.signed_up_at >= first_touchpoints.touched_at
),

-- each step counts from the step before it
subscribed as (
    select
        signed_up.listener_key,
        min(periods.opened_at) as subscribed_at,
        min(periods.opened_at) filter (where periods.kind = 'paid') as paid_at
    from signed_up
    inner join periods
        on signed_up.listener_key = periods.listener_key and signed_up.signed_up_at <= periods.opened_at
    group by signed_up.listener_key
)

select
    signed_up.listener_key,
    signed_up.touched_on as entered_on,
    signed_up.channel,
    signed_up.campaign_id,
    signed_up.country,
    signed_up.touched_at as entered_at,
    signed_up.signed_up_at,
    subscribed.subscribed_at,
    subscribed.paid_at
from signed_up
left join subscribed on signed_up.listener_key = subscribed.listener_key
