{{ config(
    enabled=has('plays', 'rights'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['month_on', 'territory', 'holder_id'],
    indexes=[{'columns': ['month_on', 'territory', 'holder_id'], 'unique': true}],
    meta={
        'scope': {'relation': 'int_changed_market_months', 'columns': {'month_on': 'month_on'}},
        'day': 'month_on',
    }
) }}
{%- set changed_months = ref('int_changed_market_months') %}

with held as (
    select
        month_on,
        territory,
        holder_id,
        max(holder_name) as holder_name,
        sum(stream_count) as stream_count
    from {{ of_days(ref('payable_months'), 'month_on', changed_months) }} as payable_months
    group by month_on, territory, holder_id
),

markets as (
    select
        *,
        sum(stream_count) over (partition by month_on, territory) as market_count
    from held
)

select
    markets.month_on,
    markets.territory,
    markets.holder_id,
    markets.holder_name,
    markets.stream_count::numeric(24, 6) as stream_count,
    case
        when tenant.sees_whole_market then (markets.stream_count / markets.market_count)::numeric(12, 9)
    end as market_share_ratio,
    case
        when not tenant.sees_whole_market then 'only its own streams are seen, not the market''s'
    end as market_share_reason
from markets
cross join {{ ref('stg_tenant') }} as tenant
