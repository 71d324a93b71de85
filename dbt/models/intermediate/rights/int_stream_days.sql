{{ config(
    enabled=has('plays'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['track_id', 'played_on', 'territory', 'tier'],
    indexes=[{'columns': ['track_id', 'played_on', 'territory', 'tier'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_stream_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}
{#- Streams by all that money and units ask for, so that months are added up from days and never from plays. `stream_count` holds the
    artificial ones, `intentional_count` does not. -#}
{%- set changed_days = ref('int_changed_stream_days') %}

with streams as (
    select
        play_id,
        track_id,
        played_on,
        coalesce(country, 'ZZ') as territory,
        coalesce(tier, 'unknown') as tier,
        coalesce(is_intentional, false) as is_intentional
    from {{ of_days(ref('plays'), 'played_on', changed_days) }} as plays
    where is_stream
)

{%- if has('artificial_streams') %},

flags as (
    select * from {{ artificial_plays(changed_days, 'played_on') }} as flags
),

judged as (
    select
        *,
        {{ is_artificial('flags') }} as is_artificial
    from streams
)

select
    track_id,
    played_on,
    territory,
    tier,
    count(*) as stream_count,
    count(*) filter (where is_artificial) as artificial_count,
    count(*) filter (where is_intentional and not is_artificial) as intentional_count
from judged
group by track_id, played_on, territory, tier
{%- else %}

select
    track_id,
    played_on,
    territory,
    tier,
    count(*) as stream_count,
    null::bigint as artificial_count,
    count(*) filter (where is_intentional) as intentional_count
from streams
group by track_id, played_on, territory, tier
{%- endif %}
{{ days_together('played_on') }}
