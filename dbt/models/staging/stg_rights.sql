with source as (
    {{ read_raw('rights') }}
),

renamed as (
    select
        track_id,
        holder_id,
        holder_name,
        territory,
        share_ratio::numeric as share_ratio,
        is_own,
        valid_from_on,
        coalesce(valid_to_on, 'infinity') as valid_to_on
    from source
)

select * from renamed
