{{ config(materialized='view', enabled=has('plays', 'rights') and (has('payments') or has('ad_impressions'))) }}
{#- Statements that are to be issued: of every month since the first day of deliveries that has been over for FINAL_AFTER_DAYS (of its last
    day) and whose statement was not published yet. What was published stands in `_closed`, which no build touches. -#}

with months as (
    select
        tenant.business_day,
        months.month_on::date as month_on,
        (months.month_on + interval '1 month - 1 day')::date as ends_on
    from {{ ref('stg_tenant') }} as tenant
    cross join
        generate_series({{ month_of('tenant.begins_on') }}, tenant.business_day, interval '1 month') as months (month_on)
)

select
    months.month_on,
    months.ends_on + rules.final_after_days as due_on,
    months.business_day as issued_on
from months
inner join {{ ref('int_rules') }} as rules
    on months.ends_on >= rules.valid_from_on and months.ends_on < rules.valid_to_on
where
    months.ends_on + rules.final_after_days <= months.business_day
    and months.month_on not in (
        select closed.closed_on from {{ as_built('_closed') }} as closed
        where closed.mart = 'royalty_statements'
    )
