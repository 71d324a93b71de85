{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['started_on', 'context_path'],
    indexes=[{'columns': ['started_on', 'context_path'], 'unique': true}],
    meta={'scope': {'relation': 'int_changed_session_days', 'columns': {'started_on': 'started_on'}}, 'day': 'started_on'}
) }}

with sessions as (
    select * from {{ of_days(ref('sessions'), 'started_on', ref('int_changed_session_days')) }} as sessions
    where context_path is not null
)

select
    started_on,
    context_path,
    count(*) as session_count,
    count(distinct listener_key) as listener_count,
    sum(stream_count)::bigint as stream_count,
    sum(ms_played)::bigint as ms_played
from sessions
group by started_on, context_path
