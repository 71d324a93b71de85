{{ config(
    enabled=has('plays', 'rights'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['month_on', 'track_id', 'holder_id', 'licence_territory', 'licensed_from_on'],
    indexes=[
        {'columns': ['month_on', 'track_id', 'holder_id', 'licence_territory', 'licensed_from_on'], 'unique': true},
    ],
    meta={
        'scope': {'relation': 'int_changed_payable_months', 'columns': {'month_on': 'month_on'}},
        'day': 'month_on',
    }
) }}
{%- set changed_months = ref('int_changed_payable_months') %}

with days as (
    select
        *,
        {{ held_on('track_id', 'played_on') }} as held_on
    from {{ of_days(ref('int_stream_days'), 'played_on', month_days(changed_months)) }} as stream_days
),

streams as (
    select
        held_on,
        track_id,
        territory,
        sum(stream_count) as stream_count,
        sum(artificial_count) as artificial_count,
        min(played_on) as first_streamed_on,
        max(played_on) as last_streamed_on
    from days
    group by held_on, track_id, territory
),

shares as (
    select * from {{ held_shares('streams') }} as held
)

select
    {{ month_of('streams.held_on') }} as month_on,
    streams.track_id,
    shares.holder_id,
    shares.licence_territory,
    shares.licensed_from_on,
    max(shares.holder_name) as holder_name,
    sum(streams.stream_count)::bigint as stream_count,
    sum(streams.artificial_count)::bigint as artificial_count,
    sum(streams.stream_count * shares.share_ratio)::numeric(24, 6) as share_count,
    count(distinct streams.territory) as territory_count,
    min(streams.first_streamed_on) as first_streamed_on,
    max(streams.last_streamed_on) as last_streamed_on
from streams
inner join shares
    on
        streams.track_id = shares.track_id
        and streams.territory = shares.territory
        and streams.held_on = shares.held_on
        and shares.licence_territory is not null
group by
    {{ month_of('streams.held_on') }}, streams.track_id, shares.holder_id, shares.licence_territory, shares.licensed_from_on
