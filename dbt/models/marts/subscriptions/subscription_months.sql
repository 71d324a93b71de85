{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['month_on'],
    indexes=[{'columns': ['month_on'], 'unique': true}],
    meta={
        'scope': {'relation': 'int_changed_subscription_months', 'columns': {'month_on': 'month_on'}},
        'day': 'month_on',
    }
) }}
{%- set periods, plan_days = ref('subscription_periods'), ref('plan_days') %}
{%- set changed_months = ref('int_changed_subscription_months') %}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

rules as (
    select * from {{ ref('int_rules') }}
),

pool_shares as (
    select * from {{ ref('stg_rules') }}
    where rule = 'pool_share'
),

months as (
    {%- if builds_all() %}
    select distinct {{ month_of('day_on') }} as month_on
    from {{ plan_days }}
    {%- else %}
    select changed.month_on
    from {{ changed_months }} as changed
    where exists (
            select 1 from {{ plan_days }} as plan_days
            where plan_days.day_on >= changed.month_on and plan_days.day_on < changed.month_on + interval '1 month'
        )
    {%- endif %}
),

ends as (
    select
        months.month_on,
        (months.month_on + interval '1 month')::date as next_on,
        least((months.month_on + interval '1 month')::date - 1, tenant.business_day) as last_on,
        tenant.business_day,
        tenant.currency
    from months
    cross join tenant
),

-- each day of the month may have a rule of its own; the month is decided when its last churn is
settled as (
    select
        ends.month_on,
        max(least(ends.next_on, rules.valid_to_on) - 1 + rules.churn_grace_days) <= min(ends.business_day) as is_settled
    from ends
    inner join rules on ends.month_on < rules.valid_to_on and ends.next_on > rules.valid_from_on
    group by ends.month_on
),

opening as (
    select
        ends.month_on,
        sum(plan_days.paying_count) as payer_count
    from ends
    inner join {{ plan_days }} as plan_days on ends.month_on - 1 = plan_days.day_on
    group by ends.month_on
),

-- of those who paid when the month began; one of several subscriptions tells why
churns as (
    select distinct on (ends.month_on, churned.listener_key)
        ends.month_on,
        churned.listener_key,
        churned.churn_reason
    from ends
    inner join {{ periods }} as churned
        on ends.month_on <= churned.churned_on and ends.next_on > churned.churned_on
    where exists (
            select 1 from {{ periods }} as standing
            where
                standing.listener_key = churned.listener_key
                and standing.kind = 'paid'
                and standing.period_from_on < ends.month_on
                and standing.period_to_on >= ends.month_on
        )
    order by ends.month_on, churned.listener_key, churned.churned_on, churned.subscription_id
),

churned as (
    select
        month_on,
        count(*) as churned_count,
        count(*) filter (where churn_reason = 'voluntary') as voluntary_count,
        count(*) filter (where churn_reason = 'payment_failure') as payment_failure_count
    from churns
    group by month_on
),

joined as (
    select
        ends.*,
        coalesce(opening.payer_count, 0)::bigint as opening_payer_count,
        case when settled.is_settled then coalesce(churned.churned_count, 0) end as churned_payer_count,
        case when settled.is_settled then coalesce(churned.voluntary_count, 0) end as voluntary_churn_count,
        case when settled.is_settled then coalesce(churned.payment_failure_count, 0) end as payment_failure_churn_count,
        settled.is_settled,
        coalesce(mrr_days.closing_amount, 0) as mrr_amount,
        coalesce(mrr_days.payer_count, 0) as payer_count,
        {%- if has('plays') %}
        activity_days.listeners_28d as active_listener_count,
        {%- else %}
        null::bigint as active_listener_count,
        {%- endif %}
        1 - pool_shares.value::numeric as margin_ratio
    from ends
    inner join settled on ends.month_on = settled.month_on
    inner join pool_shares on ends.last_on >= pool_shares.valid_from_on and ends.last_on < pool_shares.valid_to_on
    left join opening on ends.month_on = opening.month_on
    left join churned on ends.month_on = churned.month_on
    left join {{ ref('mrr_days') }} as mrr_days on ends.last_on = mrr_days.day_on
    {%- if has('plays') %}
    left join {{ ref('activity_days') }} as activity_days on ends.last_on = activity_days.played_on
    {%- endif %}
)

select
    month_on,
    last_on,
    opening_payer_count,
    churned_payer_count,
    voluntary_churn_count,
    payment_failure_churn_count,
    churned_payer_count - voluntary_churn_count - payment_failure_churn_count as unknown_churn_count,
    churned_payer_count::double precision / nullif(opening_payer_count, 0) as churn_ratio,
    voluntary_churn_count::double precision / nullif(opening_payer_count, 0) as voluntary_churn_ratio,
    payment_failure_churn_count::double precision / nullif(opening_payer_count, 0) as payment_failure_churn_ratio,
    is_settled,
    payer_count,
    active_listener_count,
    mrr_amount::numeric(24, 6) as mrr_amount,
    (mrr_amount / nullif(active_listener_count, 0))::numeric(18, 6) as arpu_amount,
    (mrr_amount / nullif(payer_count, 0))::numeric(18, 6) as arppu_amount,
    margin_ratio::double precision as margin_ratio,
    -- in one division, so that nothing is rounded on the way
    (
        mrr_amount * margin_ratio * opening_payer_count / nullif(active_listener_count * churned_payer_count, 0)
    )::numeric(18, 6) as ltv_amount,
    currency
from joined
