{{ config(
    enabled=has('tracks') and (has('plays') or has('sales')),
    materialized='incremental',
    incremental_strategy='replace',
    unique_key=['month_on', 'release_id', 'artist_id'],
    indexes=[{'columns': ['month_on', 'release_id', 'artist_id'], 'unique': true}],
    meta={
        'scope': {'relation': 'int_changed_unit_months', 'columns': {'month_on': 'month_on'}},
        'day': 'month_on',
    }
) }}
{%- set changed_months = ref('int_changed_unit_months') %}
{%- set missing = "null" if has('plays', 'sales') else "'no plays are delivered'" if has('sales') else "'no sales are delivered'" %}

with tracks as (
    select * from {{ ref('stg_tracks') }}
),

releases as (
    select * from {{ ref('stg_releases') }}
),

-- a sale is of an album unless it is a track download, or names a track and no format of an album
sales as (
    select
        {{ month_of('sales.sold_on') }} as month_on,
        coalesce(sales.release_id, tracks.release_id) as release_id,
        tracks.artist_id,
        sales.unit_count,
        coalesce(
            sales.format = 'track_download' or (coalesce(sales.format, 'other') = 'other' and sales.track_id is not null), false
        ) as is_track
    from {{ of_days(ref('stg_sales'), 'sold_on', month_days(changed_months), 'played_on') }} as sales
    left join tracks on sales.track_id = tracks.track_id
),

sold as (
    select
        sales.month_on,
        sales.release_id,
        coalesce(releases.artist_id, sales.artist_id) as artist_id,
        case when sales.is_track then 0 else sales.unit_count end as album_count,
        case when sales.is_track then sales.unit_count else 0 end as track_count,
        0 as paid_count,
        0 as ad_count,
        0 as untold_count,
        0 as artificial_count,
        case when sales.is_track then sales.unit_count / 10.0 else sales.unit_count end as unit_count
    from sales
    left join releases on sales.release_id = releases.release_id
),

{%- if has('plays') %}

-- nobody pays for a trial
streams as (
    select
        *,
        case when tier in ('free', 'trial') then stream_count else 0 end as ad_count,
        case when tier = 'unknown' then stream_count else 0 end as untold_count
    from {{ of_days(ref('int_stream_days'), 'played_on', month_days(changed_months)) }} as stream_days
),

streamed as (
    select
        {{ month_of('streams.played_on') }} as month_on,
        tracks.release_id,
        tracks.artist_id,
        0 as album_count,
        0 as track_count,
        streams.stream_count - streams.ad_count - streams.untold_count as paid_count,
        streams.ad_count,
        streams.untold_count,
        streams.artificial_count,
        (streams.stream_count - streams.ad_count - streams.untold_count) / rules.paid_per_unit
        + streams.ad_count / rules.ad_per_unit as unit_count
    from streams
    inner join {{ ref('int_rules') }} as rules
        on streams.played_on >= rules.valid_from_on and streams.played_on < rules.valid_to_on
    left join tracks on streams.track_id = tracks.track_id
),
{%- endif %}

units as (
    select * from sold
    {%- if has('plays') %}
    union all
    select * from streamed
    {%- endif %}
)

select
    month_on,
    coalesce(release_id, 'unknown') as release_id,
    coalesce(artist_id, 'unknown') as artist_id,
    {%- if has('sales') %}
    sum(album_count)::bigint as album_sale_count,
    sum(track_count)::bigint as track_sale_count,
    {%- else %}
    null::bigint as album_sale_count,
    null::bigint as track_sale_count,
    {%- endif %}
    {%- if has('plays') %}
    sum(paid_count)::bigint as paid_stream_count,
    sum(ad_count)::bigint as ad_stream_count,
    sum(untold_count)::bigint as untold_stream_count,
    {%- if has('artificial_streams') %}
    sum(artificial_count)::bigint as artificial_count,
    {%- else %}
    null::bigint as artificial_count,
    {%- endif %}
    {%- else %}
    null::bigint as paid_stream_count,
    null::bigint as ad_stream_count,
    null::bigint as untold_stream_count,
    null::bigint as artificial_count,
    {%- endif %}
    sum(unit_count)::numeric(24, 6) as unit_count,
    {{ missing }}::text as missing_reason
from units
group by month_on, coalesce(release_id, 'unknown'), coalesce(artist_id, 'unknown')
