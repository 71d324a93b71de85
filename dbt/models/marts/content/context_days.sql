{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['context_type', 'skip_bucket', 'played_on'],
    indexes=[{'columns': ['context_type', 'skip_bucket', 'played_on'], 'unique': true}, {'columns': ['played_on']}],
    meta={'scope': {'relation': 'int_changed_play_days', 'columns': {'played_on': 'played_on'}}, 'day': 'played_on'}
) }}

{% call each_day(ref('int_listens'), 'played_on', ref('int_changed_play_days')) %}
select
    coalesce(context_type, 'unknown') as context_type,
    coalesce(skip_bucket, 'none') as skip_bucket,
    played_on,
    {{ counts_of_plays() }}
from of_day
group by coalesce(context_type, 'unknown'), coalesce(skip_bucket, 'none'), played_on
{% endcall %}
