{{ config(materialized='view') }}
{#- Days whose windows of 28 days hold a day on which a play came, went or changed. -#}

select distinct days.day_on::date as played_on
from {{ changed_days('plays') }} as changed
cross join generate_series(changed.changed_on, changed.changed_on + 27, interval '1 day') as days (day_on)
