{{ config(
    enabled=has('plays', 'interactions'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['shared_on', 'track_id', 'artist_id'],
    indexes=[{'columns': ['shared_on', 'track_id', 'artist_id'], 'unique': true}],
    meta={'scope': {'relation': 'int_changed_share_days', 'columns': {'shared_on': 'shared_on'}}}
) }}
{#- Shares as they were delivered: whose track it is is joined when read. What a share does not name is empty, so that it can be a key. -#}

select
    interacted_on as shared_on,
    coalesce(track_id, '') as track_id,
    coalesce(artist_id, '') as artist_id,
    count(*) as share_count
from {{ of_days(ref('stg_interactions'), 'interacted_on', ref('int_changed_share_days'), 'shared_on') }} as interactions
where interaction = 'share'
group by interacted_on, coalesce(track_id, ''), coalesce(artist_id, '')
