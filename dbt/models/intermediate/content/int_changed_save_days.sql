{{ config(enabled=has('plays', 'interactions'), materialized='view') }}
{#- Days on which a save may have come or gone, or a play did. -#}

select event_on as saved_on
from {{ ref('stg_touched') }}
where dataset = 'interactions'

union

select played_on
from {{ ref('int_changed_play_days') }}
