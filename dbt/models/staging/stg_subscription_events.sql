with source as (
    {{ read_raw('subscription_events') }}
),

renamed as (
    select
        event_id,
        subscription_id,
        listener_key,
        event_type,
        plan_id,
        previous_plan_id,
        end_reason,
        period_from_on,
        period_to_on,
        occurred_at,
        occurred_on,
        received_on
    from source
)

select * from renamed
