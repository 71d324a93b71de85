{{ config(tags=['ci'], enabled=has('plays', 'rights') and (has('payments') or has('ad_impressions'))) }}
-- The pools of a month and territory are of its net revenue, all of it; every sum is rounded to the millionth by itself.

with pools as (
    select distinct
        month_on,
        territory,
        tier,
        net_amount
    from {{ ref('royalty_shares') }}
),

pooled as (
    select
        month_on,
        territory,
        sum(net_amount) as net_amount
    from pools
    group by month_on, territory
),

earned as (
    select
        {{ month_of('revenue_on') }} as month_on,
        country as territory,
        sum(net_amount) as net_amount
    from {{ ref('revenue_days') }}
    group by {{ month_of('revenue_on') }}, country
)

select
    pooled.month_on,
    pooled.territory,
    pooled.net_amount as pooled_amount,
    earned.net_amount as earned_amount
from pooled
left join earned on pooled.month_on = earned.month_on and pooled.territory = earned.territory
where abs(pooled.net_amount - coalesce(earned.net_amount, 0)) > 0.0001
