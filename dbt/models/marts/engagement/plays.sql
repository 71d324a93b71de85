{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key='play_id',
    indexes=[{'columns': ['play_id'], 'unique': true}, {'columns': ['played_on', 'listener_key']}],
    meta={
        'scope': {'relation': 'int_affected', 'columns': {'listener_key': 'listener_key', 'played_on': 'event_on'}},
        'day': 'played_on',
    }
) }}

with parts as (
    select * from {{ ref('int_events') }}
    where kind = 'play'
),

rules as (
    select * from {{ ref('int_rules') }}
),

tracks as (
    select * from {{ ref('stg_tracks') }}
),

attempts as (
    select * from {{ of_affected(ref('stg_plays'), 'played_on') }} as attempts
),

-- plays that were resumed: what was heard of all parts together, and why the last one ended
resumed as (
    select
        play_id,
        count(*) - 1 as resume_count,
        sum(ms_played)::bigint as ms_played,
        max(ended_at) as ended_at,
        max(received_on) as received_on,
        bool_or(is_estimated) as is_estimated,
        (array_agg(reason_end order by started_at desc, event_id desc))[1] as reason_end
    from parts
    where play_id in (
            select resumes.play_id from parts as resumes
            where resumes.is_resume
        )
    group by play_id
),

plays as (
    select
        parts.play_id,
        parts.listener_key,
        parts.track_id,
        tracks.artist_id,
        tracks.genre,
        tracks.duration_ms,
        parts.session_key,
        parts.started_at as played_at,
        parts.event_on as played_on,
        parts.country,
        parts.platform,
        coalesce(resumed.ended_at, parts.ended_at) as ended_at,
        coalesce(resumed.ms_played, parts.ms_played) as ms_played,
        coalesce(resumed.resume_count, 0) as resume_count,
        coalesce(resumed.is_estimated, parts.is_estimated) as is_estimated,
        coalesce(resumed.received_on, parts.received_on) as received_on,
        case when resumed.play_id is null then parts.reason_end else resumed.reason_end end as reason_end
    from parts
    left join resumed on parts.play_id = resumed.play_id
    left join tracks on parts.track_id = tracks.track_id
    where not parts.is_resume
),

-- content heard is the unique part of the track: hearing more than its length is hearing all of it
heard as (
    select
        plays.*,
        rules.stream_min_ms,
        rules.stream_rule,
        10 * least(plays.ms_played, plays.duration_ms) / nullif(plays.duration_ms, 0) as tenths_heard,
        least(plays.ms_played, plays.duration_ms) >= rules.complete_rate * plays.duration_ms as is_completed
    from plays
    inner join rules on plays.played_on >= rules.valid_from_on and plays.played_on < rules.valid_to_on
),

judged as (
    select
        *,
        case
            -- a track shorter than the threshold streams when completed
            when duration_ms < stream_min_ms then is_completed
            when stream_rule = 'gt' then ms_played > stream_min_ms
            else ms_played >= stream_min_ms
        end as is_stream,
        -- half the track or four minutes, of a track longer than half a minute
        case
            when duration_ms is not null
                then duration_ms > 30000 and ms_played >= least(duration_ms / 2.0, 240000)
        end as is_scrobble,
        -- the listener ended it, and before its end; of what ended for no stated reason nothing is known
        case
            when reason_end is not null
                then
                    reason_end in ('forward', 'back', 'stop', 'track_change')
                    and (duration_ms is null or ms_played < duration_ms)
        end as is_skip
    from heard
)

select
    judged.play_id,
    judged.listener_key,
    judged.track_id,
    judged.artist_id,
    judged.genre,
    judged.session_key,
    judged.played_at,
    judged.ended_at,
    judged.played_on,
    judged.ms_played,
    judged.resume_count::integer as resume_count,
    judged.is_stream,
    judged.is_scrobble,
    judged.is_skip,
    case
        when judged.is_skip and judged.ms_played < 5000 then 'before_5s'
        when judged.is_skip and judged.ms_played < 30000 then 'before_30s'
        when judged.is_skip then 'before_end'
    end as skip_bucket,
    judged.is_completed,
    judged.tenths_heard::smallint as tenths_heard,
    case
        when attempts.context_type in ('search', 'library', 'own_playlist', 'artist', 'album') then true
        when attempts.context_type in ('editorial_playlist', 'algorithmic_playlist', 'radio', 'autoplay') then false
    end as is_intentional,
    attempts.context_type,
    attempts.context_id,
    judged.country,
    judged.platform,
    attempts.tier,
    judged.reason_end,
    attempts.is_offline,
    judged.is_estimated,
    judged.received_on
from judged
inner join attempts on judged.play_id = attempts.play_id
{{ days_together('judged.played_on') }}
