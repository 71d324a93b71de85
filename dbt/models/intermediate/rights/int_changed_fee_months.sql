{{ config(materialized='view', enabled=has('plays', 'rights') and (has('payments') or has('ad_impressions'))) }}
{#- Months with money that came, went, changed, or is converted at another rate, or that another tier or share of the pool is of. -#}

select {{ month_of('changed.revenue_on') }} as month_on
from {{ ref('int_changed_revenue_days') }} as changed

union

select {{ month_of('event_on') }} as month_on
from {{ ref('stg_touched') }}
where dataset = 'rules' and event_on is not null
{%- if has('payments', 'subscription_events', 'plans') %}

union

-- a payment belongs to the newest period of its subscription: another period reaches as far as payments do
select months.month_on::date as month_on
from (
    select min(changed_on) as changed_on
    from {{ changed_days('int_period_tiers') }} as periods
) as changed
cross join {{ ref('stg_tenant') }} as tenant
cross join
    generate_series(
        {{ month_of('changed.changed_on') }}, tenant.business_day + interval '1 month', interval '1 month'
    ) as months (month_on)
{%- endif %}
