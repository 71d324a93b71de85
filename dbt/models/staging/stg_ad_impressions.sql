with source as (
    {{ read_raw('ad_impressions') }}
),

renamed as (
    select
        impression_id,
        campaign_id,
        revenue_amount,
        currency,
        country,
        is_clicked,
        shown_at,
        shown_on,
        received_on
    from source
)

select * from renamed
