with source as (
    {{ read_raw('interactions') }}
),

renamed as (
    select
        interaction_id,
        listener_key,
        interaction,
        track_id,
        artist_id,
        country,
        platform,
        interacted_at,
        interacted_on,
        received_on
    from source
)

select * from renamed
