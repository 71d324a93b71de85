{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['measure', 'played_on'],
    indexes=[{'columns': ['measure', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

with summed as (
    {% call each_day(ref('int_listens'), 'played_on', ref('int_changed_play_days')) %}
    select
        measured.measure,
        measured.played_on,
        count(*) as value_count,
        sum(measured.amount)::bigint as total,
        max(measured.amount) as maximum,
        percentile_cont(array[0.5, 0.9, 0.95, 0.99]) within group (order by measured.amount) as percentiles
    from (
        select
            'ms_played' as measure,
            played_on,
            ms_played as amount
        from of_day
        union all
        select
            'streams_by_track' as measure,
            played_on,
            count(*) as amount
        from of_day
        where is_stream and track_id is not null
        group by played_on, track_id
        union all
        select
            'streams_by_artist' as measure,
            played_on,
            count(*) as amount
        from of_day
        where is_stream and artist_id is not null
        group by played_on, artist_id
        union all
        select
            'streams_by_listener' as measure,
            played_on,
            count(*) as amount
        from of_day
        where is_stream and listener_id is not null
        group by played_on, listener_id
    ) as measured
    group by measured.measure, measured.played_on
    {% endcall %}
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
