{{ config(
    materialized='incremental',
    incremental_strategy='append',
    indexes=[{'columns': ['listener_key'], 'unique': true}],
    post_hook='analyze {{ this }}'
) }}
{#- Listeners whose subscriptions must be looked at again: something of theirs has changed, or time has passed that decides something
    (a churn, the conversion of a trial). Grows until marts are published, like int_affected. -#}
{%- set listeners, touched = ref('stg_touched_listeners'), ref('stg_touched') %}
{%- set touched_rows, rerated = ref('stg_touched_rows'), ref('int_rerated') %}
{%- set events, tenant = ref('stg_subscription_events'), ref('stg_tenant') %}
{%- if builds_all() %}

select null::text as listener_key
where false

{%- else %}

with periods as (
    select * from {{ as_built('subscription_periods') }}
),

found as (
    select listener_key from {{ listeners }}
    where dataset = 'subscription_events'
    union
    -- another price, in the plan's or in the listener's country
    select periods.listener_key
    from periods
    inner join {{ touched_rows }} as touched
        on touched.dataset = 'plans' and periods.plan_id = touched.touched_row ->> 'plan_id'
    union
    select touched_row ->> 'listener_key' from {{ touched_rows }}
    where dataset = 'listeners'
    union
    -- another rate
    select periods.listener_key
    from periods
    inner join {{ rerated }} as rerated
        on periods.price_currency = rerated.currency and periods.period_from_on >= rerated.rerated_from_on
    union
    -- another rule
    select events.listener_key
    from {{ events }} as events
    where exists (
            select 1 from {{ touched }}
            where dataset = 'rules' and event_on is null
        )
    union
    -- what is decided by now
    select periods.listener_key
    from periods
    inner join {{ tenant }} as tenant on periods.settles_on <= tenant.business_day
    where not periods.is_settled
)

select found.listener_key
from found
where
    found.listener_key is not null
    and not exists (
        select 1 from {{ this }} as already
        where found.listener_key = already.listener_key
    )

{%- endif %}
