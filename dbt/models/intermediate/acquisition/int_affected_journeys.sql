{{ config(enabled=has('touchpoints', 'listeners', 'subscription_events', 'plans'), materialized='view') }}
{#- Listeners of whose way to a first payment something has changed. -#}

select listener_key
from {{ ref('stg_touched_listeners') }}
where dataset = 'touchpoints'

union

select listener_key from {{ ref('int_affected_subscribers') }}

union

select touched_row ->> 'listener_key'
from {{ ref('stg_touched_rows') }}
where dataset = 'listeners'
