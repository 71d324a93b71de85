{{ config(enabled=has('plays', 'listeners'), materialized='view') }}
{#- Days on which a listener's plays or sessions changed, and all days of a listener of whom the register says something else. -#}

select changed.changed_on as played_on
from {{ changed_days('listener_days') }} as changed

union

select changed.changed_on as played_on
from {{ changed_days('sessions') }} as changed

union

select listener_days.played_on
from {{ ref('stg_touched_rows') }} as touched
inner join {{ ref('listener_days') }} as listener_days on touched.touched_row ->> 'listener_key' = listener_days.listener_key
where touched.dataset = 'listeners'
