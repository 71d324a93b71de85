{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key='part_id',
    indexes=[{'columns': ['part_id'], 'unique': true}, {'columns': ['event_on', 'listener_key']}],
    meta={
        'scope': {'relation': 'int_affected', 'columns': {'listener_key': 'listener_key', 'event_on': 'event_on'}},
        'day': 'event_on',
    }
) }}
-- depends_on: {{ ref('int_affected') }}

select
    event_id as part_id,
    play_id,
    listener_key,
    event_on
from {{ ref('int_events') }}
where is_resume
