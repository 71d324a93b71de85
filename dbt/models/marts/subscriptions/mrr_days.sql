{{ config(indexes=[{'columns': ['day_on'], 'unique': true}]) }}

with changes as (
    select * from {{ ref('int_mrr_changes') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

days as (
    select days.day_on::date as day_on
    from (select min(changed_on) as first_on from changes) as first_change
    cross join tenant
    cross join generate_series(first_change.first_on, tenant.business_day, interval '1 day') as days (day_on)
),

moved as (
    select
        days.day_on,
        coalesce(sum(changes.amount) filter (where changes.movement = 'new'), 0) as new_amount,
        coalesce(sum(changes.amount) filter (where changes.movement = 'expansion'), 0) as expansion_amount,
        coalesce(-sum(changes.amount) filter (where changes.movement = 'contraction'), 0) as contraction_amount,
        coalesce(-sum(changes.amount) filter (where changes.movement = 'churn'), 0) as churn_amount,
        coalesce(sum(changes.amount) filter (where changes.movement = 'reactivation'), 0) as reactivation_amount,
        coalesce(sum(changes.amount), 0) as amount,
        coalesce(sum(changes.payer_step), 0) as payer_step,
        count(*) filter (where changes.movement = 'new') as new_payer_count,
        count(*) filter (where changes.movement = 'churn') as churned_payer_count,
        count(*) filter (where changes.movement = 'reactivation') as reactivated_payer_count,
        count(*) filter (where changes.movement = 'contraction' and changes.payer_step < 0) as lapsed_payer_count,
        count(*) filter (where changes.movement = 'expansion' and changes.payer_step > 0) as returned_payer_count
    from days
    left join changes on days.day_on = changes.changed_on
    group by days.day_on
),

levels as (
    select
        *,
        sum(amount) over (order by day_on) as closing_amount,
        sum(payer_step) over (order by day_on) as payer_count
    from moved
)

select
    levels.day_on,
    (levels.closing_amount - levels.amount)::numeric(24, 6) as opening_amount,
    levels.new_amount::numeric(24, 6) as new_amount,
    levels.expansion_amount::numeric(24, 6) as expansion_amount,
    levels.contraction_amount::numeric(24, 6) as contraction_amount,
    levels.churn_amount::numeric(24, 6) as churn_amount,
    levels.reactivation_amount::numeric(24, 6) as reactivation_amount,
    levels.closing_amount::numeric(24, 6) as closing_amount,
    levels.payer_count::bigint as payer_count,
    levels.new_payer_count,
    levels.churned_payer_count,
    levels.reactivated_payer_count,
    levels.lapsed_payer_count,
    levels.returned_payer_count,
    (levels.closing_amount / nullif(levels.payer_count, 0))::numeric(18, 6) as arppu_amount,
    tenant.currency
from levels
cross join tenant
