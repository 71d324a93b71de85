{{ config(
    enabled=has('playlists', 'playlist_tracks'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['track_id', 'playlist_type', 'changed_on'],
    indexes=[{'columns': ['track_id', 'playlist_type', 'changed_on'], 'unique': true}, {'columns': ['changed_on']}],
    meta={'scope': {'relation': 'int_changed_playlist_days', 'columns': {'changed_on': 'changed_on'}}, 'day': 'changed_on'}
) }}

with changes as (
    select * from {{ of_days(ref('int_playlist_changes'), 'changed_on', ref('int_changed_playlist_days')) }} as changes
),

tracks as (
    select * from {{ ref('stg_tracks') }}
)

select
    changes.track_id,
    changes.playlist_type,
    changes.changed_on,
    tracks.artist_id,
    count(*) filter (where changes.change = 'added') as add_count,
    count(*) filter (where changes.change = 'removed') as removal_count,
    -- not deduplicated: who follows two of the playlists counts twice
    (sum(changes.follower_count) filter (where changes.change = 'added'))::bigint as reach_count
from changes
left join tracks on changes.track_id = tracks.track_id
group by changes.track_id, changes.playlist_type, changes.changed_on, tracks.artist_id
