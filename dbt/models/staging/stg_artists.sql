with source as (
    {{ read_raw('artists') }}
),

renamed as (
    select
        artist_id,
        artist_name,
        country,
        genre
    from source
)

select * from renamed
