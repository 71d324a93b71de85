{{ config(materialized='view') }}
{#- Days whose windows of 28 days, or months, hold a day on which somebody's listening has changed. -#}

select distinct days.day_on::date as day_on
from {{ changed_days('listener_days') }} as changed
cross join generate_series(changed.changed_on, changed.changed_on + 30, interval '1 day') as days (day_on)
