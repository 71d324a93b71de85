{{ config(
    enabled=has('touchpoints'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['touchpoint_id'],
    indexes=[{'columns': ['touchpoint_id'], 'unique': true}, {'columns': ['listener_key']}, {'columns': ['touched_on']}],
    meta={
        'scope': {'relation': 'int_changed_touch_days', 'columns': {'touched_on': 'touched_on'}},
        'day': 'touched_on',
    }
) }}

with touchpoints as (
    select * from {{ of_days(ref('stg_touchpoints'), 'touched_on', ref('int_changed_touch_days')) }} as of_changed
),

fx as (
    select * from {{ ref('int_fx') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
)

select
    touchpoints.touchpoint_id,
    touchpoints.listener_key,
    touchpoints.touched_at,
    touchpoints.touched_on,
    touchpoints.channel,
    touchpoints.campaign_id,
    (touchpoints.cost_amount * fx.rate)::numeric(18, 6) as cost_amount,
    tenant.currency
from touchpoints
cross join tenant
left join fx
    on
        touchpoints.currency = fx.currency
        and touchpoints.touched_on >= fx.valid_from_on
        and touchpoints.touched_on < fx.valid_to_on
