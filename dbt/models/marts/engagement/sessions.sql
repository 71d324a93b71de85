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
),

-- where the plays started from, one after the other; a stay in one place is one step
places as (
    select
        session_key,
        played_at,
        play_id,
        coalesce(context_type, 'unknown') as context,
        lag(context_type) over in_session as context_before,
        row_number() over in_session = 1 as is_first
    from plays
    window in_session as (partition by session_key order by played_at, play_id)
),

steps as (
    select
        session_key,
        context,
        row_number() over (partition by session_key order by played_at, play_id) as step
    from places
    where is_first or context <> coalesce(context_before, 'unknown')
),

walked as (
    select
        session_key,
        string_agg(case when step <= 5 then context else '(more)' end, ' > ' order by step) filter (where step <= 5 + 1) as context_path
    from steps
    group by session_key
    having bool_or(context <> 'unknown')
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
    walked.context_path,
    spans.is_cut,
    spans.chain_started_on,
    spans.chain_ended_on
from spans
left join played on spans.session_key = played.session_key
left join walked on spans.session_key = walked.session_key
{{ days_together('spans.started_on') }}
