{{ config(
    enabled=has('touchpoints', 'listeners', 'subscription_events', 'plans'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['cohort_on', 'channel', 'step_number'],
    indexes=[{'columns': ['cohort_on', 'channel', 'step_number'], 'unique': true}],
    meta={
        'scope': {'relation': 'int_changed_funnel_weeks', 'columns': {'cohort_on': 'cohort_on'}},
        'day': 'cohort_on',
    }
) }}
{%- set changed_weeks %}
(
    select weeks.cohort_on as week_on from {{ ref('int_changed_funnel_weeks') }} as weeks
)
{%- endset %}
{#- Step, when it was reached, and when the one before it was; who enters has reached the first one, in no time. -#}
{%- set steps = [
    ('touched', none, none), ('signed_up', 'signed_up_at', 'entered_at'),
    ('subscribed', 'subscribed_at', 'signed_up_at'), ('paid', 'paid_at', 'subscribed_at'),
] %}

with journeys as (
    select
        *,
        {{ week_of('entered_on') }} as cohort_on
    from {{ of_days(ref('listener_journeys'), 'entered_on', week_days(changed_weeks), 'played_on') }} as of_changed
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

reached as (
    {%- for name, at, before in steps %}
    select
        cohort_on,
        channel,
        {{ loop.index }} as step_number,
        '{{ name }}' as step,
        count(*) as listener_count,
        {%- if loop.first %}
        count(*) as reached_count,
        null::double precision[] as seconds
        {%- else %}
        count(*) filter (where {{ at }} <= entered_at + interval '1440 hours') as reached_count,
        percentile_cont(array[0.5, 0.9]) within group (order by extract(epoch from {{ at }} - {{ before }})::double precision)
        filter (where {{ at }} <= entered_at + interval '1440 hours') as seconds
        {%- endif %}
    from journeys
    group by cohort_on, channel
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

compared as (
    select
        *,
        lag(reached_count) over funnel as before_count
    from reached
    window funnel as (partition by cohort_on, channel order by step_number)
)

select
    compared.cohort_on,
    compared.channel,
    compared.step_number,
    compared.step,
    compared.listener_count,
    -- until the 60 days of the week's last listener are over nobody knows
    case when compared.cohort_on + 66 <= tenant.business_day then compared.reached_count end as reached_count,
    case
        when compared.cohort_on + 66 <= tenant.business_day
            then compared.reached_count::double precision / nullif(compared.before_count, 0)
    end as step_conversion_ratio,
    case
        when compared.cohort_on + 66 <= tenant.business_day then compared.reached_count::double precision / compared.listener_count
    end as entry_conversion_ratio,
    case when compared.cohort_on + 66 <= tenant.business_day then compared.seconds[1] end as seconds_p50,
    case when compared.cohort_on + 66 <= tenant.business_day then compared.seconds[2] end as seconds_p90
from compared
cross join tenant
