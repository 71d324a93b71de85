{#- One row a key, and no key without a value: the one test of a model that every night runs.

    Where a unique index stands on the key, PostgreSQL has refused a second row already, and what is left to ask it answers from the index.
    Elsewhere, with `day`, a night looks at the dates that the build has changed; a full build, and CI, look at all rows. -#}
{% test grain(model, key, day=none) %}
{%- set unfinished = key | join(' is null or ') ~ ' is null' %}
    select
        {{ key | join(', ') }},
        count(*) as row_count
    from {{ model }}
{% if has_unique_index(model.identifier, key) -%}
    where {{ unfinished }}
    group by {{ key | join(', ') }}
{%- else -%}
    {% if day and not flags.FULL_REFRESH -%}
    where {{ day }} in (select changed_on from {{ model.schema }}._changed where model = '{{ model.identifier }}')
    {% endif -%}
group by {{ key | join(', ') }}
    having count(*) > 1 or {{ unfinished }}
{%- endif %}
{% endtest %}
