with source as (
    {{ read_raw('playlist_tracks') }}
),

renamed as (
    select
        change_id,
        playlist_id,
        track_id,
        change,
        position,
        changed_at,
        changed_on
    from source
)

select * from renamed
