with source as (
    {{ read_raw('sales') }}
),

renamed as (
    select
        sale_id,
        sold_on,
        release_id,
        track_id,
        unit_count,
        net_amount,
        currency,
        country,
        format,
        received_on
    from source
)

select * from renamed
