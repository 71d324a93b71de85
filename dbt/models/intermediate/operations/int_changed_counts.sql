{{ config(materialized='view') }}
{#- Event dates of datasets whose rows, or whose plays in the marts, may have changed. -#}

select
    dataset,
    event_on
from {{ ref('stg_touched') }}
where event_on is not null
{%- if has('plays') %}

union

select
    'plays' as dataset,
    event_on
from {{ ref('int_affected') }}
{%- endif %}
