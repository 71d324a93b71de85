{{ config(
    enabled=has('plays', 'tracks'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['listener_id', 'artist_id'],
    indexes=[{'columns': ['listener_id', 'artist_id'], 'unique': true}],
    meta={'scope': {'relation': 'int_affected', 'columns': {'listener_id': 'listener_id'}}}
) }}
{#- Since when a listener has streamed an artist, and until when. -#}
{%- set affected = ref('int_affected') %}

with months as (
    select * from {{ ref('int_artist_listener_months') }}
    {%- if not builds_all() %}
    where listener_id in (select affected.listener_id from {{ affected }} as affected)
    {%- endif %}
)

select
    listener_id,
    artist_id,
    min(first_streamed_on) as first_streamed_on,
    max(last_streamed_on) as last_streamed_on,
    max(last_intentional_on) as last_intentional_on
from months
group by listener_id, artist_id
