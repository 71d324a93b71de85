{{ config(enabled=has('playlists', 'playlist_tracks'), materialized='view') }}
{#- What happened on a day between a playlist and a track, each kind of change once, with the playlist as it stood on that day. -#}

with changes as (
    select distinct
        playlist_id,
        track_id,
        change,
        changed_on
    from {{ ref('stg_playlist_tracks') }}
),

-- a newer row takes over also where the older one says no end; made once, and not for each of the days that are asked for
playlists as materialized (
    select
        playlist_id,
        playlist_type,
        follower_count,
        valid_from_on,
        least(valid_to_on, lead(valid_from_on) over (partition by playlist_id order by valid_from_on)) as valid_to_on
    from {{ ref('stg_playlists') }}
)

select
    changes.playlist_id,
    changes.track_id,
    changes.change,
    changes.changed_on,
    coalesce(playlists.playlist_type, 'unknown') as playlist_type,
    playlists.follower_count
from changes
left join playlists
    on
        changes.playlist_id = playlists.playlist_id
        and changes.changed_on >= playlists.valid_from_on
        and changes.changed_on < playlists.valid_to_on
