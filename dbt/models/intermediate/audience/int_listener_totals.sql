{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key='listener_key',
    indexes=[{'columns': ['listener_key'], 'unique': true}],
    meta={'scope': {'relation': 'int_affected', 'columns': {'listener_key': 'listener_key'}}}
) }}
{%- set affected = ref('int_affected') %}

with months as (
    select * from {{ ref('int_listener_months') }}
    {%- if not builds_all() %}
    where listener_key in (select affected.listener_key from {{ affected }} as affected)
    {%- endif %}
)

select
    listener_key,
    sum(play_count)::bigint as play_count,
    sum(stream_count)::bigint as stream_count,
    sum(ms_played)::bigint as ms_played,
    sum(session_count)::bigint as session_count,
    sum(active_day_count)::bigint as active_day_count,
    min(first_streamed_on) as first_streamed_on,
    max(last_streamed_on) as last_streamed_on
from months
group by listener_key
