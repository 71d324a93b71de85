{{ config(indexes=[{'columns': ['played_on'], 'unique': true}]) }}

with activity as (
    select * from {{ ref('int_activity') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

rules as (
    select * from {{ ref('int_rules') }}
),

first_streams as (
    select
        first_streamed_on,
        count(*) as new_listener_count
    from {{ ref('int_listener_totals') }}
    where first_streamed_on is not null
    group by first_streamed_on
),

-- days without a stream count in the mean as days without a listener
windowed as (
    select
        *,
        sum(listeners_1d) over (
            order by played_on range between interval '27 days' preceding and current row
        ) as listener_days_28d
    from activity
)

select
    windowed.played_on,
    windowed.play_count,
    windowed.stream_count,
    windowed.skip_count,
    windowed.completed_count,
    windowed.intentional_count,
    windowed.session_count,
    windowed.play_time_ms,
    windowed.listeners_1d,
    windowed.listeners_7d,
    windowed.listeners_28d,
    windowed.listeners_mtd,
    coalesce(first_streams.new_listener_count, 0) as new_listener_count,
    windowed.skip_count::double precision / nullif(windowed.play_count, 0) as skip_ratio,
    windowed.completed_count::double precision / nullif(windowed.play_count, 0) as completion_ratio,
    case
        -- a window that reaches back before the first delivery is not known yet
        when windowed.played_on - 27 >= tenant.begins_on
            then windowed.listener_days_28d::double precision / 28 / nullif(windowed.listeners_28d, 0)
    end as stickiness_ratio,
    tenant.business_day - windowed.played_on >= rules.final_after_days as is_final
from windowed
cross join tenant
inner join rules on windowed.played_on >= rules.valid_from_on and windowed.played_on < rules.valid_to_on
left join first_streams on windowed.played_on = first_streams.first_streamed_on
