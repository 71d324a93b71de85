{{ config(enabled=has('plays'), indexes=[{'columns': ['cohort_on', 'week'], 'unique': true}]) }}

with cohorts as (
    select
        {{ week_of('first_streamed_on') }} as cohort_on,
        count(*) as listener_count
    from {{ ref('int_listener_totals') }}
    where first_streamed_on is not null
    group by cohort_on
),

retained as (
    select * from {{ ref('int_cohort_weeks') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

cells as (
    select
        cohorts.cohort_on,
        cohorts.listener_count,
        weeks.week_on::date as week_on,
        (weeks.week_on::date - cohorts.cohort_on) / 7 as week,
        -- a week that is not over yet has no number
        weeks.week_on::date + 6 <= tenant.business_day as is_mature
    from cohorts
    cross join tenant
    cross join generate_series(cohorts.cohort_on, tenant.business_day, interval '7 days') as weeks (week_on)
)

select
    cells.cohort_on,
    cells.week,
    cells.listener_count,
    case when cells.is_mature then coalesce(retained.retained_count, 0) end as retained_count,
    case
        when cells.is_mature then coalesce(retained.retained_count, 0)::double precision / cells.listener_count
    end as retention_ratio
from cells
left join retained on cells.cohort_on = retained.cohort_on and cells.week_on = retained.week_on
