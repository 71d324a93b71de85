{{ config(indexes=[{'columns': ['problem', 'watched_on'], 'unique': true}]) }}

with watched as (
    select * from {{ ref('stg_watched_models') }}
)

select
    problem,
    watched_on,
    champion_version,
    trained_on,
    age_days,
    age_limit_days,
    drift_feature,
    drift_index,
    drift_limit,
    metric,
    promised_value,
    error_value,
    error_limit,
    -- what is not known breaks no bound; without a champion there is nothing to be within one
    case
        when champion_version is not null
            then
                age_days < age_limit_days
                and coalesce(drift_index <= drift_limit, true)
                and coalesce(error_value <= error_limit, true)
    end as is_within_bounds,
    is_training_due,
    reason
from watched
