{#- An amount's part of a total, in cents that add up to the total to the cent: every part is rounded down, and what is left over goes, cent
    by cent, to the parts with the largest remainders (of equal ones to the first by `key`). `exact` is the part in cents before rounding,
    `total` the total in cents, `whole` the columns of which the parts of one total are alike. -#}
{% macro largest_remainder(exact, total, whole, key) -%}
    (
        (
            floor({{ exact }})
            + (
                row_number() over (partition by {{ whole }} order by {{ exact }} - floor({{ exact }}) desc, {{ key }})
                <= {{ total }} - sum(floor({{ exact }})) over (partition by {{ whole }})
            )::integer
        ) / 100
    )::numeric(24, 2)
{%- endmacro %}
