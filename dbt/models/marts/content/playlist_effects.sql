{{ config(
    enabled=has('plays', 'tracks', 'playlists', 'playlist_tracks'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['playlist_id', 'track_id', 'added_on'],
    indexes=[{'columns': ['playlist_id', 'track_id', 'added_on'], 'unique': true}, {'columns': ['added_on']}],
    meta={'scope': {'relation': 'int_changed_effect_days', 'columns': {'added_on': 'added_on'}}, 'day': 'added_on'}
) }}
{#- The day of the add belongs to neither window: nobody knows at which hour it began to work. -#}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

tracks as (
    select
        track_id,
        genre
    from {{ ref('stg_tracks') }}
),

adds as (
    select
        changes.playlist_id,
        changes.track_id,
        changes.changed_on as added_on,
        changes.playlist_type,
        changes.follower_count,
        changes.changed_on + 14 <= tenant.business_day as is_mature,
        changes.changed_on - 14 >= tenant.begins_on as is_known_before
    from {{ of_days(ref('int_playlist_changes'), 'changed_on', ref('int_changed_effect_days'), 'added_on') }} as changes
    cross join tenant
    where changes.change = 'added'
),

-- only what is asked for costs something: as a rule the adds of one day
asked as (
    select distinct added_on from adds
    where is_mature and is_known_before
),

needed as (
    select distinct days.day_on::date as day_on
    from asked
    cross join generate_series(asked.added_on - 14, asked.added_on + 14, interval '1 day') as days (day_on)
),

streams as (
    select
        track_id,
        played_on,
        sum(stream_count)::bigint as stream_count
    from {{ of_days(ref('track_days'), 'played_on', 'needed', 'day_on') }} as track_days
    where stream_count > 0
    group by track_id, played_on
),

heard as (
    select distinct track_id from streams
),

-- a row a track and asked day, without streams of its own, from which both windows are seen
placed as (
    select
        streams.track_id,
        streams.played_on,
        streams.stream_count,
        false as is_asked
    from streams
    union all
    select
        heard.track_id,
        asked.added_on as played_on,
        0 as stream_count,
        true as is_asked
    from heard
    cross join asked
),

-- days as numbers: a window of dates is moved by adding intervals, which takes most of the time
numbered as (
    select
        placed.*,
        placed.played_on - tenant.begins_on as day_number
    from placed
    cross join tenant
),

summed as (
    select
        track_id,
        played_on as added_on,
        is_asked,
        coalesce(sum(stream_count) over before_it, 0)::bigint as streams_before,
        coalesce(sum(stream_count) over after_it, 0)::bigint as streams_after
    from numbered
    window
        before_it as (partition by track_id order by day_number range between 14 preceding and 1 preceding),
        after_it as (partition by track_id order by day_number range between 1 following and 14 following)
),

windows as (
    select
        summed.track_id,
        summed.added_on,
        tracks.genre,
        summed.streams_before,
        summed.streams_after
    from summed
    left join tracks on summed.track_id = tracks.track_id
    where summed.is_asked and summed.streams_before > 0
),

-- every add near an asked day: such a track is no control, and a treated one has more than one cause
placements as (
    select distinct
        asked.added_on,
        changes.track_id,
        changes.playlist_id,
        changes.changed_on
    from asked
    cross join lateral (
        select
            near.track_id,
            near.playlist_id,
            near.changed_on
        from {{ ref('stg_playlist_tracks') }} as near
        where near.changed_on between asked.added_on - 14 and asked.added_on + 14 and near.change = 'added'
        offset 0
    ) as changes
),

treated as (
    select distinct
        windows.track_id,
        windows.added_on,
        windows.genre,
        windows.streams_before,
        windows.streams_after
    from windows
    inner join adds on windows.track_id = adds.track_id and windows.added_on = adds.added_on
),

matched as (
    select
        treated.track_id,
        treated.added_on,
        controls.streams_before,
        controls.streams_after,
        row_number() over (
            partition by treated.track_id, treated.added_on
            order by abs(controls.streams_before - treated.streams_before), controls.track_id
        ) as nearness
    from treated
    inner join windows as controls
        on
            treated.added_on = controls.added_on
            and treated.genre = controls.genre
            -- of another size, another course: half to double is near enough
            and controls.streams_before * 2 >= treated.streams_before
            and controls.streams_before <= treated.streams_before * 2
    where not exists (
            select 1 from placements
            where placements.added_on = controls.added_on and placements.track_id = controls.track_id
        )
),

-- all at once: to ask for each add, a whole build would go through the placements of all history as often as there are adds
others as (
    select
        adds.playlist_id,
        adds.track_id,
        adds.added_on,
        count(*) as add_count
    from adds
    inner join placements
        on
            adds.added_on = placements.added_on
            and adds.track_id = placements.track_id
            and (adds.playlist_id <> placements.playlist_id or adds.added_on <> placements.changed_on)
    group by adds.playlist_id, adds.track_id, adds.added_on
),

controls as (
    select
        track_id,
        added_on,
        count(*) as control_count,
        avg(streams_before)::double precision as control_streams_before,
        avg(streams_after)::double precision as control_streams_after
    from matched
    where nearness <= 5
    group by track_id, added_on
)

select
    adds.playlist_id,
    adds.track_id,
    adds.added_on,
    adds.playlist_type,
    adds.follower_count,
    treated.streams_before as streams_before_14d,
    treated.streams_after as streams_after_14d,
    case when treated.track_id is not null then coalesce(controls.control_count, 0) end as control_count,
    controls.control_streams_before as control_streams_before_14d,
    controls.control_streams_after as control_streams_after_14d,
    case when treated.track_id is not null then coalesce(others.add_count, 0) end as other_add_count,
    treated.streams_after - treated.streams_before
    - (controls.control_streams_after - controls.control_streams_before) as effect_streams,
    case
        when not adds.is_mature then 'window_open'
        when not adds.is_known_before then 'before_first_delivery'
        when treated.track_id is null then 'no_streams_before'
        when controls.track_id is null then 'no_control'
    end as unknown_because
from adds
left join treated on adds.track_id = treated.track_id and adds.added_on = treated.added_on
left join controls on adds.track_id = controls.track_id and adds.added_on = controls.added_on
left join others on adds.playlist_id = others.playlist_id and adds.track_id = others.track_id and adds.added_on = others.added_on
