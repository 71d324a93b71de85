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

-- where the plays started from, one after the other; a stay in one place is one step
with events as (
    select
        *,
        kind = 'play' and not is_resume as is_play,
        coalesce(context_type, 'unknown') as context,
        coalesce(lag(context_type) over in_kind, 'unknown') as context_before,
        row_number() over in_kind = 1 as is_first
    from {{ ref('int_events') }}
    window in_kind as (
        partition by listener_id, session_started_at, kind = 'play' and not is_resume order by started_at, event_id
    )
),

steps as (
    select
        *,
        is_play and (is_first or context <> context_before) as is_step
    from events
),

walked as (
    select
        *,
        count(*) filter (where is_step) over (
            partition by listener_id, session_started_at order by started_at, kind, event_id
            rows unbounded preceding
        ) as step
    from steps
),

-- all lists in one order, so that a session's events are sorted once
spans as (
    select
        session_key,
        listener_key,
        session_started_at as started_at,
        max(ended_at) as ended_at,
        min(event_on) as started_on,
        count(*) filter (where kind = 'interaction') as interaction_count,
        count(distinct track_id) as track_count,
        (array_agg(country order by started_at, kind, event_id) filter (where country is not null))[1] as country,
        (array_agg(platform order by started_at, kind, event_id) filter (where platform is not null))[1] as platform,
        string_agg(
            case when step <= 5 then context else '(more)' end, ' > '
            order by started_at, kind, event_id
        ) filter (where is_step and step <= 5 + 1) as context_path,
        bool_or(is_play and context <> 'unknown') as is_told,
        bool_or(is_cut) as is_cut,
        min(chain_started_on) as chain_started_on,
        max(chain_ended_on) as chain_ended_on
    from walked
    group by listener_id, session_started_at, session_key, listener_key
),

played as (
    select
        session_key,
        count(*) as play_count,
        count(*) filter (where is_stream) as stream_count,
        sum(is_skip::integer) as skip_count,
        sum(ms_played)::bigint as ms_played
    from {{ of_affected(ref('plays'), 'played_on') }} as plays
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
    spans.track_count,
    spans.interaction_count,
    coalesce(played.ms_played, 0) as ms_played,
    extract(epoch from spans.ended_at - spans.started_at)::double precision as duration_seconds,
    spans.country,
    spans.platform,
    case when spans.is_told then spans.context_path end as context_path,
    spans.is_cut,
    spans.chain_started_on,
    spans.chain_ended_on
from spans
left join played on spans.session_key = played.session_key
{{ days_together('spans.started_on') }}
