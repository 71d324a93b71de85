{{ config(
    enabled=has('payments') or has('ad_impressions'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['revenue_on', 'country', 'stream_of_revenue'],
    indexes=[{'columns': ['revenue_on', 'country', 'stream_of_revenue'], 'unique': true}],
    meta={
        'scope': {'relation': 'int_changed_revenue_days', 'columns': {'revenue_on': 'revenue_on'}},
        'day': 'revenue_on',
    }
) }}

with fx as (
    select * from {{ ref('int_fx') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

-- a refund is positive in the source, and takes away on the day on which it is paid back
subscriptions as (
    select
        paid_on as revenue_on,
        country,
        currency,
        'subscription' as stream_of_revenue,
        case status when 'succeeded' then amount else 0 end as gross_amount,
        case status when 'refunded' then amount else 0 end as refund_amount,
        case status when 'refunded' then -1 else 1 end * coalesce(tax_amount, 0) as tax_amount
    from {{ of_days(ref('stg_payments'), 'paid_on', ref('int_changed_revenue_days'), 'revenue_on') }} as payments
    where status in ('succeeded', 'refunded')
),

advertising as (
    select
        shown_on as revenue_on,
        country,
        currency,
        'advertising' as stream_of_revenue,
        revenue_amount as gross_amount,
        0 as refund_amount,
        0 as tax_amount
    from {{ of_days(ref('stg_ad_impressions'), 'shown_on', ref('int_changed_revenue_days'), 'revenue_on') }} as impressions
),

money as (
    select * from subscriptions
    union all
    select * from advertising
),

-- the day's rate; money without a rate is counted and not added up
converted as (
    select
        money.revenue_on,
        money.stream_of_revenue,
        fx.rate,
        coalesce(money.country, 'ZZ') as country,
        money.gross_amount * fx.rate as gross_amount,
        money.refund_amount * fx.rate as refund_amount,
        money.tax_amount * fx.rate as tax_amount
    from money
    left join fx
        on
            money.currency = fx.currency
            and money.revenue_on >= fx.valid_from_on
            and money.revenue_on < fx.valid_to_on
)

select
    converted.revenue_on,
    converted.country,
    converted.stream_of_revenue,
    coalesce(sum(converted.gross_amount), 0)::numeric(24, 6) as gross_amount,
    coalesce(sum(converted.refund_amount), 0)::numeric(24, 6) as refund_amount,
    coalesce(sum(converted.tax_amount), 0)::numeric(24, 6) as tax_amount,
    coalesce(sum(converted.gross_amount - converted.refund_amount - converted.tax_amount), 0)::numeric(24, 6) as net_amount,
    tenant.currency,
    count(*) as transaction_count,
    count(*) filter (where converted.rate is null) as unconverted_count
from converted
cross join tenant
group by converted.revenue_on, converted.country, converted.stream_of_revenue, tenant.currency
