{{ config(materialized='view') }}
{#- From the first day on which somebody's state is another than it was, and from the first that is new, every day: each begins with what
    the day before ended with. -#}

select days.day_on::date as day_on
from {{ ref('stg_tenant') }} as tenant
cross join
    lateral (
        select least(min(changed.changed_on), {{ built_to() }} + 1) as first_on
        from {{ changed_days('int_subscriber_states') }} as changed
    ) as changes
cross join generate_series(changes.first_on, tenant.business_day, interval '1 day') as days (day_on)
