{{ config(materialized='view') }}
{#- Months of the days on which a track's numbers have changed. -#}

select distinct {{ month_of('changed.changed_on') }} as month_on
from {{ changed_days('track_days') }} as changed
