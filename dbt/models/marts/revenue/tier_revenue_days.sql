{{ config(
    enabled=has('payments') or has('ad_impressions'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['revenue_on', 'country', 'tier', 'stream_of_revenue'],
    indexes=[{'columns': ['revenue_on', 'country', 'tier', 'stream_of_revenue'], 'unique': true}],
    meta={
        'scope': {
            'relation': 'int_changed_tier_days',
            'columns': {'revenue_on': 'revenue_on', 'stream_of_revenue': 'stream_of_revenue'},
        },
        'day': 'revenue_on',
    }
) }}
{%- set paid_days -%}
(select revenue_on from {{ ref('int_changed_tier_days') }} where stream_of_revenue = 'subscription') as of_stream
{%- endset %}
{%- set shown_days -%}
(select revenue_on from {{ ref('int_changed_tier_days') }} where stream_of_revenue = 'advertising') as of_stream
{%- endset %}

with fx as (
    select * from {{ ref('int_fx') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

payments as (
    select * from {{ of_days(ref('stg_payments'), 'paid_on', paid_days, 'revenue_on') }} as of_changed
    where status in ('succeeded', 'refunded')
),

impressions as (
    select * from {{ of_days(ref('stg_ad_impressions'), 'shown_on', shown_days, 'revenue_on') }} as of_changed
),

-- the tier of the plan that the payer had last on the day; advertising pays for what is heard free of charge
money as (
    select
        payments.paid_on as revenue_on,
        'subscription' as stream_of_revenue,
        coalesce(payments.country, 'ZZ') as country,
        {%- if has('subscription_events', 'plans') %}
        coalesce(
            (
                select states.tier from {{ ref('int_subscriber_states') }} as states
                where
                    states.listener_key = payments.listener_key
                    and states.changed_on <= payments.paid_on
                    and states.tier is not null
                order by states.changed_on desc
                limit 1
            ),
            'unknown'
        ) as tier,
        {%- else %}
        'unknown' as tier,
        {%- endif %}
        payments.currency,
        case payments.status when 'succeeded' then payments.amount else 0 end as gross_amount,
        case payments.status when 'refunded' then payments.amount else 0 end as refund_amount,
        case payments.status when 'refunded' then -1 else 1 end * coalesce(payments.tax_amount, 0) as tax_amount
    from payments
    union all
    select
        shown_on as revenue_on,
        'advertising' as stream_of_revenue,
        coalesce(country, 'ZZ') as country,
        'free' as tier,
        currency,
        revenue_amount as gross_amount,
        0 as refund_amount,
        0 as tax_amount
    from impressions
),

converted as (
    select
        money.revenue_on,
        money.country,
        money.tier,
        money.stream_of_revenue,
        fx.rate,
        money.gross_amount * fx.rate as gross_amount,
        money.refund_amount * fx.rate as refund_amount,
        money.tax_amount * fx.rate as tax_amount
    from money
    left join fx
        on
            money.currency = fx.currency
            and money.revenue_on >= fx.valid_from_on
            and money.revenue_on < fx.valid_to_on
),

summed as (
    select
        revenue_on,
        country,
        tier,
        stream_of_revenue,
        coalesce(sum(gross_amount), 0)::numeric(24, 6) as gross_amount,
        coalesce(sum(refund_amount), 0)::numeric(24, 6) as refund_amount,
        coalesce(sum(tax_amount), 0)::numeric(24, 6) as tax_amount,
        count(*) as transaction_count,
        count(*) filter (where rate is null) as unconverted_count
    from converted
    group by revenue_on, country, tier, stream_of_revenue
)

select
    summed.revenue_on,
    summed.country,
    summed.tier,
    summed.stream_of_revenue,
    summed.gross_amount,
    summed.refund_amount,
    summed.tax_amount,
    summed.gross_amount - summed.refund_amount - summed.tax_amount as net_amount,
    tenant.currency,
    summed.transaction_count,
    summed.unconverted_count,
    case
        when summed.stream_of_revenue = 'advertising'
            then summed.gross_amount * 1000 / nullif(summed.transaction_count - summed.unconverted_count, 0)
    end::numeric(18, 6) as ecpm_amount
from summed
cross join tenant
