with source as (
    select * from {{ source('raw', 'judged_days') }}
),

renamed as (
    select
        layer,
        table_name,
        judged_on,
        passed as passed_count,
        warned as warned_count,
        stopped as stopped_count,
        muted as muted_count,
        unknown as unknown_count,
        score as quality_score,
        rows as row_count,
        quarantined as quarantined_count,
        quarantined_ratio
    from source
)

select * from renamed
