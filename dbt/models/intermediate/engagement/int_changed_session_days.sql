{{ config(materialized='view') }}
{#- Days on which a session came, went or changed. -#}

select changed.changed_on as started_on
from {{ changed_days('sessions') }} as changed
