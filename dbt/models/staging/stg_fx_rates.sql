with source as (
    {{ read_raw('fx_rates') }}
),

renamed as (
    select
        currency,
        rated_on,
        rate::numeric as rate
    from source
)

select * from renamed
