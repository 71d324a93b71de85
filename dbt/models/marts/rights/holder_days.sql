{{ config(
    enabled=has('plays', 'rights'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['holder_id', 'played_on'],
    indexes=[{'columns': ['holder_id', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={
        'scope': {'relation': 'int_changed_holder_days', 'columns': {'played_on': 'played_on'}},
        'day': 'played_on',
    }
) }}

with streams as (
    select
        track_id,
        country,
        played_on,
        stream_count
    from {{ of_days(ref('track_days'), 'played_on', ref('int_changed_holder_days')) }} as track_days
    where stream_count > 0
),

rights as (
    select * from {{ ref('stg_rights') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

-- rights hold as of the day of the stream
valid as (
    select
        streams.track_id,
        streams.country,
        streams.played_on,
        streams.stream_count,
        rights.holder_id,
        rights.holder_name,
        rights.is_own,
        rights.share_ratio,
        rights.territory,
        bool_or(rights.territory = streams.country) over (
            partition by streams.track_id, streams.country, streams.played_on
        ) as has_own_territory
    from streams
    inner join rights
        on
            streams.track_id = rights.track_id
            and streams.played_on >= rights.valid_from_on
            and streams.played_on < rights.valid_to_on
            and rights.territory in (streams.country, 'WW')
),

-- WW is everywhere else: it does not hold where the track has rights of the territory itself
held as (
    select * from valid
    where has_own_territory = (territory = country)
),

-- what nobody is known to hold keeps its own row, so that shares add up to the whole
unassigned as (
    select
        streams.played_on,
        streams.stream_count * (1 - coalesce(sum(held.share_ratio), 0)) as stream_count
    from streams
    left join held
        on
            streams.track_id = held.track_id
            and streams.country = held.country
            and streams.played_on = held.played_on
    group by streams.track_id, streams.country, streams.played_on, streams.stream_count
),

shares as (
    select
        holder_id,
        played_on,
        holder_name,
        is_own,
        stream_count * share_ratio as stream_count
    from held
    union all
    select
        '(unassigned)' as holder_id,
        played_on,
        null as holder_name,
        null as is_own,
        stream_count
    from unassigned
    where abs(stream_count) >= 0.0000005
),

days as (
    select
        played_on,
        sum(stream_count) as market_stream_count
    from streams
    group by played_on
)

select
    shares.holder_id,
    shares.played_on,
    max(shares.holder_name) as holder_name,
    bool_or(shares.is_own) as is_own,
    sum(shares.stream_count)::numeric(24, 6) as stream_count,
    case
        when tenant.sees_whole_market then (sum(shares.stream_count) / days.market_stream_count)::numeric(12, 9)
    end as market_share_ratio,
    case
        when not tenant.sees_whole_market then 'only its own streams are seen, not the market''s'
    end as market_share_reason
from shares
inner join days on shares.played_on = days.played_on
cross join tenant
group by shares.holder_id, shares.played_on, days.market_stream_count, tenant.sees_whole_market
