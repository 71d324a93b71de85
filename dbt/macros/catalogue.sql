{#- Whether a track was catalogue on a day: released more than 18 months before it. -#}
{% macro is_catalogue(released_on, day) -%}
    {{ released_on }} < {{ day }} - interval '18 months'
{%- endmacro %}

{#- What a track was on a day: as of that day, not as of today, so what was new then stays new then. -#}
{% macro release_age(released_on, day) -%}
    case
        when {{ is_catalogue(released_on, day) }} then 'catalogue'
        when {{ released_on }} is not null then 'current'
        else 'unknown'
    end
{%- endmacro %}
