{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key='played_on',
    indexes=[{'columns': ['played_on'], 'unique': true}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}
{%- set buckets = ['before_5s', 'before_30s', 'before_end'] %}

with listens as (
    select * from {{ of_days(ref('int_listens'), 'played_on', ref('int_changed_play_days')) }} as listens
),

listener_days as (
    select * from {{ of_days(ref('listener_days'), 'played_on', ref('int_changed_play_days')) }} as listener_days
    where play_count > 0
),

played as (
    select
        played_on,
        count(*) as play_count,
        count(is_skip) > 0 as has_reasons,
        {%- for bucket in buckets %}
        count(*) filter (where skip_bucket = '{{ bucket }}') as skip_{{ bucket }}_count,
        {%- endfor %}
        {%- for tenth in range(1, 11) %}
        count(*) filter (where tenths_heard >= {{ tenth }}) as reached_{{ tenth }}0_count,
        {%- endfor %}
        count(tenths_heard) as timed_play_count
    from listens
    group by played_on
),

listened as (
    select
        played_on,
        count(*) as player_count,
        percentile_cont(array[0.5, 0.9, 0.95, 0.99]) within group (order by ms_played) as play_times
    from listener_days
    group by played_on
)

select
    played.played_on,
    played.play_count,
    {%- for bucket in buckets %}
    case when played.has_reasons then played.skip_{{ bucket }}_count end as skip_{{ bucket }}_count,
    {%- endfor %}
    {%- for bucket in buckets %}
    case when played.has_reasons then played.skip_{{ bucket }}_count::double precision / played.play_count end as skip_{{ bucket }}_ratio,
    {%- endfor %}
    played.timed_play_count,
    {%- for tenth in range(1, 11) %}
    played.reached_{{ tenth }}0_count::double precision / nullif(played.timed_play_count, 0) as reached_{{ tenth }}0_ratio,
    {%- endfor %}
    listened.player_count,
    listened.play_times[1] as play_time_p50_ms,
    listened.play_times[2] as play_time_p90_ms,
    listened.play_times[3] as play_time_p95_ms,
    listened.play_times[4] as play_time_p99_ms
from played
inner join listened on played.played_on = listened.played_on
