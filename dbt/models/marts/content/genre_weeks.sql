{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['genre', 'week_on'],
    indexes=[{'columns': ['genre', 'week_on'], 'unique': true}, {'columns': ['week_on']}],
    meta={'scope': {'relation': 'int_changed_genre_weeks', 'columns': {'week_on': 'week_on'}}, 'day': 'week_on'}
) }}
{%- set changed_weeks = ref('int_changed_genre_weeks') %}

with tenant as (
    select * from {{ ref('stg_tenant') }}
),

asked as (
    select week_on from {{ changed_weeks }}
),

needed as (
    select week_on from asked
    union
    select week_on - 7 from asked
),

days as (
    select * from {{ of_days(ref('genre_days'), 'played_on', week_days('needed')) }} as genre_days
),

weeks as (
    select
        genre,
        {{ week_of('played_on') }} as week_on,
        sum(stream_count)::bigint as stream_count
    from days
    group by genre, week_on
),

shares as (
    select
        genre,
        week_on,
        stream_count,
        sum(stream_count) over (partition by week_on) as all_count
    from weeks
),

totals as (
    select distinct
        week_on,
        all_count
    from shares
),

-- of the plays themselves: who listens on two days of a week is one listener
day_listeners as (
    {% call each_day(ref('int_listens'), 'played_on', week_days('asked')) %}
    select distinct
        coalesce(genre, 'unknown') as genre,
        played_on,
        listener_id
    from of_day
    where is_stream
    {% endcall %}
),

week_listeners as (
    select distinct
        genre,
        {{ week_of('played_on') }} as week_on,
        listener_id
    from day_listeners
),

heard as (
    select
        genre,
        week_on,
        count(*) as listener_count
    from week_listeners
    group by genre, week_on
),

-- a genre that is no longer heard has lost its share, which is told in the week after
told as (
    select
        genre,
        week_on
    from weeks
    union
    select
        weeks.genre,
        weeks.week_on + 7 as week_on
    from weeks
    cross join tenant
    where weeks.week_on + 7 <= tenant.business_day
)

select
    told.genre,
    told.week_on,
    coalesce(shares.stream_count, 0) as stream_count,
    coalesce(heard.listener_count, 0) as listener_count,
    (coalesce(shares.stream_count, 0) / nullif(totals.all_count, 0))::double precision as stream_share_ratio,
    case
        when told.week_on + 6 <= tenant.business_day and told.week_on - 7 >= tenant.begins_on
            then (
                coalesce(shares.stream_count, 0) / nullif(totals.all_count, 0)
                - coalesce(shares_before.stream_count, 0) / nullif(totals_before.all_count, 0)
            )::double precision
    end as stream_share_change,
    told.week_on + 6 <= tenant.business_day as is_over
from told
cross join tenant
left join shares on told.genre = shares.genre and told.week_on = shares.week_on
left join shares as shares_before on told.genre = shares_before.genre and told.week_on - 7 = shares_before.week_on
left join totals on told.week_on = totals.week_on
left join totals as totals_before on told.week_on - 7 = totals_before.week_on
left join heard on told.genre = heard.genre and told.week_on = heard.week_on
{%- if not builds_all() %}
where told.week_on in (select asked.week_on from asked)
{%- endif %}
