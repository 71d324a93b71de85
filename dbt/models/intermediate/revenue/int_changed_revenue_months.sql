{{ config(enabled=has('payments') or has('ad_impressions'), materialized='view') }}

select distinct {{ month_of('days.changed_on') }} as month_on
from {{ changed_days('tier_revenue_days') }} as days
