with source as (
    select * from {{ source('raw', '_touched') }}
),

renamed as (
    select
        dataset,
        event_on
    from source
)

select * from renamed
