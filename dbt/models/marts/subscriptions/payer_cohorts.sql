{{ config(
    enabled=has('payments', 'subscription_events', 'plans'),
    indexes=[{'columns': ['cohort_on', 'month_number'], 'unique': true}]
) }}
{#- Made of a row a payer, and of no payment. -#}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

payers as (
    select
        {{ month_of('first_paid_on') }} as cohort_on,
        active_months
    from {{ ref('int_payers') }}
),

cohorts as (
    select
        cohort_on,
        count(*) as payer_count
    from payers
    group by cohort_on
),

retained as (
    select
        payers.cohort_on,
        months.month_on,
        count(*) as retained_count
    from payers
    cross join unnest(payers.active_months) as months (month_on)
    group by payers.cohort_on, months.month_on
),

-- a month has a cell from its first day on, a number once it is over
cells as (
    select
        cohorts.cohort_on,
        cohorts.payer_count,
        months.month_on::date as month_on,
        {{ month_end('months.month_on') }} <= tenant.business_day as is_mature
    from cohorts
    cross join tenant
    cross join generate_series(cohorts.cohort_on, tenant.business_day, interval '1 month') as months (month_on)
)

select
    cells.cohort_on,
    {{ months_between('cells.cohort_on', 'cells.month_on') }} as month_number,
    cells.payer_count,
    case when cells.is_mature then coalesce(retained.retained_count, 0) end as retained_count,
    case when cells.is_mature then coalesce(retained.retained_count, 0)::double precision / cells.payer_count end as retention_ratio
from cells
left join retained on cells.cohort_on = retained.cohort_on and cells.month_on = retained.month_on
