{{ config(materialized='view', enabled=has('plays')) }}
{#- Months whose trailing twelve months hold a day with other streams, months in which a track was heard that is now described
    otherwise, and those of a changed rule. -#}

select distinct {{ month_of('changed.changed_on + months.number * interval \'1 month\'') }} as month_on
from (
    select distinct {{ month_of('changed_on') }} as changed_on
    from {{ changed_days('int_stream_days') }} as streamed
) as changed
cross join generate_series(0, 11) as months (number)

union

select {{ month_of('streamed.played_on') }} as month_on
from {{ ref('stg_touched_rows') }} as touched
inner join {{ ref('int_stream_days') }} as streamed on touched.touched_row ->> 'track_id' = streamed.track_id
where touched.dataset = 'tracks'

union

select {{ month_of('event_on') }} as month_on
from {{ ref('stg_touched') }}
where dataset = 'rules' and event_on is not null
