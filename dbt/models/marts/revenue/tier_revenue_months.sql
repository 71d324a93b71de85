{{ config(
    enabled=has('payments') or has('ad_impressions'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['month_on', 'country', 'tier', 'stream_of_revenue'],
    indexes=[{'columns': ['month_on', 'country', 'tier', 'stream_of_revenue'], 'unique': true}],
    meta={
        'scope': {'relation': 'int_changed_revenue_months', 'columns': {'month_on': 'month_on'}},
        'day': 'month_on',
    }
) }}
{%- set changed_months = ref('int_changed_revenue_months') %}

with days as (
    select
        *,
        {{ month_of('revenue_on') }} as month_on
    from {{ of_days(ref('tier_revenue_days'), 'revenue_on', month_days(changed_months), 'played_on') }} as of_changed
)

select
    month_on,
    country,
    tier,
    stream_of_revenue,
    sum(gross_amount)::numeric(24, 6) as gross_amount,
    sum(refund_amount)::numeric(24, 6) as refund_amount,
    sum(tax_amount)::numeric(24, 6) as tax_amount,
    sum(net_amount)::numeric(24, 6) as net_amount,
    currency,
    sum(transaction_count)::bigint as transaction_count,
    sum(unconverted_count)::bigint as unconverted_count,
    case
        when stream_of_revenue = 'advertising'
            then sum(gross_amount) * 1000 / nullif(sum(transaction_count - unconverted_count), 0)
    end::numeric(18, 6) as ecpm_amount
from days
group by month_on, country, tier, stream_of_revenue, currency
