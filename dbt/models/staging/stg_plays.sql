with source as (
    {{ read_raw('plays') }}
),

renamed as (
    select
        play_id,
        listener_key,
        track_id,
        ms_played,
        reason_end,
        context_type,
        context_id,
        country,
        platform,
        tier,
        coalesce(is_offline, false) as is_offline,
        coalesce(is_estimated, false) as is_estimated,
        played_at,
        played_at + ms_played * interval '1 millisecond' as ended_at,
        played_on,
        received_on
    from source
)

select * from renamed
