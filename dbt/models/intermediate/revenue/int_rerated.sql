{{ config(materialized='view') }}
{#- Currencies with a rate that came, went or changed, and the first day from which their money may count otherwise. -#}

select
    touched_row ->> 'currency' as currency,
    min((touched_row ->> 'rated_on')::date) as rerated_from_on
from {{ ref('stg_touched_rows') }}
where dataset = 'fx_rates'
group by touched_row ->> 'currency'
