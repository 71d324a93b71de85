{{ config(
    enabled=has('plays', 'tracks'),
    materialized='incremental',
    incremental_strategy='rewrite',
    indexes=[{'columns': ['played_on', 'listener_id']}],
    meta={'scope': {'relation': 'int_affected', 'columns': {'listener_id': 'listener_id', 'played_on': 'event_on'}}}
) }}
{#- What a listener heard of an artist on a day, of which the artists' days, windows and months are added up. -#}

with listens as (
    select * from {{ of_affected(ref('int_listens'), 'played_on', 'listener_id') }} as listens
    where artist_id is not null
),

heard as (
    select
        listener_id,
        artist_id,
        played_on,
        coalesce(country, 'ZZ') as country,
        count(*)::integer as play_count,
        (count(*) filter (where is_stream))::integer as stream_count,
        sum(is_skip::integer)::integer as skip_count,
        sum(is_intentional::integer)::integer as intentional_count,
        (count(*) filter (where is_stream and is_intentional))::integer as intentional_stream_count,
        sum(ms_played)::bigint as ms_played
    from listens
    group by listener_id, artist_id, played_on, coalesce(country, 'ZZ')
)

select
    *,
    -- who streams an artist in two countries on a day is one listener of that day
    stream_count > 0
    and row_number() over (partition by listener_id, artist_id, played_on order by stream_count desc, country asc) = 1 as is_listener
from heard
{{ days_together('played_on') }}
