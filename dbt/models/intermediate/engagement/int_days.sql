{{ config(materialized='view') }}
{#- The days that have a row in marts of days: from the first day of deliveries to the business day. -#}

with tenant as (
    select * from {{ ref('stg_tenant') }}
)

select days.day_on::date as day_on
from tenant
cross join generate_series(tenant.begins_on, tenant.business_day, interval '1 day') as days (day_on)
