{{ config(
    enabled=has('plays', 'rights') and (has('payments') or has('ad_impressions')),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['month_on', 'territory', 'tier', 'listener_key'],
    indexes=[{'columns': ['month_on', 'territory', 'tier', 'listener_key'], 'unique': true}],
    meta={'scope': {'relation': 'int_changed_fee_months', 'columns': {'month_on': 'month_on'}}, 'day': 'month_on'}
) }}
{#- Net revenue of a month by territory and tier, of each payer; the revenue of advertisements is of tier free and of nobody (''). What of
    it is the pool is taken by the share of the day on which it was paid. Nothing is rounded. -#}
{%- set changed_months = ref('int_changed_fee_months') %}

with payments as (
    select * from {{ of_days(ref('stg_payments'), 'paid_on', month_days(changed_months), 'played_on') }} as payments
    where status in ('succeeded', 'refunded')
),

tiers as (
    {%- if has('subscription_events', 'plans') %}
    select
        payments.payment_id,
        periods.tier
    from payments
    cross join
        lateral (
            select any_period.tier from {{ ref('int_period_tiers') }} as any_period
            where any_period.subscription_id = payments.subscription_id and any_period.period_from_on <= payments.paid_on
            order by any_period.period_from_on desc
            limit 1
        ) as periods
    {%- else %}
    select
        null::text as payment_id,
        null::text as tier
    where false
    {%- endif %}
),

paid as (
    select
        payments.listener_key,
        payments.country,
        payments.currency,
        payments.paid_on,
        tiers.tier,
        case payments.status when 'refunded' then -1 else 1 end * (payments.amount - coalesce(payments.tax_amount, 0)) as net_amount
    from payments
    left join tiers on payments.payment_id = tiers.payment_id
),

money as (
    select
        listener_key,
        country,
        coalesce(tier, 'unknown') as tier,
        currency,
        paid_on as earned_on,
        net_amount
    from paid
    union all
    select
        '' as listener_key,
        country,
        'free' as tier,
        currency,
        shown_on as earned_on,
        revenue_amount as net_amount
    from {{ of_days(ref('stg_ad_impressions'), 'shown_on', month_days(changed_months), 'played_on') }} as impressions
),

converted as (
    select
        {{ month_of('money.earned_on') }} as month_on,
        coalesce(money.country, 'ZZ') as territory,
        money.tier,
        money.listener_key,
        money.net_amount * fx.rate as net_amount,
        money.net_amount * fx.rate * rules.pool_share as pool_amount
    from money
    inner join {{ ref('int_rules') }} as rules
        on money.earned_on >= rules.valid_from_on and money.earned_on < rules.valid_to_on
    left join {{ ref('int_fx') }} as fx
        on
            money.currency = fx.currency
            and money.earned_on >= fx.valid_from_on
            and money.earned_on < fx.valid_to_on
)

select
    month_on,
    territory,
    tier,
    listener_key,
    coalesce(sum(net_amount), 0) as net_amount,
    coalesce(sum(pool_amount), 0) as pool_amount,
    count(*) filter (where net_amount is null) as unconverted_count
from converted
group by month_on, territory, tier, listener_key
