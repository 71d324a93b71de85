{{ config(tags=['ci'], enabled=has('plays', 'rights')) }}
-- All holders of a day, the unassigned one among them, add up to its streams, and their shares of the market, where known, to one.

with holders as (
    select
        played_on,
        sum(stream_count) as stream_count,
        sum(market_share_ratio) as market_share_ratio
    from {{ ref('holder_days') }}
    group by played_on
)

select
    activity.played_on,
    activity.stream_count,
    holders.stream_count as held_count
from {{ ref('activity_days') }} as activity
left join holders on activity.played_on = holders.played_on
where
    abs(coalesce(holders.stream_count, 0) - activity.stream_count) > 0.0001
    or abs(holders.market_share_ratio - 1) > 0.0001
