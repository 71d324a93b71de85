{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['month_on'],
    indexes=[{'columns': ['month_on'], 'unique': true}],
    meta={
        'scope': {'relation': 'int_changed_usage_months', 'columns': {'month_on': 'month_on'}},
        'day': 'month_on',
    }
) }}
{%- set changed_months = ref('int_changed_usage_months') %}

with nights as (
    select
        received_on,
        {{ month_of('received_on') }} as month_on,
        count(*) as batch_count,
        sum(delivered_count) as delivered_count,
        sum(valid_count) as valid_count
    from {{ ref('stg_reconciliation') }}
    where {% if builds_all() %}true{% else %}{{ month_of('received_on') }} in (select month_on from {{ changed_months }}){% endif %}
    group by received_on
),

received as (
    select
        month_on,
        sum(batch_count)::bigint as batch_count,
        sum(delivered_count)::bigint as delivered_count,
        sum(valid_count)::bigint as valid_count,
        max(delivered_count)::bigint as max_night_count
    from nights
    group by month_on
),

{%- if has('plays') %}

listened as (
    select
        {{ month_of('played_on') }} as month_on,
        sum(play_count)::bigint as play_count,
        sum(stream_count)::bigint as stream_count,
        count(distinct listener_key) filter (where stream_count > 0) as listeners_month
    from {{ of_days(ref('listener_days'), 'played_on', month_days(changed_months)) }} as listener_days
    group by {{ month_of('played_on') }}
)
{%- else %}

listened as (
    select
        month_on,
        null::bigint as play_count,
        null::bigint as stream_count,
        null::bigint as listeners_month
    from received
)
{%- endif %}

select
    coalesce(received.month_on, listened.month_on) as month_on,
    coalesce(received.batch_count, 0) as batch_count,
    coalesce(received.delivered_count, 0) as delivered_count,
    coalesce(received.valid_count, 0) as valid_count,
    received.max_night_count,
    {%- if has('plays') %}
    coalesce(listened.play_count, 0) as play_count,
    coalesce(listened.stream_count, 0) as stream_count,
    coalesce(listened.listeners_month, 0) as listeners_month
    {%- else %}
    listened.play_count,
    listened.stream_count,
    listened.listeners_month
    {%- endif %}
from received
full outer join listened on received.month_on = listened.month_on
