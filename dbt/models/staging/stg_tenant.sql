with source as (
    select * from {{ source('raw', 'tenant') }}
),

renamed as (
    select
        slug,
        name,
        currency,
        begins_on,
        sees_whole_market,
        business_day
    from source
)

select * from renamed
