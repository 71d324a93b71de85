{{ config(materialized='view', enabled=has('plays', 'rights')) }}
{#- Months whose streams by holder have changed. -#}

select changed.changed_on as month_on
from {{ changed_days('payable_months') }} as changed
