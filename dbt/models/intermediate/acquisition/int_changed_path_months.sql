{{ config(enabled=has('touchpoints', 'listeners', 'subscription_events', 'plans'), materialized='view') }}
{#- Months of paths and touchpoints that came, went or changed, and of those that have since
    turned out to lead nowhere: their 30 days are over. -#}
{%- set tenant = ref('stg_tenant') %}

select {{ month_of('paths.changed_on') }} as month_on
from {{ changed_days('int_conversion_paths') }} as paths

union

select {{ month_of('touchpoints.changed_on') }}
from {{ changed_days('touchpoints') }} as touchpoints

union

select {{ month_of('days.settled_on') }}
from {{ tenant }} as tenant
cross join generate_series({{ built_to() }} - 30, tenant.business_day - 30, interval '1 day') as days (settled_on)
