with source as (
    select * from {{ source('raw', 'time_zones') }}
),

renamed as (
    select
        valid_from_at,
        coalesce(valid_to_at, 'infinity') as valid_to_at,
        time_zone
    from source
)

select * from renamed
