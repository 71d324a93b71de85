{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['cohort_on', 'plan_id'],
    indexes=[{'columns': ['cohort_on', 'plan_id'], 'unique': true}],
    meta={
        'scope': {'relation': 'int_changed_trial_weeks', 'columns': {'cohort_on': 'cohort_on'}},
        'day': 'cohort_on',
    }
) }}
{%- set changed_weeks %}
(
    select weeks.cohort_on as week_on from {{ ref('int_changed_trial_weeks') }} as weeks
)
{%- endset %}

-- a change of plan goes on with the trial that it is in
with trials as (
    select
        *,
        {{ week_of('period_from_on') }} as cohort_on
    from {{ of_days(ref('subscription_periods'), 'period_from_on', week_days(changed_weeks), 'played_on') }} as of_changed
    where opened_by = 'trial_started'
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

cohorts as (
    select
        trials.cohort_on,
        trials.plan_id,
        count(*) as trial_count,
        count(*) filter (where trials.is_converted) as converted_count,
        bool_and(trials.is_settled) and trials.cohort_on + 6 <= tenant.business_day as is_settled
    from trials
    cross join tenant
    group by trials.cohort_on, trials.plan_id, tenant.business_day
)

select
    cohort_on,
    plan_id,
    trial_count,
    case when is_settled then converted_count end as converted_count,
    case when is_settled then converted_count::double precision / trial_count end as conversion_ratio,
    is_settled
from cohorts
