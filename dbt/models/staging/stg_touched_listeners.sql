with source as (
    select * from {{ source('raw', '_touched_listeners') }}
),

renamed as (
    select
        dataset,
        event_on,
        listener_key
    from source
)

select * from renamed
