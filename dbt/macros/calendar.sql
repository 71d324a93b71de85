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

{#- Last day of the month that holds a date. -#}
{% macro month_end(day) -%}
    (date_trunc('month', {{ day }}) + interval '1 month - 1 day')::date
{%- endmacro %}

{#- Event dates of one dataset among those whose counts may have changed. -#}
{% macro counted_days(changed, dataset) -%}
    (select event_on from {{ changed }} where dataset = '{{ dataset }}') as of_dataset
{%- endmacro %}

{#- Every day of the months that a relation names. -#}
{% macro month_days(months) -%}
    (
        select days.played_on::date as played_on
        from {{ months }} as months
        cross join generate_series(months.month_on, months.month_on + interval '1 month - 1 day', interval '1 day') as days (played_on)
    ) as of_months
{%- endmacro %}

{#- Every day of the weeks that a relation names. -#}
{% macro week_days(weeks) -%}
    (
        select weeks.week_on + days.number as played_on
        from {{ weeks }} as weeks
        cross join generate_series(0, 6) as days (number)
    ) as of_weeks
{%- endmacro %}

{#- The days, after that of the first stream, on which cohorts are looked at again. -#}
{% macro cohort_days() -%}
    {{ return([1, 3, 7, 14, 28, 60, 90]) }}
{%- endmacro %}

{#- The last month, after that of the first stream, in which they are. -#}
{% macro cohort_months() -%}
    {{ return(24) }}
{%- endmacro %}

{#- How many calendar months after one first of a month another one is. -#}
{% macro months_between(earlier, later) -%}
    (
        12 * (extract(year from {{ later }}) - extract(year from {{ earlier }}))
        + extract(month from {{ later }}) - extract(month from {{ earlier }})
    )::integer
{%- endmacro %}
