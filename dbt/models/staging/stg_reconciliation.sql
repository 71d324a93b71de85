with source as (
    select * from {{ source('raw', 'reconciliation') }}
),

renamed as (
    select
        dataset,
        batch,
        received_on,
        delivered as delivered_count,
        left_out as left_out_count,
        valid as valid_count,
        quarantined as quarantined_count
    from source
)

select * from renamed
