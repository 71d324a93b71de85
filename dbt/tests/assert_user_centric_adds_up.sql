{{ config(tags=['ci'], enabled=has('plays', 'rights') and (has('payments') or has('ad_impressions'))) }}
-- The holders' shares of every pool add up to it, to the cent.

select
    month_on,
    territory,
    tier,
    max(pool_amount) as pool_amount,
    sum(user_centric_amount) as split_amount
from {{ ref('royalty_shares') }}
group by month_on, territory, tier
having sum(user_centric_amount) <> max(pool_amount) or min(pool_amount) <> max(pool_amount)
