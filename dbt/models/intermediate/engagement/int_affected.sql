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
    null::bigint as listener_id,
    null::date as event_on
where false

{%- else %}

with recursive

-- days on which a rule was changed: everybody's sessions, streams and completions
ruled_days as (
    select event_on from {{ touched }}
    where dataset = 'rules' and event_on is not null
),

-- days on which a track was heard whose duration, artist or genre may have been changed
track_days as (
    select
        heard.track_id,
        heard.played_on
    from {{ as_built('track_days') }} as heard
    where heard.track_id in (
            select touched_row ->> 'track_id' from {{ touched_rows }}
            where dataset = 'tracks'
        )
),

-- `offset 0` keeps the planner from turning a look into the index for each of few days into a scan of all history
touched as (
    select
        listener_key,
        event_on
    from {{ listeners }}
    where dataset in ('plays', 'interactions')
    union
    select
        played.listener_key,
        ruled_days.event_on
    from ruled_days
    cross join
        lateral (
            select plays.listener_key from {{ plays }} as plays
            where plays.played_on = ruled_days.event_on
            offset 0
        ) as played
    union
    select
        acted.listener_key,
        ruled_days.event_on
    from ruled_days
    cross join
        lateral (
            select interactions.listener_key from {{ interactions }} as interactions
            where interactions.interacted_on = ruled_days.event_on and interactions.listener_key is not null
            offset 0
        ) as acted
    union
    select
        played.listener_key,
        track_days.played_on
    from (select distinct heard.played_on from track_days as heard) as heard_days
    cross join
        lateral (
            select
                plays.listener_key,
                plays.track_id
            from {{ plays }} as plays
            where plays.played_on = heard_days.played_on
            offset 0
        ) as played
    inner join track_days on heard_days.played_on = track_days.played_on and played.track_id = track_days.track_id
),

-- from when to when the listener is heard on a touched day as it stands now
spans as (
    select
        touched.listener_key,
        touched.event_on,
        events.first_at,
        events.last_at
    from touched
    cross join
        lateral (
            select
                min(heard.started_at) as first_at,
                max(heard.ended_at) as last_at
            from (
                select
                    played_at as started_at,
                    ended_at
                from {{ plays }}
                where played_on = touched.event_on and listener_key = touched.listener_key and ms_played > 0
                union all
                select
                    interacted_at as started_at,
                    interacted_at as ended_at
                from {{ interactions }}
                where interacted_on = touched.event_on and listener_key = touched.listener_key
            ) as heard
        ) as events
    where events.first_at is not null
),

gap as materialized (
    select
        max(session_gap) as longest,
        (extract(epoch from max(session_gap)) / 86400)::integer as days
    from {{ rules }}
),

-- days of sessions as they stood that the day's events are now near enough to join
near as (
    select
        spans.listener_key,
        sessions.event_on
    from spans
    cross join gap
    cross join lateral (
        select stood.started_on + reach.days as event_on
        from {{ as_built('sessions') }} as stood
        cross join (values (0), (1), (2)) as reach (days) -- what is not cut lasts 24 hours at most
        where
            stood.listener_key = spans.listener_key
            -- an attempt lasts a day at most, and a session that is not cut another: the bounds let the index find it
            and stood.started_on between spans.event_on - 4 - gap.days and spans.event_on + 4 + gap.days
            and stood.started_at <= spans.last_at + gap.longest
            and stood.ended_at >= spans.first_at - gap.longest
            and stood.started_on + reach.days <= stood.chain_ended_on
        offset 0
    ) as sessions
),

-- a chain of sessions that reaches into a day brings its other days, and those the chains that reach into them
reached as (
    select
        listener_key,
        event_on
    from touched
    union
    select
        listener_key,
        event_on
    from near
    union
    select
        reached.listener_key,
        sessions.event_on
    from reached
    cross join gap
    cross join lateral (
        select stood.started_on + reach.days as event_on
        from {{ as_built('sessions') }} as stood
        cross join (values (0), (1), (2)) as reach (days)
        where
            stood.listener_key = reached.listener_key
            and stood.started_on between reached.event_on - 2 - gap.days and reached.event_on + 2 + gap.days
            and stood.chain_started_on < stood.chain_ended_on
            and reached.event_on between stood.chain_started_on and stood.chain_ended_on
            and stood.started_on + reach.days <= stood.chain_ended_on
        offset 0
    ) as sessions
)

select
    reached.listener_key,
    {{ listener_number('reached.listener_key') }} as listener_id,
    reached.event_on
from reached
where not exists (
        select 1 from {{ this }} as already
        where reached.listener_key = already.listener_key and reached.event_on = already.event_on
    )

{%- endif %}
