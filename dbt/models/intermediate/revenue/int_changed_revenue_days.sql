{{ config(materialized='view') }}
{#- Days on which a payment or an impression came, went or changed, or is converted at another rate. -#}

select event_on as revenue_on
from {{ ref('stg_touched') }}
where dataset in ('payments', 'ad_impressions')

union

select payments.paid_on
from {{ ref('stg_payments') }} as payments
inner join {{ ref('int_rerated') }} as rerated
    on payments.currency = rerated.currency and payments.paid_on >= rerated.rerated_from_on

union

select impressions.shown_on
from {{ ref('stg_ad_impressions') }} as impressions
inner join {{ ref('int_rerated') }} as rerated
    on impressions.currency = rerated.currency and impressions.shown_on >= rerated.rerated_from_on
