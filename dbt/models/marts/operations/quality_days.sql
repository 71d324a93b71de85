{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['layer', 'table_name', 'judged_on'],
    indexes=[{'columns': ['layer', 'table_name', 'judged_on'], 'unique': true}, {'columns': ['judged_on']}],
    meta={
        'scope': {'relation': 'int_changed_judged_days', 'columns': {'judged_on': 'judged_on'}},
        'day': 'judged_on',
    }
) }}
{%- set changed = ref('int_changed_judged_days') %}

with judged as (
    select * from {{ of_days(ref('stg_judged_days'), 'judged_on', changed) }} as judged
)

select
    layer,
    table_name,
    judged_on,
    passed_count + warned_count + stopped_count + muted_count + unknown_count as check_count,
    passed_count,
    warned_count,
    stopped_count,
    muted_count,
    unknown_count,
    quality_score,
    row_count,
    quarantined_count,
    quarantined_ratio,
    case
        when layer <> 'bronze' then 'only rows of deliveries are quarantined'
        when row_count = 0 then 'no row was delivered'
        when quarantined_ratio is null then 'silver has not taken all deliveries of the day'
    end as quarantined_reason
from judged
