{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['country', 'platform', 'tier', 'played_on', 'level'],
    indexes=[{'columns': ['country', 'platform', 'tier', 'played_on', 'level'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}
{#- Bitmaps of several resolutions (Estan, Varghese, Fisk 2003): the number of a listener gives the level (its leading zeros, so that each
    level holds half as many as the one before) and the place in the bitmap of that level (its last bits). A listener has the same
    place on every day, and so the union of days is the OR of their bitmaps. -#}
{%- set places = 8192 %}

{% call each_day(ref('int_listener_splits'), 'played_on', ref('int_changed_play_days')) %}
select
    coalesce(heard.country, '(all)') as country,
    coalesce(heard.platform, '(all)') as platform,
    coalesce(heard.tier, '(all)') as tier,
    heard.played_on,
    heard.level,
    bit_or(set_bit(0::bit({{ places }}), heard.place, 1))::bit({{ places }}) as sketch
from (
    -- (all) is no word of a source: who brings it is among those that are not known
    select
        country,
        coalesce(nullif(platform, '(all)'), 'unknown') as platform,
        coalesce(nullif(tier, '(all)'), 'unknown') as tier,
        played_on,
        position(b'1' in listener_id::bit(64)) - 1 as level,
        (listener_id & {{ places - 1 }})::integer as place
    from of_day
    where stream_count > 0
) as heard
group by
    grouping sets (
        (heard.played_on, heard.level),
        (heard.played_on, heard.level, heard.country),
        (heard.played_on, heard.level, heard.platform),
        (heard.played_on, heard.level, heard.tier)
    )
{% endcall %}
