{{ config(materialized='view') }}
{#- Days on which a play came, went or changed. -#}

select changed.changed_on as played_on
from {{ changed_days('plays') }} as changed
