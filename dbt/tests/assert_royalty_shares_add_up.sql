{{ config(tags=['ci'], enabled=has('plays', 'rights') and (has('payments') or has('ad_impressions'))) }}
-- By each of the three ways of sharing, the holders' shares of every pool add up to it, to the cent.

{% for way in ('pro_rata', 'user_centric', 'artist_centric') -%}
select
    '{{ way }}' as shared_by,
    month_on,
    territory,
    tier,
    max(pool_amount) as pool_amount,
    sum({{ way }}_amount) as split_amount
from {{ ref('royalty_shares') }}
group by month_on, territory, tier
having sum({{ way }}_amount) <> max(pool_amount) or min(pool_amount) <> max(pool_amount)
{% if not loop.last -%}
union all
{% endif -%}
{% endfor %}
