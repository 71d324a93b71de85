{#- One row a key, and no key without a value. It is for CI: in a night a unique index refuses the second row, and `build_marts` looks for
    keys without a value among the rows that it has changed. `day`, the date that a row tells of, is for those who read the declaration:
    metrics take their time from it. -#}
{% test grain(model, key, day=none) %}
    select
        {{ key | join(', ') }},
        count(*) as row_count
    from {{ model }}
    group by {{ key | join(', ') }}
    having count(*) > 1 or {{ key | join(' is null or ') }} is null
{% endtest %}
