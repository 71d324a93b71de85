with source as (
    {{ read_raw('artificial_streams') }}
),

renamed as (
    select
        play_id,
        flagged_on,
        reason,
        score,
        model_version,
        received_on
    from source
)

select * from renamed
