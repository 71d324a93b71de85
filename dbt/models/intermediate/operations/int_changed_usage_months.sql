{{ config(materialized='view') }}
{#- Months in which other rows were received, or somebody's listening has changed. -#}

select {{ month_of('event_on') }} as month_on
from {{ ref('stg_touched') }}
where dataset = 'reconciliation' and event_on is not null
{%- if has('plays') %}

union

select {{ month_of('changed.changed_on') }} as month_on
from {{ changed_days('listener_days') }} as changed
{%- endif %}
