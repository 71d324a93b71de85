{{ config(enabled=has('plays', 'tracks', 'playlists', 'playlist_tracks'), materialized='view') }}
{#- Days of adds whose effect may be another one: listening has changed in a window that is over, a playlist has changed within 14 days (or
    its type or followers on the day), or the window has come to its end since marts were published. -#}

with tenant as (
    select * from {{ ref('stg_tenant') }}
)

select days.added_on::date as added_on
from {{ changed_days('plays') }} as changed
cross join tenant
cross join
    generate_series(
        changed.changed_on - 14, least(changed.changed_on + 14, tenant.business_day - 14), interval '1 day'
    ) as days (added_on)

union

select days.added_on::date
from {{ ref('int_changed_playlist_days') }} as changed
cross join generate_series(changed.changed_on - 14, changed.changed_on + 14, interval '1 day') as days (added_on)

union

select days.added_on::date
from tenant
cross join generate_series({{ built_to() }} - 13, tenant.business_day - 14, interval '1 day') as days (added_on)
