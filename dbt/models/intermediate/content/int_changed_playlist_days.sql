{{ config(enabled=has('playlists', 'playlist_tracks'), materialized='view') }}
{#- Days on which a change of a playlist came or went, or whose playlists had another type or other followers than was known, or whose
    tracks are another artist's. -#}

select event_on as changed_on
from {{ ref('stg_touched') }}
where dataset = 'playlist_tracks'

union

select changes.changed_on
from {{ ref('stg_touched_rows') }} as touched
inner join {{ ref('stg_playlist_tracks') }} as changes
    on
        touched.touched_row ->> 'playlist_id' = changes.playlist_id
        and changes.changed_on >= (touched.touched_row ->> 'valid_from_on')::date -- it may have ended what holds after its own end
where touched.dataset = 'playlists'

union

select changes.changed_on
from {{ ref('stg_touched_rows') }} as touched
inner join {{ ref('stg_playlist_tracks') }} as changes on touched.touched_row ->> 'track_id' = changes.track_id
where touched.dataset = 'tracks'
