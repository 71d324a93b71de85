{{ config(enabled=has('plays', 'tracks'), materialized='view') }}
{#- Days on which a play came, went or changed, or a track was heard that stands on another release or was released on another day. -#}

select changed.changed_on as played_on
from {{ changed_days('plays') }} as changed

union

select track_days.played_on
from {{ ref('stg_touched_rows') }} as touched
inner join {{ ref('track_days') }} as track_days on touched.touched_row ->> 'track_id' = track_days.track_id
where touched.dataset = 'tracks'

union

select track_days.played_on
from {{ ref('stg_touched_rows') }} as touched
inner join {{ ref('stg_tracks') }} as tracks on touched.touched_row ->> 'release_id' = tracks.release_id
inner join {{ ref('track_days') }} as track_days on tracks.track_id = track_days.track_id
where touched.dataset = 'releases'
