{{ config(tags=['ci'], enabled=has('plays')) }}
-- The same plays and streams of every day, however they are cut.
{%- set marts = ['listener_days', 'track_days', 'genre_days', 'hour_days', 'platform_days', 'territory_days', 'context_days'] %}
{%- do marts.extend(['catalogue_days'] if has('tracks') else []) %}
{%- do marts.extend(['audience_days'] if has('listeners') else []) %}

with cuts as (
    select
        'plays' as mart,
        played_on,
        count(*) as play_count,
        count(*) filter (where is_stream) as stream_count
    from {{ ref('plays') }}
    group by played_on
    union all
    select
        'activity_days' as mart,
        played_on,
        play_count,
        stream_count
    from {{ ref('activity_days') }}
    where play_count > 0
    union all
    select
        'listening_days' as mart,
        played_on,
        play_count,
        null as stream_count
    from {{ ref('listening_days') }}
    {%- for mart in marts %}
    union all
    select
        '{{ mart }}' as mart,
        played_on,
        sum(play_count) as play_count,
        sum(stream_count) as stream_count
    from {{ ref(mart) }}
    group by played_on
    having sum(play_count) > 0
    {%- endfor %}
)

select
    played_on,
    array_agg(mart) as marts
from cuts
group by played_on
having count(*) <> {{ marts | length + 3 }} or min(play_count) <> max(play_count) or min(stream_count) <> max(stream_count)
