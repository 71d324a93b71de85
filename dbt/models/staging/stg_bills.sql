with source as (
    select * from {{ source('raw', 'bills') }}
),

renamed as (
    select
        valid_from_on,
        coalesce(valid_to_on, 'infinity') as valid_to_on,
        month_amount,
        included_rows as included_count,
        million_rows_amount
    from source
)

select * from renamed
