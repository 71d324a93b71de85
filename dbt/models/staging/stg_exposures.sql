with source as (
    {{ read_raw('exposures') }}
),

renamed as (
    select
        experiment_id,
        listener_key,
        variant,
        exposed_at,
        exposed_on,
        received_on
    from source
)

select * from renamed
