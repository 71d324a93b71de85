with source as (
    select * from {{ source('raw', 'rules') }}
),

renamed as (
    select
        rule,
        valid_from_on,
        coalesce(valid_to_on, 'infinity') as valid_to_on,
        value
    from source
)

select * from renamed
