{{ config(
    materialized='incremental',
    incremental_strategy='append',
    indexes=[{'columns': ['listener_key', 'event_on'], 'unique': true}],
    post_hook='analyze {{ this }}'
) }}
{#- A touched day can change more than itself: an event that comes or goes may join or part sessions on either side. What must be
    computed again are the listener's days up to the nearest gap on both sides, as the sessions stood before and as they will stand.

    Grows until marts are published, so that a build that was killed half way is taken up with the sessions that it has already
    replaced still in view. -#}
{%- set touched, touched_rows = ref('stg_touched'), ref('stg_touched_rows') %}
{%- set listeners, plays = ref('stg_touched_listeners'), ref('stg_plays') %}
{%- set interactions, rules = ref('stg_interactions'), ref('int_rules') %}
{%- if builds_all() %}

select
    null::text as listener_key,
    null::date as event_on
where false

{%- else %}

with recursive

-- days on which a rule was changed: everybody's sessions, streams and completions
ruled_days as (
    select event_on from {{ touched }} where dataset = 'rules' and event_on is not null
),

-- days on which a track was heard whose duration, artist or genre may have been changed
track_days as (
    select
        heard.track_id,
        heard.played_on
    from {{ as_built('track_days') }} as heard
    where heard.track_id in (select touched_row ->> 'track_id' from {{ touched_rows }} where dataset = 'tracks')
),

touched as (
    select listener_key, event_on from {{ listeners }} where dataset in ('plays', 'interactions')
    union
    select listener_key, played_on from {{ plays }} where played_on in (select event_on from ruled_days)
    union
    select listener_key, interacted_on from {{ interactions }}
    where listener_key is not null and interacted_on in (select event_on from ruled_days)
    union
    select plays.listener_key, plays.played_on
    from track_days
    inner join {{ plays }} as plays on track_days.played_on = plays.played_on and track_days.track_id = plays.track_id
),

-- from when to when the listener is heard on a touched day as it stands now
spans as (
    select
        touched.listener_key,
        touched.event_on,
        events.first_at,
        events.last_at
    from touched
    cross join lateral (
        select
            min(heard.started_at) as first_at,
            max(heard.ended_at) as last_at
        from (
            select played_at as started_at, ended_at from {{ plays }}
            where played_on = touched.event_on and listener_key = touched.listener_key and ms_played > 0
            union all
            select interacted_at, interacted_at from {{ interactions }}
            where interacted_on = touched.event_on and listener_key = touched.listener_key
        ) as heard
    ) as events
    where events.first_at is not null
),

gap as (
    select max(session_gap) as longest from {{ rules }}
),

-- sessions as they stood that the day's events are now near enough to join
near as (
    select
        sessions.listener_key,
        sessions.chain_started_on,
        sessions.chain_ended_on
    from spans
    cross join gap
    inner join {{ as_built('sessions') }} as sessions
        on
            spans.listener_key = sessions.listener_key
            -- an attempt lasts a day at most, and a session that is not cut another: the bounds let the index find it
            and sessions.started_on between spans.event_on - 4 - (extract(epoch from gap.longest) / 86400)::integer
            and spans.event_on + 4 + (extract(epoch from gap.longest) / 86400)::integer
            and sessions.started_at <= spans.last_at + gap.longest
            and sessions.ended_at >= spans.first_at - gap.longest
),

-- whole chains of sessions: one that reaches into a day brings all of its days
reached as (
    select listener_key, event_on from touched
    union
    select near.listener_key, days.event_on::date
    from near
    cross join generate_series(near.chain_started_on, near.chain_ended_on, interval '1 day') as days (event_on)
    union
    select reached.listener_key, days.event_on::date
    from reached
    inner join {{ as_built('sessions') }} as sessions
        on
            reached.listener_key = sessions.listener_key
            and sessions.started_on between reached.event_on - 2 and reached.event_on
            and sessions.chain_ended_on >= reached.event_on
            and sessions.chain_started_on < sessions.chain_ended_on
    cross join generate_series(sessions.chain_started_on, sessions.chain_ended_on, interval '1 day') as days (event_on)
)

select
    reached.listener_key,
    reached.event_on
from reached
where not exists (
    select 1 from {{ this }} as already
    where reached.listener_key = already.listener_key and reached.event_on = already.event_on
)

{%- endif %}
