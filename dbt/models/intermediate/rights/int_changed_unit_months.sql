{{ config(materialized='view', enabled=has('tracks') and (has('plays') or has('sales'))) }}
{#- Months with other streams or sales, months in which something was heard or sold that is now described otherwise, and those of a changed
    rule. -#}

select {{ month_of('event_on') }} as month_on
from {{ ref('stg_touched') }}
where dataset in ('rules', 'sales') and event_on is not null

union

select {{ month_of('sales.sold_on') }} as month_on
from {{ ref('stg_touched_rows') }} as touched
inner join {{ ref('stg_sales') }} as sales on touched.touched_row ->> 'release_id' = sales.release_id
where touched.dataset = 'releases'

union

select {{ month_of('sales.sold_on') }} as month_on
from {{ ref('stg_touched_rows') }} as touched
inner join {{ ref('stg_sales') }} as sales on touched.touched_row ->> 'track_id' = sales.track_id
where touched.dataset = 'tracks'

union

-- another description of the release that the catalogue names for a track that was sold
select {{ month_of('sales.sold_on') }} as month_on
from {{ ref('stg_touched_rows') }} as touched
inner join {{ ref('stg_tracks') }} as tracks on touched.touched_row ->> 'release_id' = tracks.release_id
inner join {{ ref('stg_sales') }} as sales on tracks.track_id = sales.track_id
where touched.dataset = 'releases'
{%- if has('plays') %}

union

select {{ month_of('changed.changed_on') }} as month_on
from {{ changed_days('int_stream_days') }} as changed

union

select {{ month_of('streamed.played_on') }} as month_on
from {{ ref('stg_touched_rows') }} as touched
inner join {{ ref('int_stream_days') }} as streamed on touched.touched_row ->> 'track_id' = streamed.track_id
where touched.dataset = 'tracks'
{%- endif %}
