with source as (
    {{ read_raw('plans') }}
),

renamed as (
    select
        plan_id,
        country,
        tier,
        billing_period,
        price_amount,
        currency,
        valid_from_on,
        coalesce(valid_to_on, 'infinity') as valid_to_on
    from source
)

select * from renamed
