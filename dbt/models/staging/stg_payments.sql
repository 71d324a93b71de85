with source as (
    {{ read_raw('payments') }}
),

renamed as (
    select
        payment_id,
        listener_key,
        subscription_id,
        status,
        amount,
        tax_amount,
        currency,
        country,
        method,
        paid_at,
        paid_on,
        received_on
    from source
)

select * from renamed
