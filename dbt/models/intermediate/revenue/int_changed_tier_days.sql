{{ config(enabled=has('payments') or has('ad_impressions'), materialized='view') }}
{#- Days of payments and of impressions of which one came, went or changed, or is converted at another rate; and days on which somebody paid
    whose tier may have been another since. On an ordinary night that is the day itself; a change of long ago asks for the payments since. -#}
{%- set touched, rerated = ref('stg_touched'), ref('int_rerated') %}
{%- set payments, impressions = ref('stg_payments'), ref('stg_ad_impressions') %}

select
    event_on as revenue_on,
    case dataset when 'payments' then 'subscription' else 'advertising' end as stream_of_revenue
from {{ touched }}
where dataset in ('payments', 'ad_impressions')

union

select
    later.paid_on as revenue_on,
    'subscription' as stream_of_revenue
from {{ rerated }} as rerated
cross join
    lateral (
        select payments.paid_on from {{ payments }} as payments
        where payments.paid_on >= rerated.rerated_from_on and payments.currency = rerated.currency
        offset 0
    ) as later

union

select
    later.shown_on as revenue_on,
    'advertising' as stream_of_revenue
from {{ rerated }} as rerated
cross join
    lateral (
        select impressions.shown_on from {{ impressions }} as impressions
        where impressions.shown_on >= rerated.rerated_from_on and impressions.currency = rerated.currency
        offset 0
    ) as later
{%- if has('subscription_events', 'plans') %}

union

select
    later.paid_on as revenue_on,
    'subscription' as stream_of_revenue
from (select min(changed.changed_on) as first_on from {{ changed_days('int_subscriber_states') }} as changed) as changes
cross join
    lateral (
        select payments.paid_on from {{ payments }} as payments
        where
            payments.paid_on >= changes.first_on
            and payments.listener_key in (select affected.listener_key from {{ ref('int_affected_subscribers') }} as affected)
        offset 0
    ) as later
{%- endif %}
