{{ config(materialized='view') }}
{#- Months whose payers, amounts, churns or listeners may have changed, and those whose churns have been decided since. It reads no table
    that is made whole each night: with the old one the view would go. -#}
{%- set tenant, rules, touched = ref('stg_tenant'), ref('int_rules'), ref('stg_touched') %}

-- who is in another state on a day stands otherwise from then on; a month is decided when the grace after it is over
select {{ month_of('days.day_on') }} as month_on
from {{ tenant }} as tenant
cross join
    lateral (
        select least(min(changed.changed_on), {{ built_to() }} - 31 - max(longest.churn_grace_days)) as first_on
        from (select max(rules.churn_grace_days) as churn_grace_days from {{ rules }} as rules) as longest
        left join {{ changed_days('int_subscriber_states') }} as changed on true
    ) as changes
cross join generate_series(changes.first_on, tenant.business_day, interval '1 day') as days (day_on)

union

-- another price or rate, or another reason to leave
select {{ month_of('days.day_on') }}
from {{ changed_days('subscription_periods') }} as changed
cross join {{ tenant }} as tenant
cross join
    lateral (
        select max(periods.period_to_on) as last_on from {{ ref('subscription_periods') }} as periods
        where periods.period_from_on = changed.changed_on
        offset 0
    ) as spanned
cross join generate_series(changed.changed_on, least(spanned.last_on, tenant.business_day), interval '1 month') as days (day_on)

union

select {{ month_of('ends.last_on') }}
from {{ changed_days('subscription_periods') }} as changed
cross join
    lateral (
        select periods.period_to_on as last_on from {{ ref('subscription_periods') }} as periods
        where periods.period_from_on = changed.changed_on
        offset 0
    ) as ends
cross join {{ tenant }} as tenant
where ends.last_on <= tenant.business_day

union

-- another rule, of whatever day
select {{ month_of('plan_days.day_on') }}
from {{ ref('plan_days') }} as plan_days
where exists (
        select 1 from {{ touched }} as touched
        where touched.dataset = 'rules' and touched.event_on is null
    )
{%- if has('plays') %}

union

select {{ month_of('activity.changed_on') }}
from {{ changed_days('activity_days') }} as activity
{%- endif %}
