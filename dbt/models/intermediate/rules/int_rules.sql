{{ config(materialized='view') }}

with rules as (
    select * from {{ ref('stg_rules') }}
),

first_days as (
    select distinct valid_from_on from rules
),

intervals as (
    select
        valid_from_on,
        lead(valid_from_on, 1, 'infinity') over (order by valid_from_on) as valid_to_on
    from first_days
)

select
    intervals.valid_from_on,
    intervals.valid_to_on,
    (max(rules.value) filter (where rules.rule = 'stream_min_ms'))::bigint as stream_min_ms,
    max(rules.value) filter (where rules.rule = 'stream_rule') as stream_rule,
    (max(rules.value) filter (where rules.rule = 'complete_rate'))::numeric as complete_rate,
    (max(rules.value) filter (where rules.rule = 'resume_gap_seconds'))::integer * interval '1 second' as resume_gap,
    (max(rules.value) filter (where rules.rule = 'session_gap_seconds'))::integer * interval '1 second' as session_gap,
    (max(rules.value) filter (where rules.rule = 'final_after_days'))::integer as final_after_days,
    (max(rules.value) filter (where rules.rule = 'trial_days'))::integer as trial_days,
    (max(rules.value) filter (where rules.rule = 'grace_days'))::integer as grace_days,
    (max(rules.value) filter (where rules.rule = 'churn_grace_days'))::integer as churn_grace_days,
    (max(rules.value) filter (where rules.rule = 'payable_min_streams'))::bigint as payable_min_streams,
    (max(rules.value) filter (where rules.rule = 'noise_min_ms'))::bigint as noise_min_ms,
    string_to_array(lower(max(rules.value) filter (where rules.rule = 'noise_genres')), ', ') as noise_genres,
    (max(rules.value) filter (where rules.rule = 'boost_min_streams'))::bigint as boost_min_streams,
    (max(rules.value) filter (where rules.rule = 'boost_min_listeners'))::bigint as boost_min_listeners,
    (max(rules.value) filter (where rules.rule = 'pool_share'))::numeric as pool_share,
    (max(rules.value) filter (where rules.rule = 'paid_per_unit'))::numeric as paid_per_unit,
    (max(rules.value) filter (where rules.rule = 'ad_per_unit'))::numeric as ad_per_unit
from intervals
inner join rules
    on intervals.valid_from_on >= rules.valid_from_on and intervals.valid_from_on < rules.valid_to_on
group by intervals.valid_from_on, intervals.valid_to_on
