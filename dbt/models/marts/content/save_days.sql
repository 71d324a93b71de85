{{ config(
    enabled=has('plays', 'interactions'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['track_id', 'saved_on'],
    indexes=[{'columns': ['track_id', 'saved_on'], 'unique': true}, {'columns': ['saved_on']}],
    meta={'scope': {'relation': 'int_changed_save_days', 'columns': {'saved_on': 'saved_on'}}, 'day': 'saved_on'}
) }}

with saves as (
    select
        coalesce(track_id, 'unknown') as track_id,
        interacted_on as saved_on,
        count(*) filter (where interaction = 'save') as save_count,
        count(*) filter (where interaction = 'unsave') as unsave_count
    from {{ of_days(ref('stg_interactions'), 'interacted_on', ref('int_changed_save_days'), 'saved_on') }} as interactions
    where interaction in ('save', 'unsave')
    group by coalesce(track_id, 'unknown'), interacted_on
),

-- of all territories together: a listener who is heard in two is one
streams as (
    select
        plays.track_id,
        plays.played_on,
        count(*) as stream_count,
        count(distinct plays.listener_key) as listeners_1d
    from {{ of_days(ref('plays'), 'played_on', ref('int_changed_save_days'), 'saved_on') }} as plays
    inner join saves on plays.track_id = saves.track_id and plays.played_on = saves.saved_on
    where plays.is_stream
    group by plays.track_id, plays.played_on
)

select
    saves.track_id,
    saves.saved_on,
    saves.save_count,
    saves.unsave_count,
    saves.save_count - saves.unsave_count as net_save_count,
    coalesce(streams.stream_count, 0) as stream_count,
    coalesce(streams.listeners_1d, 0) as listeners_1d,
    saves.save_count::double precision / streams.listeners_1d as saves_per_listener,
    saves.save_count::double precision / streams.stream_count as saves_per_stream
from saves
left join streams on saves.track_id = streams.track_id and saves.saved_on = streams.played_on
