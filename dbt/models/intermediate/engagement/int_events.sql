{{ config(unlogged=true, post_hook='analyze {{ this }}') }}
{#- Everything that was heard or done on the affected days, in its session. It holds what this build computes and no history. -#}

with rules as (
    select * from {{ ref('int_rules') }}
),

tracks as (
    select
        track_id,
        duration_ms
    from {{ ref('stg_tracks') }}
),

plays as (
    select * from {{ of_affected(ref('stg_plays'), 'played_on') }} as plays
    where ms_played > 0 -- an attempt that never sounded is no play
),

interactions as (
    select * from {{ of_affected(ref('stg_interactions'), 'interacted_on') }} as interactions
    where listener_key is not null
),

events as (
    select
        'play' as kind,
        play_id as event_id,
        listener_key,
        played_on as event_on,
        played_at as started_at,
        ended_at,
        track_id,
        ms_played,
        reason_end,
        country,
        platform,
        is_estimated,
        received_on
    from plays
    union all
    select
        'interaction' as kind,
        interaction_id as event_id,
        listener_key,
        interacted_on as event_on,
        interacted_at as started_at,
        interacted_at as ended_at,
        null as track_id,
        null as ms_played,
        null as reason_end,
        country,
        platform,
        null as is_estimated,
        null as received_on
    from interactions
),

-- the end of what came before: of all of it, for a long play may outlast the next ones
ordered as (
    select
        events.*,
        rules.session_gap,
        rules.resume_gap,
        max(events.ended_at) over (
            partition by events.listener_key order by events.started_at, events.kind, events.event_id
            rows between unbounded preceding and 1 preceding
        ) as ended_before_at
    from events
    inner join rules on events.event_on >= rules.valid_from_on and events.event_on < rules.valid_to_on
),

numbered as (
    select
        *,
        count(*) filter (where ended_before_at is null or started_at > ended_before_at + session_gap) over (
            partition by listener_key order by started_at, kind, event_id
        ) as chain_number
    from ordered
),

chained as (
    select
        *,
        min(event_on) over chain as chain_started_on,
        max(event_on) over chain as chain_ended_on,
        min(started_at) over chain as chain_started_at,
        max(ended_at) over chain - min(started_at) over chain > interval '24 hours' as is_cut
    from numbered
    window chain as (partition by listener_key, chain_number)
),

-- a chain longer than 24 hours is cut at each local midnight
in_sessions as (
    select
        *,
        case
            when is_cut then min(started_at) over (partition by listener_key, chain_number, event_on)
            else chain_started_at
        end as session_started_at
    from chained
),

-- the part of the same track before this one, in the same session
with_part_before as (
    select
        in_sessions.*,
        tracks.duration_ms,
        lag(in_sessions.ended_at) over part as part_ended_at,
        lag(in_sessions.reason_end) over part as part_reason_end,
        lag(in_sessions.ms_played) over part as part_ms_played
    from in_sessions
    left join tracks on in_sessions.track_id = tracks.track_id
    window part as (
        partition by in_sessions.kind, in_sessions.listener_key, in_sessions.session_started_at, in_sessions.track_id
        order by in_sessions.started_at, in_sessions.event_id
    )
),

-- what was heard to its end is not resumed: playing it again is another play
resumed as (
    select
        *,
        coalesce(
            kind = 'play'
            and started_at between part_ended_at - resume_gap and part_ended_at + resume_gap
            and part_reason_end is distinct from 'track_done'
            and (duration_ms is null or part_ms_played < duration_ms),
            false
        ) as is_resume
    from with_part_before
),

joined as (
    select
        *,
        count(*) filter (where not is_resume) over (
            partition by kind, listener_key, session_started_at, track_id order by started_at, event_id
        ) as play_number
    from resumed
)

select
    kind,
    event_id,
    listener_key,
    event_on,
    started_at,
    ended_at,
    track_id,
    ms_played,
    reason_end,
    country,
    platform,
    is_estimated,
    received_on,
    chain_started_on,
    chain_ended_on,
    is_cut,
    is_resume,
    session_started_at,
    md5(listener_key || '/' || extract(epoch from session_started_at)) as session_key,
    case
        when kind = 'play' then first_value(event_id) over (
                partition by kind, listener_key, session_started_at, track_id, play_number order by started_at, event_id
            )
    end as play_id
from joined
