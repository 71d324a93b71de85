with source as (
    {{ read_raw('releases') }}
),

renamed as (
    select
        release_id,
        title,
        artist_id,
        upc,
        release_type,
        label,
        released_on
    from source
)

select * from renamed
