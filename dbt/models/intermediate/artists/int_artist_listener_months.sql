{{ config(
    enabled=has('plays', 'tracks'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['listener_key', 'artist_id', 'month_on'],
    indexes=[{'columns': ['listener_key', 'month_on', 'artist_id'], 'unique': true}],
    meta={'scope': {
        'relation': 'int_affected_months',
        'columns': {'listener_key': 'listener_key', 'month_on': 'month_on'},
    }}
) }}
{#- A step on the way to what an artist is to a listener: a night looks at the listeners' months that it changed, not at all since the
    first. -#}
{%- set affected_months = ref('int_affected_months') %}

with streams as (
    {%- if builds_all() %}
    select
        *,
        {{ month_of('played_on') }} as month_on
    from {{ ref('plays') }}
    {%- else %}
    select
        plays.*,
        affected.month_on
    from {{ affected_months }} as affected
    cross join
        lateral (
            select days.played_on::date as played_on
            from generate_series(affected.month_on, affected.month_on + interval '1 month - 1 day', interval '1 day') as days (played_on)
        ) as of_month
    cross join
        lateral (
            select * from {{ ref('plays') }} as any_day
            where any_day.played_on = of_month.played_on and any_day.listener_key = affected.listener_key
            offset 0
        ) as plays
    {%- endif %}
)

select
    listener_key,
    artist_id,
    month_on,
    min(played_on) as first_streamed_on,
    max(played_on) as last_streamed_on,
    max(played_on) filter (where is_intentional) as last_intentional_on
from streams
where is_stream and artist_id is not null
group by listener_key, artist_id, month_on
