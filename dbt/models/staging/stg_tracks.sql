with source as (
    {{ read_raw('tracks') }}
),

renamed as (
    select
        track_id,
        title,
        artist_id,
        release_id,
        isrc,
        duration_ms,
        genre,
        released_on,
        is_explicit,
        tempo,
        energy,
        danceability,
        valence,
        acousticness,
        instrumentalness,
        speechiness,
        liveness,
        loudness
    from source
)

select * from renamed
