{{ config(enabled=has('touchpoints', 'listeners', 'subscription_events', 'plans'), materialized='view') }}
{#- Weeks in which a journey that came, went or changed began, and those whose 60 days are over since. -#}

select {{ week_of('journeys.changed_on') }} as cohort_on
from {{ changed_days('listener_journeys') }} as journeys

union

select {{ week_of('days.entered_on::date') }}
from {{ ref('stg_tenant') }} as tenant
cross join generate_series({{ built_to() }} - 66, tenant.business_day - 60, interval '1 day') as days (entered_on)
