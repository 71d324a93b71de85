{{ config(enabled=has('plays'), indexes=[{'columns': ['unit', 'cohort_on', 'number'], 'unique': true}]) }}
{#- Made of a row a listener, and of no day of listening. -#}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

members as (
    select
        first_streamed_on,
        {{ month_of('first_streamed_on') }} as first_month_on,
        last_streamed_on - first_streamed_on as days_lasted,
        {{ months_between(month_of('first_streamed_on'), month_of('last_streamed_on')) }} as months_lasted,
        active_day_numbers,
        active_month_numbers
    from {{ ref('int_listener_totals') }}
    where first_streamed_on is not null
),

-- how many listeners lasted how long: who lasts longer than the last number that is told lasts beyond it, however long
lasted as (
    select
        'day' as unit,
        first_streamed_on as cohort_on,
        least(days_lasted, {{ cohort_days() | max }}) as number,
        count(*) as listener_count
    from members
    group by first_streamed_on, least(days_lasted, {{ cohort_days() | max }})
    union all
    select
        'month' as unit,
        first_month_on as cohort_on,
        least(months_lasted, {{ cohort_months() }}) as number,
        count(*) as listener_count
    from members
    group by first_month_on, least(months_lasted, {{ cohort_months() }})
),

retained as (
    select
        'day' as unit,
        members.first_streamed_on as cohort_on,
        numbers.number,
        count(*) as retained_count
    from members
    cross join unnest(members.active_day_numbers) as numbers (number)
    group by members.first_streamed_on, numbers.number
    union all
    select
        'month' as unit,
        members.first_month_on as cohort_on,
        numbers.number,
        count(*) as retained_count
    from members
    cross join unnest(members.active_month_numbers) as numbers (number)
    group by members.first_month_on, numbers.number
),

cohorts as (
    select
        unit,
        cohort_on,
        sum(listener_count)::bigint as listener_count
    from lasted
    group by unit, cohort_on
),

-- a month has a cell from its first day on, a number once it is over
cells as (
    select
        cohorts.*,
        numbers.number,
        cohorts.cohort_on + numbers.number <= tenant.business_day as is_mature
    from cohorts
    cross join tenant
    cross join (values ({{ cohort_days() | join('), (') }})) as numbers (number)
    where cohorts.unit = 'day'
    union all
    select
        cohorts.*,
        numbers.number,
        {{ month_end("cohorts.cohort_on + numbers.number * interval '1 month'") }} <= tenant.business_day as is_mature
    from cohorts
    cross join tenant
    cross join generate_series(0, {{ cohort_months() }}) as numbers (number)
    where cohorts.unit = 'month' and cohorts.cohort_on + numbers.number * interval '1 month' <= tenant.business_day
),

rolling as (
    select
        cells.unit,
        cells.cohort_on,
        cells.number,
        sum(lasted.listener_count)::bigint as rolling_count
    from cells
    inner join lasted on cells.unit = lasted.unit and cells.cohort_on = lasted.cohort_on and cells.number <= lasted.number
    group by cells.unit, cells.cohort_on, cells.number
)

select
    cells.unit,
    cells.cohort_on,
    cells.number,
    cells.listener_count,
    case when cells.is_mature then coalesce(retained.retained_count, 0) end as retained_count,
    case when cells.is_mature then coalesce(retained.retained_count, 0)::double precision / cells.listener_count end as retention_ratio,
    case when cells.is_mature then coalesce(rolling.rolling_count, 0) end as rolling_count,
    case when cells.is_mature then coalesce(rolling.rolling_count, 0)::double precision / cells.listener_count end as rolling_ratio
from cells
left join retained on cells.unit = retained.unit and cells.cohort_on = retained.cohort_on and cells.number = retained.number
left join rolling on cells.unit = rolling.unit and cells.cohort_on = rolling.cohort_on and cells.number = rolling.number
