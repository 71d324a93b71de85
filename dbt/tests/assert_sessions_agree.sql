{{ config(tags=['ci'], enabled=has('plays')) }}
-- Every play belongs to one session, and no session holds a play twice or one that is not there.

select
    sessions.session_key,
    sessions.play_count,
    count(plays.play_id) as plays_there
from {{ ref('sessions') }} as sessions
full outer join {{ ref('plays') }} as plays on sessions.session_key = plays.session_key
group by sessions.session_key, sessions.play_count
having sessions.play_count is distinct from count(plays.play_id)
