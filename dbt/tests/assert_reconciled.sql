{{ config(tags=['ci']) }}
-- No row is lost between delivery, lake, warehouse and marts.

select
    dataset,
    received_on as lost_on,
    difference_count
from {{ ref('reconciliation') }}
where difference_count <> 0

union all

select
    dataset,
    event_on,
    difference_count
from {{ ref('reconciliation_days') }}
where difference_count <> 0
