{#- How many days after its event date a row was received, of a group of rows: how many were late, half of them at most, nine in ten, all. -#}
{% macro lateness(event_on) -%}
    count(*) filter (where received_on > {{ event_on }}) as late_count,
    percentile_disc(0.5) within group (order by received_on - {{ event_on }}) as p50_days_late,
    percentile_disc(0.9) within group (order by received_on - {{ event_on }}) as p90_days_late,
    max(received_on - {{ event_on }}) as max_days_late
{%- endmacro %}
