with source as (
    {{ read_raw('statements') }}
),

renamed as (
    select
        statement_id,
        line_id,
        track_id,
        isrc,
        service,
        country,
        stream_count,
        net_amount,
        currency,
        period_ends_on,
        received_on
    from source
)

select * from renamed
