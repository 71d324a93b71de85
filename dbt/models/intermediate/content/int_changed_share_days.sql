{{ config(enabled=has('plays', 'interactions'), materialized='view') }}
{#- Days on which a share may have come or gone. -#}

select event_on as shared_on
from {{ ref('stg_touched') }}
where dataset = 'interactions'
