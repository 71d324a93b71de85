{{ config(tags=['ci'], enabled=has('touchpoints', 'listeners', 'subscription_events', 'plans')) }}
-- The credits of every rule add up to the month's conversions, which are counted from the subscriptions themselves.
{%- set rules = ['first_touch', 'last_touch', 'linear', 'time_decay', 'position', 'markov'] %}

with firsts as (
    select distinct on (listener_key)
        listener_key,
        opened_on
    from {{ ref('subscription_periods') }}
    where kind = 'paid'
    order by listener_key, opened_at
),

conversions as (
    select
        {{ month_of('opened_on') }} as month_on,
        count(*) as conversion_count
    from firsts
    group by month_on
),

credits as (
    select
        {%- for rule in rules %}
        sum({{ rule }}_credit) as {{ rule }}_credit,
        {%- endfor %}
        month_on
    from {{ ref('attribution_months') }}
    group by month_on
)

select
    coalesce(conversions.month_on, credits.month_on) as month_on,
    conversions.conversion_count
from conversions
full outer join credits on conversions.month_on = credits.month_on
where
    false
    {%- for rule in rules %}
    or coalesce(credits.{{ rule }}_credit, 0) <> coalesce(conversions.conversion_count, 0)
    {%- endfor %}
