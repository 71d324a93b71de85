with source as (
    {{ read_raw('playlists') }}
),

renamed as (
    select
        playlist_id,
        valid_from_on,
        coalesce(valid_to_on, 'infinity') as valid_to_on,
        title,
        playlist_type,
        follower_count
    from source
)

select * from renamed
