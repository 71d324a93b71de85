with source as (
    {{ read_raw('listeners') }}
),

renamed as (
    select
        listener_key,
        country,
        birth_year,
        gender,
        channel,
        signed_up_at
    from source
)

select * from renamed
