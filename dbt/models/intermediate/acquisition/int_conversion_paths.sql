{{ config(
    enabled=has('touchpoints', 'listeners', 'subscription_events', 'plans'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['listener_key'],
    indexes=[{'columns': ['listener_key'], 'unique': true}, {'columns': ['path_on']}],
    meta={
        'scope': {'relation': 'int_affected_journeys', 'columns': {'listener_key': 'listener_key'}},
        'day': 'path_on',
    }
) }}
{#- The touchpoints, in their order, that count for a listener: those of the 30 days before the first payment, or, of a listener who has not
    paid, of the 30 days before the last touchpoint. A day is 24 hours here: no clock is put forward in a half-life. -#}
{%- set affected = ref('int_affected_journeys') %}
{%- set window = "interval '720 hours'" %}

with touchpoints as (
    select * from {{ ref('touchpoints') }}
    {%- if not builds_all() %}
    where listener_key in (select affected.listener_key from {{ affected }} as affected)
    {%- endif %}
),

paid as (
    select distinct on (listener_key)
        listener_key,
        opened_at as converted_at,
        opened_on as converted_on
    from {{ ref('subscription_periods') }}
    where
        kind = 'paid'
        {%- if not builds_all() %}
        and listener_key in (select affected.listener_key from {{ affected }} as affected)
        {%- endif %}
    order by listener_key, opened_at
),

touched as (
    select
        listener_key,
        max(touched_at) as last_touched_at,
        max(touched_on) as last_touched_on
    from touchpoints
    group by listener_key
),

ends as (
    select
        paid.converted_at,
        paid.converted_on,
        coalesce(paid.listener_key, touched.listener_key) as listener_key,
        coalesce(paid.converted_at, touched.last_touched_at) as ends_at,
        coalesce(paid.converted_on, touched.last_touched_on) as path_on
    from paid
    full outer join touched on paid.listener_key = touched.listener_key
)

select
    ends.listener_key,
    ends.path_on,
    ends.converted_at,
    ends.converted_on,
    coalesce(
        array_agg(touchpoints.channel order by touchpoints.touched_at, touchpoints.touchpoint_id)
        filter (where touchpoints.channel is not null),
        '{}'
    ) as channels,
    coalesce(
        array_agg(
            extract(epoch from ends.ends_at - touchpoints.touched_at) order by touchpoints.touched_at, touchpoints.touchpoint_id
        ) filter (where touchpoints.channel is not null),
        '{}'
    ) as ages_seconds
from ends
left join touchpoints
    on
        ends.listener_key = touchpoints.listener_key
        and ends.ends_at >= touchpoints.touched_at
        and ends.ends_at <= touchpoints.touched_at + {{ window }}
group by ends.listener_key, ends.path_on, ends.converted_at, ends.converted_on
