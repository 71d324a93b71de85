{{ config(
    enabled=has('plays'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['track_id', 'played_on', 'territory', 'tier'],
    indexes=[{'columns': ['track_id', 'played_on', 'territory', 'tier'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_stream_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}
{#- Streams by all that money and units ask for, so that months are added up from days and never from plays. `stream_count` holds the
    artificial ones, `intentional_count` does not. Of `plays` itself only those are looked up that were called artificial, which are few. -#}
{%- set changed_days = ref('int_changed_stream_days') %}

with streams as (
    select
        track_id,
        played_on,
        coalesce(country, 'ZZ') as territory,
        coalesce(tier, 'unknown') as tier,
        count(*) as stream_count,
        count(*) filter (where is_intentional) as intentional_count
    from {{ of_days(ref('int_listens'), 'played_on', changed_days) }} as listens
    where is_stream
    group by track_id, played_on, coalesce(country, 'ZZ'), coalesce(tier, 'unknown')
)

{%- if has('artificial_streams') %},

flags as (
    select * from {{ artificial_plays(changed_days, 'played_on') }} as flags
),

-- a play may have been called so more than once
flagged as (
    select distinct
        plays.play_id,
        plays.track_id,
        plays.played_on,
        coalesce(plays.country, 'ZZ') as territory,
        coalesce(plays.tier, 'unknown') as tier,
        plays.is_intentional
    from flags
    inner join {{ ref('plays') }} as plays on {{ is_flagged('flags', 'plays') }}
    where plays.is_stream
),

artificial as (
    select
        track_id,
        played_on,
        territory,
        tier,
        count(*) as stream_count,
        count(*) filter (where is_intentional) as intentional_count
    from flagged
    group by track_id, played_on, territory, tier
)

select
    streams.track_id,
    streams.played_on,
    streams.territory,
    streams.tier,
    streams.stream_count,
    coalesce(artificial.stream_count, 0) as artificial_count,
    streams.intentional_count - coalesce(artificial.intentional_count, 0) as intentional_count
from streams
left join artificial
    on
        streams.track_id = artificial.track_id and streams.played_on = artificial.played_on
        and streams.territory = artificial.territory and streams.tier = artificial.tier
{%- else %}

select
    track_id,
    played_on,
    territory,
    tier,
    stream_count,
    null::bigint as artificial_count,
    intentional_count
from streams
{%- endif %}
{{ days_together('played_on') }}
