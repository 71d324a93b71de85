{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['subscription_id', 'period_from_on'],
    indexes=[
        {'columns': ['subscription_id', 'period_from_on'], 'unique': true},
        {'columns': ['listener_key']},
        {'columns': ['period_from_on', 'opened_by']},
        {'columns': ['churned_on']},
    ],
    meta={
        'scope': {'relation': 'int_affected_subscribers', 'columns': {'listener_key': 'listener_key'}},
        'day': 'period_from_on',
    }
) }}
{%- set affected = ref('int_affected_subscribers') %}

with events as (
    select * from {{ ref('stg_subscription_events') }}
    {%- if not builds_all() %}
    where listener_key in (select affected.listener_key from {{ affected }} as affected)
    {%- endif %}
),

plans as (
    select * from {{ ref('stg_plans') }}
),

listeners as (
    select
        listener_key,
        country
    from {{ ref('stg_listeners') }}
),

rules as (
    select * from {{ ref('int_rules') }}
),

fx as (
    select * from {{ ref('int_fx') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

-- every event belongs to the period that was opened last before it; a change of plan goes on with the trial or paid time that it is in
numbered as (
    select
        *,
        count(*) filter (
            where event_type in ('trial_started', 'started', 'renewed', 'plan_changed', 'reactivated')
        ) over lived as period_number,
        count(*) filter (where event_type in ('trial_started', 'started', 'renewed', 'reactivated')) over lived as term_number
    from events
    window lived as (partition by subscription_id order by occurred_at, event_id)
),

opened as (
    select
        *,
        first_value(event_type) over term as term_type,
        first_value(period_to_on) over term as term_to_on,
        coalesce(period_from_on, occurred_on) as from_on
    from numbered
    where event_type in ('trial_started', 'started', 'renewed', 'plan_changed', 'reactivated')
    window term as (partition by subscription_id, term_number order by occurred_at, event_id)
),

endings as (
    select
        subscription_id,
        period_number,
        bool_or(event_type = 'auto_renew_off') as is_auto_renew_off,
        min(occurred_on) filter (where event_type = 'auto_renew_off') as auto_renew_off_on,
        bool_or(event_type = 'payment_failed') as has_payment_failed,
        -- on the day of its end the subscription still stood
        min(occurred_on) filter (where event_type = 'ended') + 1 as ended_before_on,
        (array_agg(end_reason order by occurred_at, event_id) filter (where event_type = 'ended'))[1] as ended_reason
    from numbered
    group by subscription_id, period_number
),

-- of two periods of a subscription from the same day the one told last counts
latest as (
    select distinct on (subscription_id, from_on) *
    from opened
    order by subscription_id asc, from_on asc, occurred_at desc, event_id desc
),

-- the price of the day on which the period begins, in the listener's country, else everywhere else, else in the first country
priced as (
    select distinct on (latest.subscription_id, latest.from_on)
        latest.*,
        plans.tier,
        plans.billing_period,
        plans.price_amount,
        plans.currency as price_currency,
        plans.country as price_country
    from latest
    left join listeners on latest.listener_key = listeners.listener_key
    left join plans
        on
            latest.plan_id = plans.plan_id
            and latest.from_on >= plans.valid_from_on
            and latest.from_on < plans.valid_to_on
    order by
        latest.subscription_id asc,
        latest.from_on asc,
        coalesce(plans.country = listeners.country, false) desc,
        plans.country = 'WW' desc,
        plans.country
),

bounded as (
    select
        priced.*,
        endings.is_auto_renew_off,
        endings.auto_renew_off_on,
        endings.has_payment_failed,
        endings.ended_reason,
        case when priced.term_type = 'trial_started' then 'trial' else 'paid' end as kind,
        -- a period ends as announced, or when the next one begins, or when the subscription ends
        least(
            coalesce(
                priced.period_to_on,
                case when priced.event_type = 'plan_changed' then priced.term_to_on end,
                (priced.from_on + case priced.billing_period when 'year' then interval '1 year' else interval '1 month' end)::date
            ),
            lead(priced.from_on) over (partition by priced.subscription_id order by priced.from_on),
            case when endings.ended_before_on is not null then greatest(endings.ended_before_on, priced.from_on) end
        ) as to_on
    from priced
    inner join endings
        on priced.subscription_id = endings.subscription_id and priced.period_number = endings.period_number
),

valid as (
    select
        bounded.*,
        fx.rate,
        start_rules.trial_days + start_rules.grace_days as conversion_days,
        end_rules.churn_grace_days
    from bounded
    inner join rules as start_rules
        on bounded.from_on >= start_rules.valid_from_on and bounded.from_on < start_rules.valid_to_on
    inner join rules as end_rules
        on bounded.to_on >= end_rules.valid_from_on and bounded.to_on < end_rules.valid_to_on
    left join fx
        on
            bounded.price_currency = fx.currency
            and bounded.from_on >= fx.valid_from_on
            and bounded.from_on < fx.valid_to_on
    where bounded.to_on > bounded.from_on
),

-- what came after, of the same listener
followed as (
    select
        valid.subscription_id,
        valid.from_on,
        min(later.from_on) filter (where later.from_on >= valid.from_on) as paid_from_on,
        coalesce(bool_or(later.to_on > valid.to_on and later.from_on <= valid.to_on + valid.churn_grace_days), false) as has_successor
    from valid
    left join valid as later
        on
            valid.listener_key = later.listener_key
            and later.kind = 'paid'
            and (valid.subscription_id, valid.from_on) <> (later.subscription_id, later.from_on)
    group by valid.subscription_id, valid.from_on
),

settled as (
    select
        valid.*,
        followed.paid_from_on,
        followed.has_successor,
        case valid.kind when 'trial' then valid.from_on + valid.conversion_days else valid.to_on + valid.churn_grace_days end as settles_on
    from valid
    inner join followed on valid.subscription_id = followed.subscription_id and valid.from_on = followed.from_on
),

decided as (
    select
        settled.*,
        settled.settles_on <= tenant.business_day as is_settled,
        settled.kind = 'paid'
        and not settled.has_successor
        and settled.settles_on <= tenant.business_day as is_churn
    from settled
    cross join tenant
)

select
    decided.subscription_id,
    decided.from_on as period_from_on,
    decided.to_on as period_to_on,
    decided.listener_key,
    decided.plan_id,
    decided.tier,
    decided.kind,
    decided.billing_period,
    decided.price_amount,
    decided.price_currency,
    decided.price_country,
    case
        when decided.kind = 'trial' then 0
        else decided.price_amount * decided.rate / case decided.billing_period when 'year' then 12 else 1 end
    end::numeric(18, 6) as mrr_amount,
    tenant.currency,
    decided.is_auto_renew_off,
    decided.auto_renew_off_on,
    case when decided.is_churn then decided.to_on end as churned_on,
    case
        when not decided.is_churn then null
        when decided.ended_reason in ('voluntary', 'payment_failure') then decided.ended_reason
        when decided.is_auto_renew_off then 'voluntary'
        when decided.has_payment_failed then 'payment_failure'
        else 'unknown'
    end as churn_reason,
    -- of trials, and only when its time is over
    case
        when decided.kind = 'trial' and decided.is_settled
            then coalesce(decided.paid_from_on <= decided.settles_on, false)
    end as is_converted,
    decided.settles_on,
    decided.is_settled,
    decided.event_type as opened_by,
    decided.occurred_at as opened_at,
    decided.occurred_on as opened_on
from decided
cross join tenant
