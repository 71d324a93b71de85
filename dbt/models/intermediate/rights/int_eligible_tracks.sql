{{ config(
    enabled=has('plays'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['track_id', 'month_on'],
    indexes=[{'columns': ['track_id', 'month_on'], 'unique': true}, {'columns': ['month_on']}],
    meta={
        'scope': {'relation': 'int_changed_eligible_months', 'columns': {'month_on': 'month_on'}},
        'day': 'month_on',
    }
) }}
{#- Whether a track is paid for in a month, by the rules in force on the month's first day. Artificial streams buy no eligibility. The sum
    of the trailing twelve months is not kept: a late row changes it in twelve months, and the verdict in few. -#}
{%- set asked = ref('int_changed_eligible_months') %}

with asked as (
    {%- if builds_all() %}
    select distinct {{ month_of('played_on') }} as month_on from {{ ref('int_stream_days') }}
    {%- else %}
    select month_on from {{ asked }}
    {%- endif %}
),

changed as (
    {%- if builds_all() %}
    select month_on from asked
    {%- else %}
    select distinct {{ month_of('changed_on') }} as month_on
    from {{ changed_days('int_stream_days') }} as streamed
    {%- endif %}
),

{%- if not builds_all() %}

needed as (
    select {{ month_of('asked.month_on - months.number * interval \'1 month\'') }} as month_on
    from asked
    cross join generate_series(0, 11) as months (number)
),
{%- endif %}

months as (
    select
        track_id,
        {{ month_of('played_on') }} as month_on,
        (sum(stream_count) - coalesce(sum(artificial_count), 0))::bigint as stream_count
    from {{ of_days(ref('int_stream_days'), 'played_on', month_days('changed')) }} as stream_days
    group by track_id, {{ month_of('played_on') }}
    {%- if not builds_all() %}
    union all
    -- months without a changed day stand as they are
    select
        track_id,
        month_on,
        stream_count
    from {{ of_days(this, 'month_on', 'needed') }} as standing
    where month_on not in (select changed.month_on from changed)
    {%- endif %}
),

summed as (
    select
        track_id,
        month_on,
        stream_count,
        sum(stream_count) over (
            partition by track_id order by extract(year from month_on) * 12 + extract(month from month_on)
            range between 11 preceding and current row
        ) as streams_12m
    from months
),

judged as (
    select
        summed.track_id,
        summed.month_on,
        summed.stream_count,
        summed.streams_12m >= rules.payable_min_streams as has_enough,
        coalesce(lower(tracks.genre) = any(rules.noise_genres), false)
        and coalesce(tracks.duration_ms, 0) < rules.noise_min_ms as is_short_noise,
        rules.payable_min_streams
    from summed
    inner join {{ ref('int_rules') }} as rules
        on summed.month_on >= rules.valid_from_on and summed.month_on < rules.valid_to_on
    left join {{ ref('stg_tracks') }} as tracks on summed.track_id = tracks.track_id
    where summed.month_on in (select asked.month_on from asked)
)

select
    track_id,
    month_on,
    stream_count,
    has_enough and not is_short_noise as is_eligible,
    case
        when not has_enough then 'fewer than ' || payable_min_streams || ' streams in the trailing 12 months'
        when is_short_noise then 'functional noise that is too short, or of unknown length'
    end as not_eligible_reason
from judged
