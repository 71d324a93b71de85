with source as (
    select * from {{ source('raw', '_touched_rows') }}
),

renamed as (
    select
        dataset,
        row as touched_row
    from source
)

select * from renamed
