{{ config(materialized='view') }}
{#- The months of the affected listener-days. -#}

select distinct
    listener_key,
    listener_id,
    {{ month_of('event_on') }} as month_on
from {{ ref('int_affected') }}
