{{ config(
    enabled=has('plays', 'tracks', 'listeners'),
    indexes=[{'columns': ['artist_id', 'dimension', 'audience_group'], 'unique': true}]
) }}
{#- Groups of fewer than five listeners are not told. Nor are they left to be found by subtraction from the whole: if those that are hidden
    hold fewer than five together, the next larger group is hidden too. -#}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

listeners as (
    select
        windows.artist_id,
        accounts.gender,
        accounts.country,
        extract(year from tenant.business_day)::integer - accounts.birth_year as age
    from {{ ref('int_artist_windows') }} as windows
    cross join tenant
    left join {{ ref('stg_listeners') }} as accounts on windows.listener_id = {{ listener_number('accounts.listener_key') }}
    where windows.streams_28d > 0
),

described as (
    select
        listeners.artist_id,
        told.dimension,
        coalesce(told.audience_group, 'unknown') as audience_group
    from listeners
    cross join
        lateral (
            values
            ('gender', listeners.gender),
            ('country', listeners.country),
            (
                'age_band',
                case
                    when listeners.age < 18 then '0-17'
                    when listeners.age < 25 then '18-24'
                    when listeners.age < 35 then '25-34'
                    when listeners.age < 45 then '35-44'
                    when listeners.age < 55 then '45-54'
                    when listeners.age >= 55 then '55+'
                end
            )
        ) as told (dimension, audience_group)
),

groups as (
    select
        artist_id,
        dimension,
        audience_group,
        count(*) as listener_count
    from described
    group by artist_id, dimension, audience_group
),

hidden as (
    select
        *,
        sum(listener_count) over (partition by artist_id, dimension)::bigint as listeners_28d,
        listener_count < 5
        or coalesce(sum(listener_count) over (
            partition by artist_id, dimension order by listener_count, audience_group rows between unbounded preceding and 1 preceding
        ), 5) < 5 as is_suppressed
    from groups
)

select
    artist_id,
    dimension,
    audience_group,
    case when not is_suppressed then listener_count end as listeners_28d,
    case when not is_suppressed then listener_count::double precision / listeners_28d end as listener_ratio,
    is_suppressed
from hidden
