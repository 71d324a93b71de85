{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['country', 'platform', 'started_on'],
    indexes=[{'columns': ['country', 'platform', 'started_on'], 'unique': true}, {'columns': ['started_on']}],
    meta={'scope': {'relation': 'int_changed_session_days', 'columns': {'started_on': 'started_on'}}, 'day': 'started_on'}
) }}

with sessions as (
    select * from {{ of_days(ref('sessions'), 'started_on', ref('int_changed_session_days')) }} as sessions
)

select
    coalesce(country, 'ZZ') as country,
    coalesce(platform, 'unknown') as platform,
    started_on,
    count(*) as session_count,
    sum(play_count)::bigint as play_count,
    sum(stream_count)::bigint as stream_count,
    sum(skip_count)::bigint as skip_count,
    sum(interaction_count)::bigint as interaction_count,
    sum(ms_played)::bigint as ms_played,
    -- as numbers: the sum of floats depends on the order in which rows stand
    sum(duration_seconds::numeric)::double precision as duration_seconds
from sessions
group by coalesce(country, 'ZZ'), coalesce(platform, 'unknown'), started_on
{{ days_together('started_on') }}
