{#- Weeks in which somebody's listening has changed, and all weeks of listeners whose first stream may have moved: those with a change on
    or before the day of their first stream as it stands now. -#}

select distinct {{ week_of('changed.changed_on') }} as week_on
from {{ changed_days('listener_days') }} as changed

union

select distinct {{ week_of('listener_days.played_on') }} as week_on
from {{ ref('int_affected') }} as affected
inner join {{ ref('int_listener_totals') }} as totals
    on affected.listener_key = totals.listener_key and affected.event_on <= totals.first_streamed_on
inner join {{ ref('listener_days') }} as listener_days on totals.listener_key = listener_days.listener_key
