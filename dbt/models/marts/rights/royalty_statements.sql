{{ config(
    enabled=has('plays', 'rights') and (has('payments') or has('ad_impressions')),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['statement_on'],
    indexes=[{'columns': ['statement_on'], 'unique': true}],
    meta={
        'scope': {'relation': 'int_due_statements', 'columns': {'statement_on': 'month_on'}},
        'day': 'statement_on',
        'closes': true,
    }
) }}

with due as (
    select * from {{ ref('int_due_statements') }}
),

lines as (
    select * from {{ ref('royalty_statement_lines') }}
    where statement_on in (select due.month_on from due)
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

issued as (
    select
        due.month_on as statement_on,
        due.due_on,
        due.issued_on,
        count(lines.holder_id) as line_count,
        count(lines.holder_id) filter (where lines.is_adjustment) as adjustment_count,
        coalesce(sum(lines.pro_rata_amount), 0)::numeric(24, 2) as pro_rata_amount,
        coalesce(sum(lines.user_centric_amount), 0)::numeric(24, 2) as user_centric_amount,
        coalesce(sum(lines.artist_centric_amount), 0)::numeric(24, 2) as artist_centric_amount,
        tenant.currency
    from due
    cross join tenant
    left join lines on due.month_on = lines.statement_on
    group by due.month_on, due.due_on, due.issued_on, tenant.currency
)

select * from issued
{%- if builds_all() %}
union all
select
    closed_on as statement_on,
    (closed_row ->> 'due_on')::date as due_on,
    (closed_row ->> 'issued_on')::date as issued_on,
    (closed_row ->> 'line_count')::bigint as line_count,
    (closed_row ->> 'adjustment_count')::bigint as adjustment_count,
    (closed_row ->> 'pro_rata_amount')::numeric(24, 2) as pro_rata_amount,
    (closed_row ->> 'user_centric_amount')::numeric(24, 2) as user_centric_amount,
    (closed_row ->> 'artist_centric_amount')::numeric(24, 2) as artist_centric_amount,
    closed_row ->> 'currency' as currency
from {{ as_built('_closed') }}
where mart = 'royalty_statements'
{%- endif %}
