{{ config(materialized='view') }}
{#- Weeks in which a genre was heard otherwise, the weeks after them, and those that began or ended since marts were published. -#}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

published as (
    select {{ built_to() }} as business_day
),

weeks as (
    select {{ week_of('changed.changed_on') }} as week_on
    from {{ changed_days('plays') }} as changed
)

select week_on from weeks

union

select week_on + 7 from weeks

union

select days.week_on::date
from published
cross join tenant
cross join
    generate_series({{ week_of('published.business_day') }}, {{ week_of('tenant.business_day') }}, interval '7 days') as days (week_on)
where tenant.business_day > published.business_day
