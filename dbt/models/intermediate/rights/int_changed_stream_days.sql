{{ config(materialized='view', enabled=has('plays')) }}
{#- Days on which a play came, went or changed, or was called artificial, or is no longer. -#}

select changed.changed_on as played_on
from {{ changed_days('plays') }} as changed

union

select event_on as played_on
from {{ ref('stg_touched') }}
where dataset = 'artificial_streams' and event_on is not null

union

-- a part of a play that began the day before
select plays.played_on
from {{ ref('stg_touched') }} as touched
inner join {{ ref('int_joined_resumes') }} as resumes on touched.event_on = resumes.event_on
inner join {{ ref('plays') }} as plays on resumes.play_id = plays.play_id
where touched.dataset = 'artificial_streams'
