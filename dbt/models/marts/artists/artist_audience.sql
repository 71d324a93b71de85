{{ config(
    enabled=has('plays', 'tracks', 'listeners'),
    indexes=[{'columns': ['artist_id', 'dimension', 'audience_group'], 'unique': true}]
) }}
{#- Groups of fewer than five listeners are not told. Nor are they left to be found by subtraction from the whole: if those that are hidden
    hold fewer than five together, the next larger group is hidden too. -#}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

accounts as (
    select
        {{ listener_number('listeners.listener_key') }} as listener_id,
        listeners.gender,
        listeners.country,
        extract(year from tenant.business_day)::integer - listeners.birth_year as age
    from {{ ref('stg_listeners') }} as listeners
    cross join tenant
),

banded as (
    select
        listener_id,
        gender,
        country,
        case
            when age < 18 then '0-17'
            when age < 25 then '18-24'
            when age < 35 then '25-34'
            when age < 45 then '35-44'
            when age < 55 then '45-54'
            when age >= 55 then '55+'
        end as age_band
    from accounts
),

-- those who are alike in all three are few, and are counted before they are looked at by each
alike as (
    select
        windows.artist_id,
        banded.gender,
        banded.country,
        banded.age_band,
        count(*) as listener_count
    from {{ ref('int_artist_windows') }} as windows
    left join banded on windows.listener_id = banded.listener_id
    where windows.streams_28d > 0
    group by windows.artist_id, banded.gender, banded.country, banded.age_band
),

groups as (
    select
        alike.artist_id,
        told.dimension,
        coalesce(told.audience_group, 'unknown') as audience_group,
        sum(alike.listener_count)::bigint as listener_count
    from alike
    cross join
        lateral (
            values
            ('gender', alike.gender),
            ('country', alike.country),
            ('age_band', alike.age_band)
        ) as told (dimension, audience_group)
    group by alike.artist_id, told.dimension, coalesce(told.audience_group, 'unknown')
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
