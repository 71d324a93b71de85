{{ config(
    enabled=has('plays', 'tracks'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['listener_id', 'artist_id', 'month_on'],
    indexes=[{'columns': ['listener_id', 'month_on', 'artist_id'], 'unique': true}],
    meta={'scope': {
        'relation': 'int_affected_months',
        'columns': {'listener_id': 'listener_id', 'month_on': 'month_on'},
    }}
) }}
{#- A step on the way to what an artist is to a listener: a night looks at the listeners' months that it changed, not at all since the
    first. -#}
{%- set affected_months = ref('int_affected_months') %}

with days as (
    select
        *,
        {{ month_of('played_on') }} as month_on
    from {{ of_days(ref('int_artist_listener_days'), 'played_on', month_days(affected_months), 'played_on') }} as of_months
    where stream_count > 0
)

select
    days.listener_id,
    days.artist_id,
    days.month_on,
    min(days.played_on) as first_streamed_on,
    max(days.played_on) as last_streamed_on,
    max(days.played_on) filter (where days.intentional_stream_count > 0) as last_intentional_on
from days
{%- if not builds_all() %}
inner join {{ affected_months }} as affected on days.listener_id = affected.listener_id and days.month_on = affected.month_on
{%- endif %}
group by days.listener_id, days.artist_id, days.month_on
