{{ config(unlogged=true, post_hook='analyze {{ this }}') }}
{#- Everything that was heard or done on the affected days, in its session, and each play as a whole. It holds what this build computes and
    no history.

    All windows begin with the listener, as a number: the rows are sorted once, by eight bytes, and from then on a listener's at a time, in
    memory. Whatever is joined to them is joined before. -#}

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
        plays.play_id as event_id,
        plays.listener_key,
        plays.played_on as event_on,
        plays.played_at as started_at,
        plays.ended_at,
        plays.track_id,
        tracks.duration_ms,
        plays.ms_played,
        plays.reason_end,
        plays.context_type,
        plays.context_id,
        plays.country,
        plays.platform,
        plays.tier,
        plays.is_offline,
        plays.is_estimated,
        plays.received_on
    from plays
    left join tracks on plays.track_id = tracks.track_id
    union all
    select
        'interaction' as kind,
        interaction_id as event_id,
        listener_key,
        interacted_on as event_on,
        interacted_at as started_at,
        interacted_at as ended_at,
        null as track_id,
        null as duration_ms,
        null as ms_played,
        null as reason_end,
        null as context_type,
        null as context_id,
        country,
        platform,
        null as tier,
        null as is_offline,
        null as is_estimated,
        null as received_on
    from interactions
),

-- the end of what came before: of all of it, for a long play may outlast the next ones
ordered as (
    select
        *,
        max(ended_at) over (
            partition by listener_id order by started_at, kind, event_id
            rows between unbounded preceding and 1 preceding
        ) as ended_before_at
    from (
        select
            events.*,
            {{ listener_number('events.listener_key') }} as listener_id,
            rules.session_gap,
            rules.resume_gap
        from events
        inner join rules on events.event_on >= rules.valid_from_on and events.event_on < rules.valid_to_on
    ) as ruled
),

numbered as (
    select
        *,
        count(*) filter (where ended_before_at is null or started_at > ended_before_at + session_gap) over (
            partition by listener_id order by started_at, kind, event_id
            rows unbounded preceding
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
    window chain as (partition by listener_id, chain_number)
),

-- a chain longer than 24 hours is cut at each local midnight
in_sessions as (
    select
        *,
        case
            when is_cut then min(started_at) over (partition by listener_id, chain_number, event_on)
            else chain_started_at
        end as session_started_at
    from chained
),

-- the part of the same track before this one, in the same session
with_part_before as (
    select
        *,
        lag(ended_at) over part as part_ended_at,
        lag(reason_end) over part as part_reason_end,
        lag(ms_played) over part as part_ms_played
    from in_sessions
    window part as (partition by listener_id, session_started_at, kind, track_id order by started_at, event_id)
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
            partition by listener_id, session_started_at, kind, track_id order by started_at, event_id
            rows unbounded preceding
        ) as hearing
    from resumed
)

-- of plays that were resumed: what was heard of all parts together, and why the last one ended
select
    kind,
    event_id,
    listener_key,
    listener_id,
    event_on,
    started_at,
    track_id,
    context_type,
    context_id,
    country,
    platform,
    tier,
    is_offline,
    chain_started_on,
    chain_ended_on,
    is_cut,
    is_resume,
    session_started_at,
    hearing,
    md5(listener_key || '/' || extract(epoch from session_started_at)) as session_key,
    case when kind = 'play' then first_value(event_id) over parts end as play_id,
    count(*) over parts - 1 as resume_count,
    max(ended_at) over parts as ended_at,
    (sum(ms_played) over parts)::bigint as ms_played,
    last_value(reason_end) over parts as reason_end,
    bool_or(is_estimated) over parts as is_estimated,
    max(received_on) over parts as received_on
from joined
window parts as (
    partition by listener_id, session_started_at, kind, track_id, hearing order by started_at, event_id
    rows between unbounded preceding and unbounded following
)
