{{ config(
    enabled=has('plays', 'rights'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['month_on', 'track_id', 'holder_id', 'territory', 'tier'],
    indexes=[{'columns': ['month_on', 'track_id', 'holder_id', 'territory', 'tier'], 'unique': true}],
    meta={
        'scope': {'relation': 'int_changed_payable_months', 'columns': {'month_on': 'month_on'}},
        'day': 'month_on',
    }
) }}
{%- set changed_months = ref('int_changed_payable_months') %}

with days as (
    select
        *,
        {{ month_of('played_on') }} as month_on,
        {{ held_on('track_id', 'played_on') }} as held_on
    from {{ of_days(ref('int_stream_days'), 'played_on', month_days(changed_months)) }} as stream_days
),

streams as (
    select
        month_on,
        held_on,
        track_id,
        territory,
        tier,
        sum(stream_count) as stream_count,
        sum(artificial_count) as artificial_count,
        sum(intentional_count) as intentional_count
    from days
    group by month_on, held_on, track_id, territory, tier
),

shares as (
    select * from {{ held_shares('streams') }} as held
),

held as (
    select
        streams.month_on,
        streams.track_id,
        shares.holder_id,
        streams.territory,
        streams.tier,
        max(shares.holder_name) as holder_name,
        sum(streams.stream_count * shares.share_ratio) as stream_count,
        sum(streams.artificial_count * shares.share_ratio) as artificial_count,
        sum((streams.stream_count - coalesce(streams.artificial_count, 0)) * shares.share_ratio) as genuine_count,
        sum(streams.intentional_count * shares.share_ratio) as intentional_count
    from streams
    inner join shares
        on
            streams.track_id = shares.track_id
            and streams.territory = shares.territory
            and streams.held_on = shares.held_on
    group by streams.month_on, streams.track_id, shares.holder_id, streams.territory, streams.tier
)

select
    held.month_on,
    held.track_id,
    held.holder_id,
    held.territory,
    held.tier,
    held.holder_name,
    held.stream_count::numeric(24, 6) as stream_count,
    held.artificial_count::numeric(24, 6) as artificial_count,
    eligible.is_eligible,
    eligible.not_eligible_reason,
    case when eligible.is_eligible then held.genuine_count else 0 end::numeric(24, 6) as payable_count,
    case when eligible.is_eligible then held.intentional_count else 0 end::numeric(24, 6) as payable_intentional_count
from held
inner join {{ ref('int_eligible_tracks') }} as eligible
    on held.track_id = eligible.track_id and held.month_on = eligible.month_on
