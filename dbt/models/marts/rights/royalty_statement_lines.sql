{{ config(
    enabled=has('plays', 'rights') and (has('payments') or has('ad_impressions')),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['statement_on', 'period_on', 'territory', 'tier', 'holder_id'],
    indexes=[{'columns': ['statement_on', 'period_on', 'territory', 'tier', 'holder_id'], 'unique': true}],
    meta={
        'scope': {'relation': 'int_due_statements', 'columns': {'statement_on': 'month_on'}},
        'day': 'statement_on',
        'closes': true,
    }
) }}

with due as (
    select * from {{ ref('int_due_statements') }}
),

-- what was published: read in the nights that issue a statement, and in those that make everything anew
closed as (
    select
        closed_on as statement_on,
        (closed_row ->> 'period_on')::date as period_on,
        closed_row ->> 'territory' as territory,
        closed_row ->> 'tier' as tier,
        closed_row ->> 'holder_id' as holder_id,
        closed_row ->> 'holder_name' as holder_name,
        (closed_row ->> 'is_adjustment')::boolean as is_adjustment,
        (closed_row ->> 'payable_count')::numeric(24, 6) as payable_count,
        (closed_row ->> 'pro_rata_amount')::numeric(24, 2) as pro_rata_amount,
        (closed_row ->> 'user_centric_amount')::numeric(24, 2) as user_centric_amount,
        (closed_row ->> 'artist_centric_amount')::numeric(24, 2) as artist_centric_amount,
        closed_row ->> 'currency' as currency
    from {{ as_built('_closed') }}
    where
        mart = 'royalty_statement_lines'
        and {% if builds_all() %}true{% else %}exists (select due.month_on from due){% endif %}
),

shares as (
    select * from {{ ref('royalty_shares') }}
    where month_on <= (select max(due.month_on) from due)
),

own as (
    select
        shares.month_on as statement_on,
        shares.month_on as period_on,
        shares.territory,
        shares.tier,
        shares.holder_id,
        shares.holder_name,
        false as is_adjustment,
        shares.payable_count,
        shares.pro_rata_amount,
        shares.user_centric_amount,
        shares.artist_centric_amount,
        shares.currency
    from shares
    inner join due on shares.month_on = due.month_on
),

issued as (
    select
        period_on,
        territory,
        tier,
        holder_id,
        max(holder_name) as holder_name,
        sum(payable_count) as payable_count,
        sum(pro_rata_amount) as pro_rata_amount,
        sum(user_centric_amount) as user_centric_amount,
        sum(artist_centric_amount) as artist_centric_amount
    from closed
    group by period_on, territory, tier, holder_id
),

-- of several that are issued at once the first brings the adjustments
late as (
    select shares.*
    from shares
    where shares.month_on < (select min(due.month_on) from due)
),

-- what is true now of a period less all that was issued of it
adjustments as (
    select
        coalesce(late.month_on, issued.period_on) as period_on,
        coalesce(late.territory, issued.territory) as territory,
        coalesce(late.tier, issued.tier) as tier,
        coalesce(late.holder_id, issued.holder_id) as holder_id,
        coalesce(late.holder_name, issued.holder_name) as holder_name,
        coalesce(late.payable_count, 0) - coalesce(issued.payable_count, 0) as payable_count,
        coalesce(late.pro_rata_amount, 0) - coalesce(issued.pro_rata_amount, 0) as pro_rata_amount,
        coalesce(late.user_centric_amount, 0) - coalesce(issued.user_centric_amount, 0) as user_centric_amount,
        coalesce(late.artist_centric_amount, 0) - coalesce(issued.artist_centric_amount, 0) as artist_centric_amount
    from late
    full outer join issued
        on
            late.month_on = issued.period_on
            and late.territory = issued.territory
            and late.tier = issued.tier
            and late.holder_id = issued.holder_id
),

adjusted as (
    select
        first_due.month_on as statement_on,
        adjustments.period_on,
        adjustments.territory,
        adjustments.tier,
        adjustments.holder_id,
        adjustments.holder_name,
        true as is_adjustment,
        adjustments.payable_count,
        adjustments.pro_rata_amount,
        adjustments.user_centric_amount,
        adjustments.artist_centric_amount,
        tenant.currency
    from adjustments
    cross join {{ ref('stg_tenant') }} as tenant
    cross join (select min(due.month_on) as month_on from due) as first_due
    where
        first_due.month_on is not null
        and (
            adjustments.payable_count <> 0
            or adjustments.pro_rata_amount <> 0
            or adjustments.user_centric_amount <> 0
            or adjustments.artist_centric_amount <> 0
        )
),

lines as (
    select * from own
    union all
    select * from adjusted
    {%- if builds_all() %}
    union all
    select * from closed
    {%- endif %}
)

select
    statement_on,
    period_on,
    territory,
    tier,
    holder_id,
    holder_name,
    is_adjustment,
    payable_count::numeric(24, 6) as payable_count,
    pro_rata_amount::numeric(24, 2) as pro_rata_amount,
    user_centric_amount::numeric(24, 2) as user_centric_amount,
    artist_centric_amount::numeric(24, 2) as artist_centric_amount,
    currency
from lines
