{#- Everything is built in one schema, the tenant's `<slug>_build`; what people read is published from there. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ target.schema }}
{%- endmacro %}
