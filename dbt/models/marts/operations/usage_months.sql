{{ config(indexes=[{'columns': ['month_on'], 'unique': true}]) }}

select
    used.month_on,
    used.batch_count,
    used.delivered_count,
    used.valid_count,
    used.max_night_count,
    used.play_count,
    used.stream_count,
    used.listeners_month,
    round(
        bills.month_amount + bills.million_rows_amount * greatest(used.delivered_count - bills.included_count, 0) / 1000000, 2
    )::numeric(24, 2) as price_amount,
    case when bills.valid_from_on is null then 'the tenant''s file has no bill for the month' end as price_reason
from {{ ref('int_usage_months') }} as used
left join {{ ref('stg_bills') }} as bills
    on used.month_on >= bills.valid_from_on and used.month_on < bills.valid_to_on
