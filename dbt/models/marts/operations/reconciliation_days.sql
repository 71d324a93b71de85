{{ config(
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['dataset', 'event_on'],
    indexes=[{'columns': ['dataset', 'event_on'], 'unique': true}],
    meta={
        'scope': {'relation': 'int_changed_counts', 'columns': {'dataset': 'dataset', 'event_on': 'event_on'}},
        'day': 'event_on',
    }
) }}
{#- Datasets that marts are made of; what nothing reads, nothing counts. -#}
{%- set changed = ref('int_changed_counts') %}
{%- set dates = {
    'interactions': 'interacted_on', 'subscription_events': 'occurred_on', 'payments': 'paid_on', 'ad_impressions': 'shown_on',
    'statements': 'period_ends_on',
    'touchpoints': 'touched_on', 'exposures': 'exposed_on',
} %}
{%- do dates.update({'artificial_streams': 'flagged_on', 'sales': 'sold_on'}) %}

with silver as (
    select * from {{ ref('stg_silver_rows') }}
    where
        event_on is not null
        and dataset in ('plays', '{{ dates | join("', '") }}')
        and {% if builds_all() %}true{% else %}(dataset, event_on) in (select * from {{ changed }}){% endif %}
),

warehouse as (
    {%- for dataset, event_on in dates.items() %}
    select
        '{{ dataset }}' as dataset,
        {{ event_on }} as event_on,
        count(*) as warehouse_count,
        {{ lateness(event_on) }},
        null::bigint as zero_length_count
    from {{ of_days(ref('stg_' ~ dataset), event_on, counted_days(changed, dataset), 'event_on') }} as counted
    group by {{ event_on }}
    union all
    {%- endfor %}
    select
        'plays' as dataset,
        played_on as event_on,
        count(*) as warehouse_count,
        {{ lateness('played_on') }},
        count(*) filter (where ms_played = 0) as zero_length_count
    from {{ of_days(ref('stg_plays'), 'played_on', counted_days(changed, 'plays'), 'event_on') }} as counted
    group by played_on
),

{%- if has('plays') %}

marts as (
    select
        played_on as event_on,
        count(*) as mart_count
    from {{ of_days(ref('plays'), 'played_on', counted_days(changed, 'plays'), 'event_on') }} as counted
    group by played_on
),

resumes as (
    select
        event_on,
        count(*) as joined_count
    from {{ of_days(ref('int_joined_resumes'), 'event_on', counted_days(changed, 'plays'), 'event_on') }} as counted
    group by event_on
),
{%- endif %}

-- a date that only one side knows is a difference too
counted as (
    select
        silver.silver_count,
        silver.duplicate_count,
        warehouse.warehouse_count,
        warehouse.zero_length_count,
        warehouse.late_count,
        warehouse.p50_days_late,
        warehouse.p90_days_late,
        warehouse.max_days_late,
        coalesce(silver.dataset, warehouse.dataset) as dataset,
        coalesce(silver.event_on, warehouse.event_on) as event_on
    from silver
    full outer join warehouse on silver.dataset = warehouse.dataset and silver.event_on = warehouse.event_on
),

joined as (
    select
        counted.dataset,
        counted.event_on,
        coalesce(counted.silver_count, 0) as silver_count,
        coalesce(counted.duplicate_count, 0) as duplicate_count,
        coalesce(counted.warehouse_count, 0) as warehouse_count,
        counted.late_count,
        counted.p50_days_late,
        counted.p90_days_late,
        counted.max_days_late,
        {%- if has('plays') %}
        case when counted.dataset = 'plays' then coalesce(marts.mart_count, 0) end as mart_count,
        case when counted.dataset = 'plays' then coalesce(resumes.joined_count, 0) end as joined_count,
        case when counted.dataset = 'plays' then coalesce(counted.zero_length_count, 0) end as zero_length_count
        {%- else %}
        null::bigint as mart_count,
        null::bigint as joined_count,
        null::bigint as zero_length_count
        {%- endif %}
    from counted
    {%- if has('plays') %}
left join marts on counted.dataset = 'plays' and counted.event_on = marts.event_on
left join resumes on counted.dataset = 'plays' and counted.event_on = resumes.event_on
    {%- endif %}
)

select
    dataset,
    event_on,
    silver_count,
    duplicate_count,
    warehouse_count,
    mart_count,
    joined_count,
    zero_length_count,
    late_count,
    p50_days_late,
    p90_days_late,
    max_days_late,
    -- of plays: silver = plays + joined resumes + attempts that never sounded; of the others: silver = warehouse
    silver_count - coalesce(mart_count + joined_count + zero_length_count, warehouse_count) as difference_count
from joined
