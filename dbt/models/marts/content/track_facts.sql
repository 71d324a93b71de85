{{ config(indexes=[{'columns': ['track_id'], 'unique': true}]) }}

with tracks as (
    select * from {{ ref('stg_tracks') }}
),

artists as (
    select * from {{ ref('stg_artists') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

totals as (
    select
        track_id,
        sum(play_count)::bigint as play_count,
        sum(stream_count)::bigint as stream_count,
        min(first_streamed_on) as first_streamed_on,
        max(last_streamed_on) as last_streamed_on
    from {{ ref('track_months') }}
    group by track_id
),

recent as (
    select
        track_days.track_id,
        sum(track_days.stream_count)::bigint as streams_28d,
        coalesce(sum(track_days.stream_count) filter (where track_days.played_on > tenant.business_day - 7), 0)::bigint as streams_7d
    from {{ ref('track_days') }} as track_days
    inner join tenant
        on track_days.played_on > tenant.business_day - 28 and track_days.played_on <= tenant.business_day
    group by track_days.track_id
),

ranked as (
    select
        track_id,
        percent_rank() over (order by streams_28d) as popularity_ratio
    from recent
    where streams_28d > 0
)

select
    coalesce(tracks.track_id, totals.track_id) as track_id,
    tracks.title,
    tracks.artist_id,
    artists.artist_name,
    tracks.release_id,
    tracks.isrc,
    tracks.genre,
    tracks.duration_ms,
    tracks.released_on,
    {{ is_catalogue('tracks.released_on', 'tenant.business_day') }} as is_catalogue,
    tracks.is_explicit,
    tracks.tempo,
    tracks.energy,
    tracks.danceability,
    tracks.valence,
    tracks.acousticness,
    tracks.instrumentalness,
    tracks.speechiness,
    tracks.liveness,
    tracks.loudness,
    totals.first_streamed_on,
    totals.last_streamed_on,
    coalesce(totals.play_count, 0) as play_count,
    coalesce(totals.stream_count, 0) as stream_count,
    coalesce(recent.streams_28d, 0) as streams_28d,
    coalesce(recent.streams_7d, 0) as streams_7d,
    -- a window that reaches back before the first delivery says nothing of a course
    case
        when tenant.business_day - 27 >= tenant.begins_on
            then recent.streams_7d::double precision / 7 / nullif(recent.streams_28d::double precision / 28, 0)
    end as momentum_ratio,
    ranked.popularity_ratio
from tracks
full outer join totals on tracks.track_id = totals.track_id
cross join tenant
left join artists on tracks.artist_id = artists.artist_id
left join recent on coalesce(tracks.track_id, totals.track_id) = recent.track_id
left join ranked on coalesce(tracks.track_id, totals.track_id) = ranked.track_id
