{{ config(materialized='view') }}
{#- The rate of each currency by the days on which it holds: the newest rate on or before a day; the tenant's own currency is one. -#}

with rates as (
    select * from {{ ref('stg_fx_rates') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
)

select
    rates.currency,
    rates.rated_on as valid_from_on,
    lead(rates.rated_on, 1, 'infinity') over (partition by rates.currency order by rates.rated_on) as valid_to_on,
    rates.rate
from rates
cross join tenant
where rates.currency <> tenant.currency

union all

select
    currency,
    '-infinity'::date as valid_from_on,
    'infinity'::date as valid_to_on,
    1::numeric as rate
from tenant
