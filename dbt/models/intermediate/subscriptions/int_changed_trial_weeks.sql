{{ config(materialized='view') }}
{#- Weeks in which a period that came, went or changed begins, and those that have ended since. -#}

select {{ week_of('periods.changed_on') }} as cohort_on
from {{ changed_days('subscription_periods') }} as periods

union

select {{ week_of('days.day_on::date') }}
from {{ ref('stg_tenant') }} as tenant
cross join generate_series({{ built_to() }} - 6, tenant.business_day, interval '1 day') as days (day_on)
