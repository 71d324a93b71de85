{{ config(tags=['ci'], enabled=has('plays', 'rights') and (has('payments') or has('ad_impressions'))) }}
-- What was published of a statement stands, to the row, and nothing has come to it.

with closed as (
    select
        closed_on,
        closed_row - 'holder_name' as line
    from {{ ref('royalty_statement_lines').schema }}._closed
    where mart = 'royalty_statement_lines'
),

standing as (
    select
        statement_on,
        to_jsonb(lines) - 'holder_name' as line
    from {{ ref('royalty_statement_lines') }} as lines
    where statement_on in (
            select closed.closed_on from {{ ref('royalty_statement_lines').schema }}._closed as closed
            where closed.mart = 'royalty_statements'
        )
),

went as (
    select * from closed
    except all
    select * from standing
),

came as (
    select * from standing
    except all
    select * from closed
)

select * from went
union all
select * from came
