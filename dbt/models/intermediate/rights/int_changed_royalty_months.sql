{{ config(materialized='view', enabled=has('plays', 'rights') and (has('payments') or has('ad_impressions'))) }}
{#- Months that are over, and of which streams, flags, rights, tracks, money or rules have changed, or that were not over when marts were
    published last. -#}

with changed as (
    select {{ month_of('played_on') }} as month_on from {{ ref('int_changed_stream_days') }}
    union
    select month_on from {{ ref('int_changed_payable_months') }}
    union
    select changed_on as month_on
    from {{ changed_days('int_fees') }} as fees
    union
    select {{ month_of('event_on') }} as month_on
    from {{ ref('stg_touched') }}
    where dataset = 'rules' and event_on is not null
    union
    select {{ month_of('days.day_on') }} as month_on
    from {{ ref('stg_tenant') }} as tenant
    cross join generate_series({{ built_to() }}, tenant.business_day, interval '1 day') as days (day_on)
)

select changed.month_on
from changed
cross join {{ ref('stg_tenant') }} as tenant
where changed.month_on + interval '1 month' <= tenant.business_day + 1
