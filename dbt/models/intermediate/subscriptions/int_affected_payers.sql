{{ config(enabled=has('payments', 'subscription_events', 'plans'), materialized='view') }}
{#- Listeners of whose payments or paid periods something has changed. -#}

select listener_key
from {{ ref('int_affected_subscribers') }}

union

select listener_key
from {{ ref('stg_touched_listeners') }}
where dataset = 'payments'
