{{ config(
    materialized='incremental',
    incremental_strategy='rewrite',
    indexes=[{'columns': ['played_on', 'listener_id']}],
    meta={'scope': {'relation': 'int_affected', 'columns': {'listener_id': 'listener_id', 'played_on': 'event_on'}}}
) }}
{#- Plays as the marts of days count them: what they add up, and the listener as a number. A row is a third as wide as that of `plays`, and
    numbers are told apart several times as fast as pseudonyms of 64 characters. -#}

with plays as (
    select * from {{ of_affected(ref('plays'), 'played_on') }} as plays
)

select
    {{ listener_number('listener_key') }} as listener_id,
    played_on,
    played_at,
    track_id,
    artist_id,
    genre,
    country,
    platform,
    tier,
    context_type,
    ms_played,
    tenths_heard,
    skip_bucket,
    is_stream,
    is_skip,
    is_completed,
    is_intentional,
    is_scrobble,
    is_offline,
    is_estimated
from plays
{{ days_together('played_on') }}
