{#- The business day that the published marts were built to: what has matured since is to be looked at in this build. A build to a later day
    than it says, as after a backfill of an old day, has looked at more; NULL before anything was published, when all is built anew. -#}
{% macro built_to() -%}
    (select max(day) from {{ this.schema }}._builds where published_at is not null)
{%- endmacro %}
