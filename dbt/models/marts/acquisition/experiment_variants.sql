{{ config(
    enabled=has('exposures', 'touchpoints', 'listeners', 'subscription_events', 'plans'),
    indexes=[{'columns': ['experiment_id', 'variant'], 'unique': true}]
) }}
{#- Made whole: one row of exposures a listener and experiment is read, and no history.

    0.95 confidence throughout: 1.959963984540054 and 0.841621233572914 are the standard normal quantiles of 0.975 and of 0.8 (the power).
    P(|Z| > z) = erfc(z / sqrt(2)) is PostgreSQL's own (16 and later), exact to double precision. -#}
{%- set z, power_z = '1.959963984540054', '0.841621233572914' %}
{#- Variance of the normal mixture of the sequential test: effects of about five points. Fixed, for it must not look at the data. -#}
{%- set tau_squared = '0.0025' %}

with exposures as (
    select * from {{ ref('stg_exposures') }}
),

rules as (
    select * from {{ ref('int_rules') }}
),

tenant as (
    select * from {{ ref('stg_tenant') }}
),

conversions as (
    select
        listener_key,
        converted_at,
        converted_on
    from {{ ref('int_conversion_paths') }}
    where converted_on is not null
),

-- who had paid before cannot become a payer; who was exposed of late may yet
judged as (
    select
        exposures.experiment_id,
        exposures.variant,
        exposures.exposed_on,
        exposures.exposed_on + rules.trial_days + rules.grace_days <= tenant.business_day
        and coalesce(conversions.converted_at >= exposures.exposed_at, true) as is_judged,
        coalesce(conversions.converted_on <= exposures.exposed_on + rules.trial_days + rules.grace_days, false) as is_converted
    from exposures
    cross join tenant
    inner join rules
        on exposures.exposed_on >= rules.valid_from_on and exposures.exposed_on < rules.valid_to_on
    left join conversions on exposures.listener_key = conversions.listener_key
),

variants as (
    select
        experiment_id,
        variant,
        min(exposed_on) as first_exposed_on,
        max(exposed_on) as last_exposed_on,
        count(*) as exposed_count,
        count(*) filter (where is_judged) as judged_count,
        count(*) filter (where is_judged and is_converted) as converted_count,
        count(*) filter (where is_judged and is_converted)::double precision
        / nullif(count(*) filter (where is_judged), 0) as ratio
    from judged
    group by experiment_id, variant
),

-- the control is the variant of that name, else the first by name
controlled as (
    select
        *,
        row_number() over experiment = 1 as is_control,
        first_value(judged_count) over experiment as control_count,
        first_value(converted_count) over experiment as control_converted_count,
        first_value(ratio) over experiment as control_ratio,
        count(*) over (partition by experiment_id) - 1 as freedom,
        sum((exposed_count - share.expected) ^ 2 / share.expected) over (partition by experiment_id)::double precision as chi_squared
    from (
        select
            *,
            avg(exposed_count) over (partition by experiment_id) as expected
        from variants
    ) as share
    window experiment as (partition by experiment_id order by variant <> 'control', variant)
),

-- Wilson's interval of each ratio
bounded as (
    select
        *,
        {%- for n, ratio, name in (('judged_count', 'ratio', 'own'), ('control_count', 'control_ratio', 'control')) %}
        {%- for sign, side in (('-', 'low'), ('+', 'high')) %}
        (
            {{ ratio }} + {{ z }} ^ 2 / (2 * nullif({{ n }}, 0))
            {{ sign }} {{ z }} * sqrt(({{ ratio }} * (1 - {{ ratio }}) + {{ z }} ^ 2 / (4 * nullif({{ n }}, 0))) / nullif({{ n }}, 0))
        ) / (1 + {{ z }} ^ 2 / nullif({{ n }}, 0)) as {{ name }}_{{ side }},
        {%- endfor %}
        {%- endfor %}
        (converted_count + control_converted_count)::double precision / nullif(judged_count + control_count, 0) as pooled_ratio,
        ratio - control_ratio as difference,
        ratio * (1 - ratio) / nullif(judged_count, 0) + control_ratio * (1 - control_ratio) / nullif(control_count, 0) as variance,
        1.0::double precision / nullif(judged_count, 0) + 1.0::double precision / nullif(control_count, 0) as inverse_sizes
    from controlled
),

sequential as (
    select
        *,
        sqrt(nullif(pooled_ratio * (1 - pooled_ratio), 0) * inverse_sizes) as pooled_error,
        -- mixture sequential probability ratio test: the logarithm of the likelihood ratio, and how far from no difference it reaches
        {{ tau_squared }} * difference ^ 2 / (2 * nullif(variance, 0) * (variance + {{ tau_squared }}))
        - ln((variance + {{ tau_squared }}) / nullif(variance, 0)) / 2 as log_ratio,
        sqrt(
            variance * (variance + {{ tau_squared }}) / {{ tau_squared }}
            * (2 * ln(20.0::double precision) + ln((variance + {{ tau_squared }}) / nullif(variance, 0)))
        ) as reach
    from bounded
)

select
    experiment_id,
    variant,
    is_control,
    first_exposed_on,
    last_exposed_on,
    exposed_count,
    judged_count,
    converted_count,
    ratio as conversion_ratio,
    case when not is_control then difference end as difference_ratio,
    case
        when not is_control then difference - sqrt((ratio - own_low) ^ 2 + (control_high - control_ratio) ^ 2)
    end as difference_low_ratio,
    case
        when not is_control then difference + sqrt((own_high - ratio) ^ 2 + (control_ratio - control_low) ^ 2)
    end as difference_high_ratio,
    case when not is_control then erfc(abs(difference) / pooled_error / sqrt(2.0::double precision)) end as p_value,
    case when not is_control and variance > 0 then exp(least(greatest(-log_ratio, -700), 0)) end as sequential_p_value,
    case when not is_control then difference - reach end as sequential_low_ratio,
    case when not is_control then difference + reach end as sequential_high_ratio,
    case
        when not is_control
            then ({{ z }} + {{ power_z }}) * sqrt(nullif(control_ratio * (1 - control_ratio), 0) * inverse_sizes)
    end as minimum_detectable_difference_ratio,
    -- the upper tail of chi-square has a closed form of few terms for whole degrees of freedom (Abramowitz and Stegun 26.4.4 and 26.4.5)
    case
        when freedom > 0
            then
                case when freedom % 2 = 1 then erfc(sqrt(chi_squared / 2)) else 0 end
                + exp(greatest(-chi_squared / 2, -700)) * (
                    select coalesce(sum((chi_squared / 2) ^ (term + (freedom % 2) / 2.0) / gamma(term + (freedom % 2) / 2.0 + 1)), 0)
                    from generate_series(0, freedom / 2 - 1) as terms (term)
                )
    end as sample_ratio_p_value
from sequential
