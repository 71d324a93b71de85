{{ config(tags=['ci'], enabled=has('payments') or has('ad_impressions')) }}
-- The same money of every day and month, by tier or not; each row of a day is rounded to the millionth by itself.

with by_day as (
    select
        revenue_on,
        sum(net_amount) as net_amount,
        sum(transaction_count) as transaction_count
    from {{ ref('revenue_days') }}
    group by revenue_on
),

by_tier as (
    select
        revenue_on,
        sum(net_amount) as net_amount,
        sum(transaction_count) as transaction_count,
        count(*) as row_count
    from {{ ref('tier_revenue_days') }}
    group by revenue_on
),

by_month as (
    select
        month_on,
        sum(net_amount) as net_amount
    from {{ ref('tier_revenue_months') }}
    group by month_on
)

select by_day.revenue_on as differs_on
from by_day
full outer join by_tier on by_day.revenue_on = by_tier.revenue_on
where
    by_day.transaction_count is distinct from by_tier.transaction_count
    or abs(by_day.net_amount - by_tier.net_amount) > 0.000004 * by_tier.row_count

union all

select by_month.month_on
from by_month
full outer join (
    select
        {{ month_of('revenue_on') }} as month_on,
        sum(net_amount) as net_amount
    from by_tier
    group by month_on
) as added on by_month.month_on = added.month_on
where by_month.net_amount is distinct from added.net_amount
