{{ config(
    enabled=has('statements'),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['service', 'month_on', 'track_id'],
    indexes=[{'columns': ['service', 'month_on', 'track_id'], 'unique': true}, {'columns': ['month_on']}],
    meta={
        'scope': {'relation': 'int_changed_statement_months', 'columns': {'month_on': 'month_on'}},
        'day': 'month_on',
    }
) }}
{%- set changed_months = ref('int_changed_statement_months') %}

with statements as (
    select
        *,
        {{ month_of('period_ends_on') }} as month_on
    from {{ ref('stg_statements') }}
),

fx as (
    select * from {{ ref('int_fx') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

converted as (
    select
        statements.*,
        fx.rate,
        statements.net_amount * fx.rate as converted_amount
    from statements
    left join fx
        on
            statements.currency = fx.currency
            and statements.period_ends_on >= fx.valid_from_on
            and statements.period_ends_on < fx.valid_to_on
    {%- if not builds_all() %}
    inner join {{ changed_months }} as changed
        on
            statements.period_ends_on >= changed.month_on
            and statements.period_ends_on < changed.month_on + interval '1 month'
    {%- endif %}
)

select
    coalesce(converted.service, 'unknown') as service,
    converted.month_on,
    converted.track_id,
    sum(converted.stream_count)::bigint as stream_count,
    coalesce(sum(converted.converted_amount), 0)::numeric(24, 6) as net_amount,
    tenant.currency,
    count(*) as line_count,
    count(*) filter (where converted.rate is null) as unconverted_count
from converted
cross join tenant
group by coalesce(converted.service, 'unknown'), converted.month_on, converted.track_id, tenant.currency
