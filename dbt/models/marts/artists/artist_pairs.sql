{{ config(
    enabled=has('plays', 'tracks'),
    indexes=[{'columns': ['artist_id', 'other_artist_id'], 'unique': true}]
) }}
{#- Bounded on all sides: a night costs what the listeners that count heard in 28 days, however many there are. Their keys are digests: the
    first by key are a fair sample of all. -#}
{%- set most_listeners = 5000 %}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

listeners as (
    select
        listener_days.listener_key,
        {{ listener_number('listener_days.listener_key') }} as listener_id
    from {{ ref('listener_days') }} as listener_days
    inner join tenant
        on listener_days.played_on > tenant.business_day - 28 and listener_days.played_on <= tenant.business_day
    where listener_days.stream_count > 0
    group by listener_days.listener_key
    order by listener_days.listener_key
    limit {{ most_listeners }}
),

counted as (
    select count(*) as listener_count from listeners
),

streamed as (
    select distinct
        listened.artist_id,
        listeners.listener_id
    from tenant
    cross join listeners
    cross join generate_series(0, 27) as back (days)
    cross join
        lateral (
            select any_day.artist_id from {{ ref('int_artist_listener_days') }} as any_day
            where
                any_day.played_on = tenant.business_day - back.days
                and any_day.listener_id = listeners.listener_id
                and any_day.stream_count > 0
            offset 0
        ) as listened
),

artists as (
    select
        artist_id,
        count(*) as listener_count
    from streamed
    group by artist_id
    order by count(*) desc, artist_id asc
    limit 100
),

heard as (
    select
        streamed.artist_id,
        streamed.listener_id
    from streamed
    inner join artists on streamed.artist_id = artists.artist_id
),

pairs as (
    select
        one.artist_id,
        other.artist_id as other_artist_id,
        count(*) as listener_count
    from heard as one
    inner join heard as other on one.listener_id = other.listener_id and one.artist_id < other.artist_id
    group by one.artist_id, other.artist_id
    order by count(*) desc, one.artist_id asc, other.artist_id asc
    limit 1000
)

select
    pairs.artist_id,
    pairs.other_artist_id,
    pairs.listener_count,
    one.listener_count as artist_listener_count,
    other.listener_count as other_listener_count,
    counted.listener_count as counted_listener_count,
    pairs.listener_count::double precision * counted.listener_count / (one.listener_count * other.listener_count) as lift
from pairs
inner join artists as one on pairs.artist_id = one.artist_id
inner join artists as other on pairs.other_artist_id = other.artist_id
cross join counted
