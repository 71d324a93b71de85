{{ config(enabled=has('plays', 'tracks'), unlogged=true) }}
{#- What an artist's listeners of the last 56 days are to the artist as of the business day. It holds one window and no history: what it
    costs follows the plays of 56 days. Distinct listeners of a window are its rows. -#}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

needed as (
    select tenant.business_day - ago.days as played_on
    from tenant
    cross join generate_series(0, 55) as ago (days)
),

streamed as (
    select
        days.artist_id,
        days.listener_id,
        tenant.business_day,
        coalesce(sum(days.stream_count) filter (where days.played_on > tenant.business_day - 7), 0) as streams_7d,
        coalesce(sum(days.stream_count) filter (where days.played_on > tenant.business_day - 28), 0) as streams_28d,
        coalesce(sum(days.intentional_stream_count) filter (where days.played_on > tenant.business_day - 28), 0) as intentional_streams_28d,
        coalesce(sum(days.stream_count) filter (where days.played_on <= tenant.business_day - 28), 0) as streams_previous_28d
    from {{ of_days(ref('int_artist_listener_days'), 'played_on', 'needed') }} as days
    cross join tenant
    where
        days.stream_count > 0
        and days.played_on in (select needed.played_on from needed)
    group by days.artist_id, days.listener_id, tenant.business_day
),

ranked as (
    select
        *,
        intentional_streams_28d > 0 as is_active,
        rank() over (partition by artist_id, intentional_streams_28d > 0 order by streams_28d desc) as activity_rank,
        count(*) over (partition by artist_id, intentional_streams_28d > 0) as activity_count
    from streamed
)

select
    ranked.artist_id,
    ranked.listener_id,
    ranked.streams_7d,
    ranked.streams_28d,
    ranked.streams_previous_28d,
    ranked.streams_28d > 0 and listeners.first_streamed_on > ranked.business_day - 28 as is_new_28d,
    ranked.streams_7d > 0 and listeners.first_streamed_on > ranked.business_day - 7 as is_new_7d,
    case
        when ranked.streams_28d = 0 then null
        -- of few active listeners the best one may be super
        when ranked.is_active and ranked.streams_28d >= 10 and ranked.activity_rank <= ceil(0.02 * ranked.activity_count) then 'super'
        when ranked.is_active and ranked.streams_28d >= 3 then 'moderate'
        when ranked.is_active then 'light'
        when
            listeners.last_intentional_on > ranked.business_day - interval '2 years'
            and listeners.last_intentional_on <= ranked.business_day
            then 'previously_active'
        else 'programmed_only'
    end as segment
from ranked
inner join {{ ref('int_artist_listeners') }} as listeners
    on ranked.listener_id = listeners.listener_id and ranked.artist_id = listeners.artist_id
