{{ config(
    enabled=has('payments', 'rights', 'plays', 'subscription_events', 'plans'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['subscription_id', 'period_from_on'],
    indexes=[{'columns': ['subscription_id', 'period_from_on'], 'unique': true}, {'columns': ['listener_key']}],
    meta={
        'scope': {'relation': 'int_affected_subscribers', 'columns': {'listener_key': 'listener_key'}},
        'day': 'period_from_on',
    }
) }}
{#- The tier that a subscription gives from a day on. It stands apart from the periods, which change when time decides something of them:
    what asks for tiers alone is not made again for that. -#}
{%- set affected = ref('int_affected_subscribers') %}

select
    subscription_id,
    period_from_on,
    listener_key,
    tier
from {{ ref('subscription_periods') }}
{%- if not builds_all() %}
where listener_key in (select affected.listener_key from {{ affected }} as affected)
{%- endif %}
