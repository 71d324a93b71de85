{#- Whether the tenant delivers all of these datasets. -#}
{% macro has() -%}
    {%- for dataset in varargs if dataset not in var('datasets') -%}
        {{ return(false) }}
    {%- endfor -%}
    {{ return(true) }}
{%- endmacro %}

{#- All rows of a dataset; of one that the tenant does not deliver, none, with the types that its columns would have. -#}
{% macro read_raw(dataset) -%}
    {%- set table = source('raw', dataset) -%}
    {%- if has(dataset) -%}
    select * from {{ table }}
    {%- else -%}
    select
        {%- if execute %}
        {%- for column in graph.sources['source.nocturne.raw.' ~ dataset].columns.values() %}
        null::{{ column.data_type }} as {{ column.name }}{{ ',' if not loop.last }}
        {%- endfor %}
        {%- endif %}
    where false
    {%- endif -%}
{%- endmacro %}
