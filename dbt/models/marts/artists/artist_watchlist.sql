{{ config(enabled=has('plays', 'tracks'), indexes=[{'columns': ['artist_id'], 'unique': true}]) }}
{#- To grow by half is easy for a small artist and rare for a large one: so growth is compared among artists of a size. -#}

with facts as (
    select * from {{ ref('artist_facts') }}
    where listeners_28d >= 10 and listeners_previous_28d is not null
),

sized as (
    select
        *,
        case
            when listeners_28d < 100 then 'small'
            when listeners_28d < 1000 then 'medium'
            else 'large'
        end as size_class
    from facts
),

compared as (
    select
        *,
        percent_rank() over (partition by size_class, listener_growth_ratio is null order by listener_growth_ratio) as growth_rank_ratio
    from sized
),

judged as (
    select
        artist_id,
        artist_name,
        genre,
        size_class,
        listeners_28d,
        listeners_previous_28d,
        listener_growth_ratio,
        stream_growth_ratio,
        case when listener_growth_ratio is not null then growth_rank_ratio end as growth_rank_ratio,
        listeners_previous_28d = 0 as is_breaking_out,
        coalesce(listener_growth_ratio > 0 and growth_rank_ratio >= 0.9, false) as is_fast_for_its_size,
        new_listeners_28d * 2 >= listeners_28d as is_gaining_listeners,
        active_count * 2 >= listeners_28d as is_chosen,
        country_count_28d >= 3 and top_country_share_ratio <= 0.5 as is_spreading
    from compared
),

reasoned as (
    select
        *,
        is_breaking_out::integer + is_fast_for_its_size::integer + is_gaining_listeners::integer + is_chosen::integer
        + coalesce(is_spreading, false)::integer as reason_count
    from judged
    where is_breaking_out or is_fast_for_its_size
)

select
    artist_id,
    row_number() over (
        order by reason_count desc, listener_growth_ratio desc nulls first, listeners_28d desc, artist_id asc
    )::integer as watch_rank,
    artist_name,
    genre,
    size_class,
    listeners_28d,
    listeners_previous_28d,
    listener_growth_ratio,
    stream_growth_ratio,
    growth_rank_ratio,
    is_breaking_out,
    is_fast_for_its_size,
    is_gaining_listeners,
    is_chosen,
    coalesce(is_spreading, false) as is_spreading,
    reason_count
from reasoned
