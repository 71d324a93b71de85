with source as (
    select * from {{ source('raw', 'silver_rows') }}
),

renamed as (
    select
        dataset,
        event_on,
        rows as silver_count,
        duplicates as duplicate_count
    from source
)

select * from renamed
