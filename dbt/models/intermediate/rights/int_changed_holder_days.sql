{{ config(enabled=has('plays', 'rights')) }}
{#- Days whose streams have changed, and days on which a changed right holds for a track that was heard: those and no others. -#}

select changed.changed_on as played_on
from {{ changed_days('track_days') }} as changed

union

select track_days.played_on
from {{ ref('stg_touched_rows') }} as touched
inner join {{ ref('track_days') }} as track_days
    on
        touched.touched_row ->> 'track_id' = track_days.track_id
        and track_days.played_on >= (touched.touched_row ->> 'valid_from_on')::date
        and track_days.played_on < coalesce((touched.touched_row ->> 'valid_to_on')::date, 'infinity')
where touched.dataset = 'rights'
