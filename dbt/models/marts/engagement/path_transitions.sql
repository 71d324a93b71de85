{{ config(indexes=[{'columns': ['step', 'source', 'target'], 'unique': true}]) }}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

paths as (
    select
        path_days.context_path,
        sum(path_days.session_count)::bigint as session_count
    from {{ ref('path_days') }} as path_days
    inner join tenant
        on path_days.started_on > tenant.business_day - 28 and path_days.started_on <= tenant.business_day
    group by path_days.context_path
),

-- a path that is told whole ends; of a longer one it is not known where it went
states as (
    select
        paths.context_path,
        paths.session_count,
        states.context,
        states.place
    from paths
    cross join
        unnest(string_to_array(paths.context_path || case when paths.context_path like '%(more)' then '' else ' > (end)' end, ' > '))
        with ordinality as states (context, place)
),

moves as (
    select
        place - 1 as step,
        lag(context, 1, '(start)') over (partition by context_path order by place) as source,
        context as target,
        session_count
    from states
)

select
    step::smallint as step,
    source,
    target,
    sum(session_count)::bigint as session_count,
    (sum(session_count) / sum(sum(session_count)) over (partition by step, source))::double precision as transition_ratio
from moves
group by step, source, target
