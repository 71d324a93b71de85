{{ config(
    enabled=has('touchpoints', 'listeners', 'subscription_events', 'plans'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['month_on', 'channel'],
    indexes=[{'columns': ['month_on', 'channel'], 'unique': true}],
    meta={
        'scope': {'relation': 'int_changed_path_months', 'columns': {'month_on': 'month_on'}},
        'day': 'month_on',
    }
) }}
{%- set changed_months = ref('int_changed_path_months') %}
{%- set rules = ['first_touch', 'last_touch', 'linear', 'time_decay', 'position', 'markov'] %}

with recursive

tenant as (
    select * from {{ ref('stg_tenant') }}
),

-- a path that led nowhere counts once nothing can be made of it any more
paths as (
    select
        of_changed.*,
        of_changed.converted_on is not null as is_converted,
        {{ month_of('of_changed.path_on') }} as month_on
    from {{ of_days(ref('int_conversion_paths'), 'path_on', month_days(changed_months), 'played_on') }} as of_changed
    cross join tenant
    where of_changed.converted_on is not null or of_changed.path_on + 30 <= tenant.business_day
),

costs as (
    select
        channel,
        {{ month_of('touched_on') }} as month_on,
        sum(cost_amount) as cost_amount,
        count(*) as touchpoint_count
    from {{ of_days(ref('touchpoints'), 'touched_on', month_days(changed_months), 'played_on') }} as of_changed
    group by channel, month_on
),

touches as (
    select
        paths.month_on,
        paths.listener_key,
        paths.is_converted,
        contact.channel,
        contact.age_seconds,
        contact.place,
        cardinality(paths.channels) as touch_count
    from paths
    cross join unnest(paths.channels, paths.ages_seconds) with ordinality as contact (channel, age_seconds, place)
),

-- what each contact before a conversion is worth by the five rules that need no model; half of it is forgotten in 7 days
weighed as (
    select
        *,
        round(power(2::numeric, -age_seconds / (7 * 86400)), 18) as freshness,
        case
            when touch_count <= 2 then 1::numeric / touch_count
            when place in (1, touch_count) then 0.4
            else 0.2 / (touch_count - 2)
        end as position_share
    from touches
    where is_converted
),

shared as (
    select
        month_on,
        channel,
        case place when 1 then 1 else 0 end::numeric as first_touch_share,
        case place when touch_count then 1 else 0 end::numeric as last_touch_share,
        1::numeric / touch_count as linear_share,
        freshness / sum(freshness) over (partition by month_on, listener_key) as time_decay_share,
        position_share
    from weighed
),

-- the data-driven rule looks at the ways that listeners go from channel to channel, those among them that lead nowhere; a channel that
-- follows itself is one step, which changes no chance of ever arriving
walked as (
    select
        *,
        lag(channel) over journey as channel_before
    from touches
    window journey as (partition by month_on, listener_key order by place)
),

legs as (
    select
        month_on,
        is_converted,
        channel,
        lag(channel) over journey as from_channel,
        lead(channel) over journey as to_channel
    from walked
    where channel is distinct from channel_before
    window journey as (partition by month_on, listener_key order by place)
),

-- how often a channel opens a path, ends one, and ends one with a conversion
stops as (
    select
        month_on,
        channel,
        count(*) as visit_count,
        count(*) filter (where from_channel is null) as opening_count,
        count(*) filter (where to_channel is null and is_converted) as conversion_count,
        row_number() over (partition by month_on order by channel)::integer as number,
        count(*) over (partition by month_on)::integer as channel_count
    from legs
    group by month_on, channel
),

moves as (
    select
        month_on,
        channel,
        to_channel,
        count(*) as move_count
    from legs
    where to_channel is not null
    group by month_on, channel, to_channel
),

-- of each month: the chance to go from each channel to each, row after row; to convert from each; to begin at each
chances as (
    select
        here.month_on,
        here.channel_count,
        array_agg(round(coalesce(moves.move_count, 0)::numeric / here.visit_count, 18) order by here.number, there.number) as moving
    from stops as here
    inner join stops as there on here.month_on = there.month_on
    left join moves
        on here.month_on = moves.month_on and here.channel = moves.channel and there.channel = moves.to_channel
    group by here.month_on, here.channel_count
),

exits as (
    select
        month_on,
        array_agg(round(conversion_count::numeric / visit_count, 18) order by number) as converting
    from stops
    group by month_on
),

-- removal effect (Anderl, Becker, von Wangenheim, Schumann 2016): which part of the conversions is lost if a channel leads nowhere. The
-- chance to convert from each channel, h = converting + moving h, is approached from 0 until no chance grows by 1e-15; `removed` 0 takes
-- none away
approached as (
    select
        chances.month_on,
        removals.removed,
        0 as round_number,
        array_fill(0::numeric, array[chances.channel_count]) as reached,
        1::numeric as growth
    from chances
    cross join generate_series(0, chances.channel_count) as removals (removed)
    union all
    select
        approached.month_on,
        approached.removed,
        approached.round_number + 1 as round_number,
        following.reached,
        following.growth
    from approached
    inner join chances on approached.month_on = chances.month_on
    inner join exits on approached.month_on = exits.month_on
    cross join
        lateral (
            select
                array_agg(stepped.chance order by stepped.number) as reached,
                max(stepped.chance - approached.reached[stepped.number]) as growth
            from (
                select
                    (cell.place - 1) / chances.channel_count + 1 as number,
                    case
                        when (cell.place - 1) / chances.channel_count + 1 = approached.removed then 0
                        else
                            round(
                                exits.converting[(cell.place - 1) / chances.channel_count + 1]
                                + sum(cell.chance * approached.reached[(cell.place - 1) % chances.channel_count + 1]),
                                18
                            )
                    end as chance
                from unnest(chances.moving) with ordinality as cell (chance, place)
                group by (cell.place - 1) / chances.channel_count
            ) as stepped
        ) as following
    where approached.growth > 1e-15 and approached.round_number < 5000
),

arrived as (
    select
        last_round.month_on,
        last_round.removed,
        sum(stops.opening_count * last_round.reached[stops.number]) as conversions
    from (
        select distinct on (month_on, removed) *
        from approached
        order by month_on asc, removed asc, round_number desc
    ) as last_round
    inner join stops on last_round.month_on = stops.month_on
    group by last_round.month_on, last_round.removed
),

removal_effects as (
    select
        stops.month_on,
        stops.channel,
        round(greatest(1 - without.conversions / nullif(whole.conversions, 0), 0), 12) as effect
    from stops
    inner join arrived as whole on stops.month_on = whole.month_on and whole.removed = 0
    inner join arrived as without on stops.month_on = without.month_on and stops.number = without.removed
),

conversions as (
    select
        month_on,
        count(*) filter (where cardinality(channels) > 0) as touched_count,
        count(*) filter (where cardinality(channels) = 0) as untouched_count
    from paths
    where is_converted
    group by month_on
),

claims as (
    {%- for rule in rules[:5] %}
    select
        month_on,
        channel,
        '{{ rule }}' as rule,
        round(sum({{ rule }}_share), 12) as claim
    from shared
    group by month_on, channel
    union all
    {%- endfor %}
    select
        effects.month_on,
        effects.channel,
        'markov' as rule,
        round(
            conversions.touched_count * effects.effect / nullif(sum(effects.effect) over (partition by effects.month_on), 0), 12
        ) as claim
    from removal_effects as effects
    inner join conversions on effects.month_on = conversions.month_on
),

-- to the millionth, and the millionths that are left go to the largest remainders: the credits of a month add up to its conversions
whole_parts as (
    select
        *,
        floor(claim * 1000000) as millionths,
        claim * 1000000 - floor(claim * 1000000) as remainder
    from claims
    where claim is not null
),

ranked as (
    select
        whole_parts.*,
        row_number() over (
            partition by whole_parts.month_on, whole_parts.rule
            order by whole_parts.remainder desc, whole_parts.channel asc
        ) as place,
        conversions.touched_count * 1000000 - sum(whole_parts.millionths) over (
            partition by whole_parts.month_on, whole_parts.rule
        ) as left_over
    from whole_parts
    inner join conversions on whole_parts.month_on = conversions.month_on
),

credited as (
    select
        month_on,
        channel,
        rule,
        (millionths + case when place <= left_over then 1 else 0 end) / 1000000 as credit
    from ranked
),

by_rule as (
    select
        {%- for rule in rules %}
        max(credit) filter (where rule = '{{ rule }}') as {{ rule }}_credit,
        {%- endfor %}
        month_on,
        channel
    from credited
    group by month_on, channel
),

met as (
    select
        month_on,
        channel,
        count(distinct listener_key) as path_count,
        count(distinct listener_key) filter (where is_converted) as converted_path_count
    from touches
    group by month_on, channel
),

known as (
    select
        month_on,
        channel
    from met
    union
    select
        month_on,
        channel
    from costs
)

select
    known.month_on,
    known.channel,
    {%- for rule in rules %}
    coalesce(by_rule.{{ rule }}_credit, 0)::numeric(18, 6) as {{ rule }}_credit,
    {%- endfor %}
    coalesce(met.path_count, 0) as path_count,
    coalesce(met.converted_path_count, 0) as converted_path_count,
    coalesce(costs.touchpoint_count, 0) as touchpoint_count,
    costs.cost_amount::numeric(24, 6) as cost_amount,
    tenant.currency
from known
cross join tenant
left join met on known.month_on = met.month_on and known.channel = met.channel
left join costs on known.month_on = costs.month_on and known.channel = costs.channel
left join by_rule on known.month_on = by_rule.month_on and known.channel = by_rule.channel

union all

-- nobody met those on the way
select
    conversions.month_on,
    '(unattributed)' as channel,
    {%- for rule in rules %}
    conversions.untouched_count::numeric(18, 6) as {{ rule }}_credit,
    {%- endfor %}
    0 as path_count,
    0 as converted_path_count,
    0 as touchpoint_count,
    null as cost_amount,
    tenant.currency
from conversions
cross join tenant
where conversions.untouched_count > 0
