{{ config(indexes=[{'columns': ['dataset', 'received_on'], 'unique': true}]) }}

with batches as (
    select * from {{ ref('stg_reconciliation') }}
)

select
    dataset,
    received_on,
    count(*) as batch_count,
    count(*) filter (where valid_count is null) as held_batch_count,
    sum(delivered_count)::bigint as delivered_count,
    sum(left_out_count)::bigint as left_out_count,
    sum(valid_count)::bigint as valid_count,
    sum(quarantined_count)::bigint as quarantined_count,
    -- of the batches that have passed their gate
    sum(quarantined_count) / nullif(sum(valid_count + quarantined_count), 0)::double precision as quarantined_ratio,
    coalesce(
        sum(delivered_count - left_out_count - valid_count - quarantined_count), 0
    )::bigint as difference_count
from batches
group by dataset, received_on
