{{ config(materialized='view', enabled=has('plays', 'rights')) }}
{#- Months with a day whose streams or rights have changed, and months in which a track became eligible or ceased to be. -#}

select {{ month_of('changed.changed_on') }} as month_on
from {{ changed_days('int_stream_days') }} as changed

union

select changed.changed_on as month_on
from {{ changed_days('int_eligible_tracks') }} as changed

union

select {{ month_of('streamed.played_on') }} as month_on
from {{ ref('stg_touched_rows') }} as touched
inner join {{ ref('int_stream_days') }} as streamed
    on
        touched.touched_row ->> 'track_id' = streamed.track_id
        and streamed.played_on >= (touched.touched_row ->> 'valid_from_on')::date
        and streamed.played_on < coalesce((touched.touched_row ->> 'valid_to_on')::date, 'infinity')
where touched.dataset = 'rights'
