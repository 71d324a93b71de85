with source as (
    select * from {{ source('raw', 'watched_models') }}
),

renamed as (
    select
        problem,
        watched_on,
        version as champion_version,
        trained_on,
        age_days,
        oldest_days as age_limit_days,
        drift_feature,
        drift_index,
        drift_limit,
        metric,
        promised as promised_value,
        error as error_value,
        error_limit,
        is_due as is_training_due,
        reason
    from source
)

select * from renamed
