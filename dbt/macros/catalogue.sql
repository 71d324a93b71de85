{#- What a track was on a day: catalogue is what was released more than 18 months before it. As of that day, not as of today: what was new then
    stays new then. -#}
{% macro release_age(released_on, day) -%}
    case
        when {{ released_on }} < {{ day }} - interval '18 months' then 'catalogue'
        when {{ released_on }} is not null then 'current'
        else 'unknown'
    end
{%- endmacro %}
