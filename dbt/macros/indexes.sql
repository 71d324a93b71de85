{#- Whether a model declares a unique index on exactly these columns. -#}
{% macro has_unique_index(name, key) -%}
    {%- set found = namespace(here=false) -%}
    {%- for node in (graph.nodes.values() if execute else []) if node.resource_type == 'model' and node.name == name -%}
        {%- for index in node.config.get('indexes') or [] if index.get('unique') and index['columns'] | sort == key | sort -%}
            {%- set found.here = true -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found.here) }}
{%- endmacro %}
