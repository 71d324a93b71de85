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

with rules as (
    select * from {{ ref('int_rules') }}
),

tracks as (
    select * from {{ ref('stg_tracks') }}
),

plays as (
    select
        parts.*,
        tracks.artist_id,
        tracks.genre,
        tracks.duration_ms
    from {{ ref('int_events') }} as parts
    left join tracks on parts.track_id = tracks.track_id
    where parts.kind = 'play' and not parts.is_resume
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
    inner join rules on plays.event_on >= rules.valid_from_on and plays.event_on < rules.valid_to_on
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
    play_id,
    listener_key,
    track_id,
    artist_id,
    genre,
    session_key,
    started_at as played_at,
    ended_at,
    event_on as played_on,
    ms_played,
    resume_count::integer as resume_count,
    is_stream,
    is_scrobble,
    is_skip,
    case
        when is_skip and ms_played < 5000 then 'before_5s'
        when is_skip and ms_played < 30000 then 'before_30s'
        when is_skip then 'before_end'
    end as skip_bucket,
    is_completed,
    tenths_heard::smallint as tenths_heard,
    case
        when context_type in ('search', 'library', 'own_playlist', 'artist', 'album') then true
        when context_type in ('editorial_playlist', 'algorithmic_playlist', 'radio', 'autoplay') then false
    end as is_intentional,
    context_type,
    context_id,
    country,
    platform,
    tier,
    reason_end,
    is_offline,
    is_estimated,
    received_on
from judged
{{ days_together('event_on') }}
