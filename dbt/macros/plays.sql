{#- All that is counted of plays, a column each. What no play of the group knows is NULL, and not 0. -#}
{% macro counts_of_plays() -%}
    count(*) as play_count,
    count(*) filter (where is_stream) as stream_count,
    sum(is_skip::integer) as skip_count,
    sum(is_completed::integer) as completed_count,
    sum(is_intentional::integer) as intentional_count,
    sum(is_scrobble::integer) as scrobble_count,
    count(*) filter (where is_offline) as offline_count,
    count(*) filter (where is_estimated) as estimated_count,
    sum(ms_played)::bigint as ms_played
{%- endmacro %}
