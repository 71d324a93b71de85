{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['measure', 'played_on'],
    indexes=[{'columns': ['measure', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

with listens as (
    select
        played_on,
        track_id,
        artist_id,
        listener_id,
        ms_played,
        is_stream
    from {{ of_days(ref('int_listens'), 'played_on', ref('int_changed_play_days')) }} as listens
),

measured as (
    select
        'ms_played' as measure,
        played_on,
        ms_played as amount
    from listens
    {%- for subject, column in {'track': 'track_id', 'artist': 'artist_id', 'listener': 'listener_id'}.items() %}
    union all
    select
        'streams_by_{{ subject }}' as measure,
        played_on,
        count(*) as amount
    from listens
    where is_stream and {{ column }} is not null
    group by played_on, {{ column }}
    {%- endfor %}
),

summed as (
    select
        measure,
        played_on,
        count(*) as value_count,
        sum(amount)::bigint as total,
        max(amount) as maximum,
        percentile_cont(array[0.5, 0.9, 0.95, 0.99]) within group (order by amount) as percentiles
    from measured
    group by measure, played_on
)

select
    measure,
    played_on,
    value_count,
    total::double precision / value_count as mean,
    percentiles[1] as p50,
    percentiles[2] as p90,
    percentiles[3] as p95,
    percentiles[4] as p99,
    maximum
from summed
