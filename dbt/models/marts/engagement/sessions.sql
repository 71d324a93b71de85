{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key='session_key',
    indexes=[
        {'columns': ['session_key'], 'unique': true},
        {'columns': ['listener_key', 'started_on']},
        {'columns': ['started_on']},
    ],
    meta={
        'scope': {'relation': 'int_affected', 'columns': {'listener_key': 'listener_key', 'started_on': 'event_on'}},
        'day': 'started_on',
    }
) }}

with events as (
    select * from {{ ref('int_events') }}
),

plays as (
    select * from {{ of_affected(ref('plays'), 'played_on') }} as plays
),

spans as (
    select
        session_key,
        listener_key,
        min(started_at) as started_at,
        max(ended_at) as ended_at,
        min(event_on) as started_on,
        min(chain_started_on) as chain_started_on,
        max(chain_ended_on) as chain_ended_on,
        bool_or(is_cut) as is_cut,
        count(*) filter (where kind = 'interaction') as interaction_count,
        (array_agg(country order by started_at, kind, event_id) filter (where country is not null))[1] as country,
        (array_agg(platform order by started_at, kind, event_id) filter (where platform is not null))[1] as platform
    from events
    group by session_key, listener_key
),

played as (
    select
        session_key,
        count(*) as play_count,
        count(*) filter (where is_stream) as stream_count,
        sum(is_skip::integer) as skip_count,
        count(distinct track_id) as track_count,
        sum(ms_played)::bigint as ms_played
    from plays
    group by session_key
)

select
    spans.session_key,
    spans.listener_key,
    spans.started_at,
    spans.ended_at,
    spans.started_on,
    coalesce(played.play_count, 0) as play_count,
    coalesce(played.stream_count, 0) as stream_count,
    played.skip_count,
    coalesce(played.track_count, 0) as track_count,
    spans.interaction_count,
    coalesce(played.ms_played, 0) as ms_played,
    extract(epoch from spans.ended_at - spans.started_at)::double precision as duration_seconds,
    spans.country,
    spans.platform,
    spans.is_cut,
    spans.chain_started_on,
    spans.chain_ended_on
from spans
left join played on spans.session_key = played.session_key
