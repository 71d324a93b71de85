{{ config(tags=['ci'], enabled=has('subscription_events', 'plans')) }}
-- opening + new + expansion - contraction - churn + reactivation = closing, of amounts and of payers; a day opens as the last one closed.

with days as (
    select
        *,
        lag(closing_amount) over (order by day_on) as closed_before,
        lag(payer_count, 1, 0) over (order by day_on) as payers_before
    from {{ ref('mrr_days') }}
)

select *
from days
where
    opening_amount + new_amount + expansion_amount - contraction_amount - churn_amount + reactivation_amount <> closing_amount
    or opening_amount <> coalesce(closed_before, 0)
    or payers_before + new_payer_count - churned_payer_count + reactivated_payer_count - lapsed_payer_count + returned_payer_count
    <> payer_count
