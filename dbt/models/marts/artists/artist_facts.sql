{{ config(enabled=has('plays', 'tracks'), indexes=[{'columns': ['artist_id'], 'unique': true}]) }}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

catalogue as (
    select * from {{ ref('stg_artists') }}
),

-- of each listener once: so distinct listeners are counted and never added up
of_all_time as (
    select
        pairs.artist_id,
        min(pairs.first_streamed_on) as first_streamed_on,
        max(pairs.last_streamed_on) as last_streamed_on,
        count(*) as listener_count,
        count(*) filter (
            where pairs.last_intentional_on > tenant.business_day - interval '2 years'
            and pairs.last_intentional_on <= tenant.business_day - 28
        ) as previously_active_count
    from {{ ref('int_artist_listeners') }} as pairs
    cross join tenant
    group by pairs.artist_id
),

windows as (
    select
        artist_id,
        sum(streams_28d)::bigint as streams_28d,
        sum(streams_previous_28d)::bigint as streams_previous_28d,
        count(*) filter (where streams_28d > 0) as listeners_28d,
        count(*) filter (where streams_previous_28d > 0) as listeners_previous_28d,
        count(*) filter (where streams_7d > 0) as listeners_7d,
        count(*) filter (where is_new_28d) as new_listeners_28d,
        count(*) filter (where is_new_7d) as new_listeners_7d,
        count(*) filter (where segment in ('super', 'moderate', 'light')) as active_count,
        count(*) filter (where segment = 'super') as super_count,
        count(*) filter (where segment = 'moderate') as moderate_count,
        count(*) filter (where segment = 'light') as light_count,
        count(*) filter (where segment = 'programmed_only') as programmed_only_count
    from {{ ref('int_artist_windows') }}
    group by artist_id
),

territories as (
    select
        days.artist_id,
        days.country,
        sum(days.stream_count) as stream_count
    from {{ ref('artist_territory_days') }} as days
    inner join tenant on days.played_on > tenant.business_day - 28 and days.played_on <= tenant.business_day
    where days.country <> 'ZZ' and days.stream_count > 0
    group by days.artist_id, days.country
),

shares as (
    select
        artist_id,
        country,
        (stream_count / sum(stream_count) over (partition by artist_id))::double precision as share_ratio
    from territories
),

reach as (
    select
        artist_id,
        count(*) as country_count_28d,
        (array_agg(country order by share_ratio desc, country asc))[1] as top_country_28d,
        max(share_ratio) as top_country_share_ratio,
        -- the number of equally large countries with the same entropy (Hill number of order 1)
        exp(-sum(share_ratio * ln(share_ratio))) as country_spread_28d
    from shares
    group by artist_id
),

{%- if has('interactions') %}

-- whose track was shared, as the catalogue says now
shares_of_artists as (
    select
        coalesce(nullif(shared.artist_id, ''), tracks.artist_id) as artist_id,
        sum(shared.share_count)::bigint as share_count_7d
    from {{ ref('int_share_days') }} as shared
    inner join tenant on shared.shared_on > tenant.business_day - 7 and shared.shared_on <= tenant.business_day
    left join {{ ref('stg_tracks') }} as tracks on shared.track_id = tracks.track_id
    group by coalesce(nullif(shared.artist_id, ''), tracks.artist_id)
),
{%- endif %}

known as (
    select
        coalesce(catalogue.artist_id, of_all_time.artist_id) as artist_id,
        catalogue.artist_name,
        catalogue.genre,
        catalogue.country as origin_country,
        of_all_time.first_streamed_on,
        of_all_time.last_streamed_on,
        coalesce(of_all_time.listener_count, 0) as listener_count,
        coalesce(of_all_time.previously_active_count, 0) as previously_active_count,
        -- a window that reaches back before the first delivery is not known
        tenant.business_day - 55 >= tenant.begins_on as is_known_before,
        tenant.business_day - 28 >= tenant.begins_on as is_known_who_is_new_28d,
        tenant.business_day - 7 >= tenant.begins_on as is_known_who_is_new_7d
    from catalogue
    full outer join of_all_time on catalogue.artist_id = of_all_time.artist_id
    cross join tenant
)

select
    known.artist_id,
    known.artist_name,
    known.genre,
    known.origin_country,
    known.first_streamed_on,
    known.last_streamed_on,
    known.listener_count,
    coalesce(windows.streams_28d, 0) as streams_28d,
    coalesce(windows.listeners_28d, 0) as listeners_28d,
    windows.streams_28d::double precision / nullif(windows.listeners_28d, 0) as streams_per_listener_28d,
    case when known.is_known_before then coalesce(windows.streams_previous_28d, 0) end as streams_previous_28d,
    case when known.is_known_before then coalesce(windows.listeners_previous_28d, 0) end as listeners_previous_28d,
    case
        when known.is_known_before then windows.streams_28d::double precision / nullif(windows.streams_previous_28d, 0) - 1
    end as stream_growth_ratio,
    case
        when known.is_known_before then windows.listeners_28d::double precision / nullif(windows.listeners_previous_28d, 0) - 1
    end as listener_growth_ratio,
    case
        when not known.is_known_before then 'before_first_delivery'
        when coalesce(windows.streams_previous_28d, 0) = 0 then 'no_streams_before'
    end as growth_unknown_because,
    case when known.is_known_who_is_new_28d then coalesce(windows.new_listeners_28d, 0) end as new_listeners_28d,
    coalesce(windows.active_count, 0) as active_count,
    coalesce(windows.super_count, 0) as super_count,
    coalesce(windows.moderate_count, 0) as moderate_count,
    coalesce(windows.light_count, 0) as light_count,
    known.previously_active_count,
    coalesce(windows.programmed_only_count, 0) as programmed_only_count,
    coalesce(reach.country_count_28d, 0) as country_count_28d,
    reach.top_country_28d,
    reach.top_country_share_ratio,
    reach.country_spread_28d,
    coalesce(windows.listeners_7d, 0) as listeners_7d,
    case when known.is_known_who_is_new_7d then coalesce(windows.new_listeners_7d, 0) end as new_listeners_7d,
    {%- if has('interactions') %}
    coalesce(shares_of_artists.share_count_7d, 0) as share_count_7d,
    case when known.is_known_who_is_new_7d then shares_of_artists.share_count_7d::double precision / nullif(windows.listeners_7d, 0) end
    * (windows.new_listeners_7d::double precision / shares_of_artists.share_count_7d) as virality_7d
    {%- else %}
    null::bigint as share_count_7d,
    null::double precision as virality_7d
    {%- endif %}
from known
left join windows on known.artist_id = windows.artist_id
left join reach on known.artist_id = reach.artist_id
{%- if has('interactions') %}
left join shares_of_artists on known.artist_id = shares_of_artists.artist_id
{%- endif %}
