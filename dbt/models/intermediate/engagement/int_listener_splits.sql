{{ config(
    materialized='incremental',
    incremental_strategy='rewrite',
    indexes=[{'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}}
) }}
{#- A row a listener instead of one a play: what is split by country, platform and tier reads a third of the rows. -#}

{% call each_day(ref('int_listens'), 'played_on', ref('int_changed_play_days')) %}
select
    listener_id,
    played_on,
    coalesce(country, 'ZZ') as country,
    coalesce(platform, 'unknown') as platform,
    coalesce(tier, 'unknown') as tier,
    {{ counts_of_plays() }}
from of_day
group by listener_id, played_on, coalesce(country, 'ZZ'), coalesce(platform, 'unknown'), coalesce(tier, 'unknown')
{% endcall %}
