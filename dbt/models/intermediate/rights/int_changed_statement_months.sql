{{ config(materialized='view') }}
{#- Months with a statement line that came, went or changed, or is converted at another rate. -#}

select {{ month_of('event_on') }} as month_on
from {{ ref('stg_touched') }}
where dataset = 'statements'

union

select {{ month_of('statements.period_ends_on') }} as month_on
from {{ ref('stg_statements') }} as statements
inner join {{ ref('int_rerated') }} as rerated
    on statements.currency = rerated.currency and statements.period_ends_on >= rerated.rerated_from_on
