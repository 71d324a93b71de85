with source as (
    {{ read_raw('touchpoints') }}
),

renamed as (
    select
        touchpoint_id,
        listener_key,
        channel,
        campaign_id,
        cost_amount,
        currency,
        touched_at,
        touched_on,
        received_on
    from source
)

select * from renamed
