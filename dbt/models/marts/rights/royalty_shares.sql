{{ config(
    enabled=has('plays', 'rights') and (has('payments') or has('ad_impressions')),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['month_on', 'territory', 'tier', 'holder_id'],
    indexes=[{'columns': ['month_on', 'territory', 'tier', 'holder_id'], 'unique': true}],
    pre_hook='set local enable_nestloop = off',
    meta={
        'scope': {'relation': 'int_changed_royalty_months', 'columns': {'month_on': 'month_on'}},
        'day': 'month_on',
    }
) }}
{#- The planner takes what the payers of a month heard for one row, and would go through all rights for each of its streams: here it may
    join by hash or by order alone (a look into an index by `lateral` stays one). -#}
{%- set changed_months = ref('int_changed_royalty_months') %}
{%- set pool = 'month_on, territory, tier' %}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

asked as (
    {%- if builds_all() %}
    select distinct fees.month_on
    from {{ ref('int_fees') }} as fees
    cross join tenant
    where fees.month_on + interval '1 month' <= tenant.business_day + 1
    {%- else %}
    select month_on from {{ changed_months }}
    {%- endif %}
),

rules as (
    select
        asked.month_on,
        any_rule.boost_min_streams,
        any_rule.boost_min_listeners
    from asked
    inner join {{ ref('int_rules') }} as any_rule
        on asked.month_on >= any_rule.valid_from_on and asked.month_on < any_rule.valid_to_on
),

fees as (
    select * from {{ of_days(ref('int_fees'), 'month_on', 'asked') }} as any_fees
    where month_on in (select asked.month_on from asked)
),

pools as (
    select
        {{ pool }},
        sum(net_amount)::numeric(24, 6) as net_amount,
        sum(pool_amount) as pool_amount,
        (round(sum(pool_amount), 2) * 100)::numeric as pool_cents,
        sum(unconverted_count)::bigint as unconverted_count
    from fees
    group by {{ pool }}
),

-- genuine streams of the months
plays as (
    select * from {{ of_days(ref('plays'), 'played_on', month_days('asked')) }} as plays
    where is_stream
),

{%- if has('artificial_streams') %}

flags as (
    select * from {{ artificial_plays('plays', 'played_on') }} as flags
),
{%- endif %}

streams as (
    select
        {{ month_of('played_on') }} as month_on,
        listener_key,
        track_id,
        artist_id,
        played_on,
        coalesce(country, 'ZZ') as territory,
        coalesce(tier, 'unknown') as tier
    from plays
    {%- if has('artificial_streams') %}
    where
        not exists (
            select 1
            from flags
            where {{ is_flagged('flags', 'plays') }}
        )
    {%- endif %}
),

-- artists whose streams count twice
boosted as (
    select
        streams.month_on,
        streams.artist_id
    from streams
    inner join rules on streams.month_on = rules.month_on
    where streams.artist_id is not null
    group by streams.month_on, streams.artist_id, rules.boost_min_streams, rules.boost_min_listeners
    having count(*) >= rules.boost_min_streams and count(distinct streams.listener_key) >= rules.boost_min_listeners
),

payable as (
    select
        payable_months.month_on,
        payable_months.territory,
        payable_months.tier,
        payable_months.holder_id,
        max(payable_months.holder_name) as holder_name,
        sum(payable_months.payable_count) as payable_count,
        -- started with intent: once more
        sum(
            (payable_months.payable_count + payable_months.payable_intentional_count)
            * case when boosted.artist_id is null then 1 else 2 end
        ) as weighted_count
    from {{ of_days(ref('payable_months'), 'month_on', 'asked') }} as payable_months
    left join {{ ref('stg_tracks') }} as tracks on payable_months.track_id = tracks.track_id
    left join boosted on payable_months.month_on = boosted.month_on and tracks.artist_id = boosted.artist_id
    where payable_months.month_on in (select asked.month_on from asked) and payable_months.payable_count <> 0
    group by payable_months.month_on, payable_months.territory, payable_months.tier, payable_months.holder_id
),

-- what the payers of a pool heard in its territory and tier
own as (
    select
        streams.month_on,
        streams.territory,
        streams.tier,
        streams.listener_key,
        streams.track_id,
        {{ held_on('streams.track_id', 'streams.played_on') }} as held_on,
        fees.pool_amount
    from streams
    inner join fees
        on
            streams.month_on = fees.month_on
            and streams.territory = fees.territory
            and streams.tier = fees.tier
            and streams.listener_key = fees.listener_key
    inner join {{ ref('int_eligible_tracks') }} as eligible
        on streams.track_id = eligible.track_id and streams.month_on = eligible.month_on and eligible.is_eligible
),

shares as (
    select * from {{ held_shares('own') }} as held
),

own_shares as (
    select
        own.month_on,
        own.territory,
        own.tier,
        own.listener_key,
        own.pool_amount,
        shares.holder_id,
        sum(shares.share_ratio) as stream_count
    from own
    inner join shares
        on own.track_id = shares.track_id and own.territory = shares.territory and own.held_on = shares.held_on
    group by own.month_on, own.territory, own.tier, own.listener_key, own.pool_amount, shares.holder_id
),

-- thirty places are enough for any number of payers to add up to the cent
payer_shares as (
    select
        {{ pool }},
        holder_id,
        pool_amount,
        (pool_amount * stream_count)::numeric(70, 30) / sum(stream_count) over (partition by {{ pool }}, listener_key) as amount
    from own_shares
),

paid as (
    select
        {{ pool }},
        holder_id,
        sum(amount) as amount
    from payer_shares
    group by {{ pool }}, holder_id
),

paid_pools as (
    select
        {{ pool }},
        sum(amount) as amount
    from paid
    group by {{ pool }}
),

-- a pool without a payable stream goes to nobody who is known
held as (
    select
        pools.month_on,
        pools.territory,
        pools.tier,
        coalesce(payable.holder_id, '(unassigned)') as holder_id,
        payable.holder_name,
        pools.net_amount,
        pools.pool_amount,
        pools.pool_cents,
        pools.unconverted_count,
        coalesce(payable.payable_count, 0) as payable_count,
        coalesce(payable.weighted_count, 0) as weighted_count,
        payable.holder_id is null as has_no_stream
    from pools
    left join payable
        on pools.month_on = payable.month_on and pools.territory = payable.territory and pools.tier = payable.tier
),

parts as (
    select
        held.*,
        case
            when held.has_no_stream then 1
            else held.payable_count::numeric(70, 30) / sum(held.payable_count) over pool
        end as payable_ratio,
        case
            when held.has_no_stream then 1
            else held.weighted_count::numeric(70, 30) / sum(held.weighted_count) over pool
        end as weighted_ratio,
        coalesce(paid.amount, 0) as paid_amount,
        held.pool_amount - coalesce(paid_pools.amount, 0) as rest_amount
    from held
    left join paid
        on
            held.month_on = paid.month_on
            and held.territory = paid.territory
            and held.tier = paid.tier
            and held.holder_id = paid.holder_id
    left join paid_pools
        on held.month_on = paid_pools.month_on and held.territory = paid_pools.territory and held.tier = paid_pools.tier
    window pool as (partition by held.month_on, held.territory, held.tier)
),

cents as (
    select
        *,
        round(pool_amount * payable_ratio * 100, 12) as pro_rata_cents,
        round((paid_amount + rest_amount * payable_ratio) * 100, 12) as user_centric_cents,
        round(pool_amount * weighted_ratio * 100, 12) as artist_centric_cents
    from parts
)

select
    cents.month_on,
    cents.territory,
    cents.tier,
    cents.holder_id,
    cents.holder_name,
    cents.net_amount,
    round(cents.pool_amount, 2)::numeric(24, 2) as pool_amount,
    cents.payable_count::numeric(24, 6) as payable_count,
    cents.weighted_count::numeric(24, 6) as weighted_count,
    {{ largest_remainder('cents.pro_rata_cents', 'cents.pool_cents', pool, 'cents.holder_id') }} as pro_rata_amount,
    {{ largest_remainder('cents.user_centric_cents', 'cents.pool_cents', pool, 'cents.holder_id') }} as user_centric_amount,
    {{ largest_remainder('cents.artist_centric_cents', 'cents.pool_cents', pool, 'cents.holder_id') }} as artist_centric_amount,
    tenant.currency,
    cents.unconverted_count,
    case when cents.has_no_stream then 'no payable stream in its territory, tier and month' end as unassigned_reason
from cents
cross join tenant
