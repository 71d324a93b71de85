{{ config(
    enabled=has('payments', 'subscription_events', 'plans') or has('statements', 'plays'),
    indexes=[{'columns': ['subject', 'part', 'month_on'], 'unique': true}]
) }}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

told as (
    {%- if has('payments', 'subscription_events', 'plans') %}
    select
        'payments against subscriptions' as subject,
        'all' as part,
        due.month_on,
        coalesce(paid.told_value, 0) as told_value,
        due.expected_value
    from (
        select
            {{ month_of('day_on') }} as month_on,
            avg(closing_amount) as expected_value
        from {{ ref('mrr_days') }}
        group by {{ month_of('day_on') }}
    ) as due
    left join (
        select
            {{ month_of('revenue_on') }} as month_on,
            sum(gross_amount) as told_value
        from {{ ref('revenue_days') }}
        where stream_of_revenue = 'subscription'
        group by {{ month_of('revenue_on') }}
    ) as paid on due.month_on = paid.month_on
    {%- endif %}
    {%- if has('payments', 'subscription_events', 'plans') and has('statements', 'plays') %}
    union all
    {%- endif %}
    {%- if has('statements', 'plays') %}
    select
        'statements against streams' as subject,
        stated.service as part,
        stated.month_on,
        stated.told_value,
        heard.expected_value
    from (
        select
            service,
            month_on,
            sum(stream_count) as told_value
        from {{ ref('statement_months') }}
        group by service, month_on
    ) as stated
    inner join (
        select
            {{ month_of('played_on') }} as month_on,
            sum(stream_count) as expected_value
        from {{ ref('activity_days') }}
        group by {{ month_of('played_on') }}
    ) as heard on stated.month_on = heard.month_on
    {%- endif %}
),

-- only months that are whole: of a month that began before the deliveries, or is not over, the one side may be there without the other
compared as (
    select
        told.*,
        (told.told_value / nullif(told.expected_value, 0))::double precision as agreement_ratio
    from told
    cross join tenant
    where told.month_on >= tenant.begins_on and told.month_on + interval '1 month' <= tenant.business_day + 1
),

usual as (
    select
        compared.subject,
        compared.part,
        compared.month_on,
        percentile_cont(0.5) within group (order by earlier.agreement_ratio) as usual_ratio
    from compared
    inner join compared as earlier
        on
            compared.subject = earlier.subject
            and compared.part = earlier.part
            and compared.month_on > earlier.month_on
            and compared.month_on <= earlier.month_on + interval '12 months'
    group by compared.subject, compared.part, compared.month_on
    having count(earlier.agreement_ratio) >= 3
)

select
    compared.subject,
    compared.part,
    compared.month_on,
    compared.told_value::numeric(24, 6) as told_value,
    compared.expected_value::numeric(24, 6) as expected_value,
    compared.agreement_ratio,
    usual.usual_ratio,
    compared.agreement_ratio / nullif(usual.usual_ratio, 0) as ratio_to_usual
from compared
left join usual
    on compared.subject = usual.subject and compared.part = usual.part and compared.month_on = usual.month_on
