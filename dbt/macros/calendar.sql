{#- First day of the week that holds a date, by the tenant's WEEK_START. -#}
{% macro week_of(day) -%}
    {%- if var('week_start') == 'sunday' -%}
    (date_trunc('week', {{ day }} + 1)::date - 1)
    {%- else -%}
    date_trunc('week', {{ day }})::date
    {%- endif -%}
{%- endmacro %}

{#- First day of the month that holds a date. -#}
{% macro month_of(day) -%}
    date_trunc('month', {{ day }})::date
{%- endmacro %}
