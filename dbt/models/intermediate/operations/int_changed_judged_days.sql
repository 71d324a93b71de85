{{ config(materialized='view') }}
{#- Days of which something else was found than the published marts say. -#}

select event_on as judged_on
from {{ ref('stg_touched') }}
where dataset = 'judged_days'
