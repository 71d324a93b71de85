{{ config(enabled=has('touchpoints'), materialized='view') }}
{#- Days on which a touchpoint came, went or changed, or whose cost is converted at another rate. -#}

select event_on as touched_on
from {{ ref('stg_touched') }}
where dataset = 'touchpoints'

union

select later.touched_on
from {{ ref('int_rerated') }} as rerated
cross join
    lateral (
        select touchpoints.touched_on from {{ ref('stg_touchpoints') }} as touchpoints
        where touchpoints.touched_on >= rerated.rerated_from_on and touchpoints.currency = rerated.currency
        offset 0
    ) as later
