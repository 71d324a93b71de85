{#- The day as of which a track is held as on `day`: the first of its month, unless a right of the track begins or ends within the month.
    Whoever adds up a month does so before asking for holders, and asks once for all days that are held alike. -#}
{% macro held_on(track, day) -%}
    case
        when ({{ track }}, {{ month_of(day) }}) in (
            select
                rights.track_id,
                {{ month_of('rights.valid_from_on') }}
            from {{ ref('stg_rights') }} as rights
            where rights.valid_from_on <> {{ month_of('rights.valid_from_on') }}
            union all
            select
                rights.track_id,
                {{ month_of('rights.valid_to_on') }}
            from {{ ref('stg_rights') }} as rights
            where isfinite(rights.valid_to_on) and rights.valid_to_on <> {{ month_of('rights.valid_to_on') }}
        ) then {{ day }}
        else {{ month_of(day) }}
    end
{%- endmacro %}

{#- Who holds which share of a track in a territory on a day, of those that `streams` names (track_id, territory, held_on): rights hold
    as of that day; WW is everywhere else, so it does not hold where the track has rights of the territory itself. What nobody
    is known to hold has the holder `(unassigned)`, so that shares add up to one. `licence_territory` and `licensed_from_on` name the right. -#}
{% macro held_shares(streams) -%}
    (
        with heard as (
            select distinct
                track_id,
                territory,
                held_on
            from {{ streams }}
        ),

        valid as (
            select
                heard.track_id,
                heard.territory,
                heard.held_on,
                rights.holder_id,
                rights.holder_name,
                rights.share_ratio,
                rights.territory as licence_territory,
                rights.valid_from_on as licensed_from_on,
                bool_or(rights.territory = heard.territory) over (
                    partition by heard.track_id, heard.territory, heard.held_on
                ) as has_own_territory
            from heard
            inner join {{ ref('stg_rights') }} as rights
                on
                    heard.track_id = rights.track_id
                    and heard.held_on >= rights.valid_from_on
                    and heard.held_on < rights.valid_to_on
                    and rights.territory in (heard.territory, 'WW')
        ),

        held as (
            select * from valid
            where has_own_territory = (licence_territory = territory)
        )

        select
            track_id,
            territory,
            held_on,
            holder_id,
            holder_name,
            share_ratio,
            licence_territory,
            licensed_from_on
        from held
        union all
        select
            heard.track_id,
            heard.territory,
            heard.held_on,
            '(unassigned)' as holder_id,
            null as holder_name,
            1 - coalesce(sum(held.share_ratio), 0) as share_ratio,
            null as licence_territory,
            null as licensed_from_on
        from heard
        left join held
            on heard.track_id = held.track_id and heard.territory = held.territory and heard.held_on = held.held_on
        group by heard.track_id, heard.territory, heard.held_on
        having abs(1 - coalesce(sum(held.share_ratio), 0)) >= 0.0000005
    )
{%- endmacro %}

{#- What is flagged as artificial on some days, for `is_flagged`: a flag is of an attempt on its event date; a play that was resumed is
    artificial if a part of it is, and its parts stand on its day or the next one: such a row has no event_on. -#}
{% macro artificial_plays(days, day) -%}
    (
        with flag_days as (
            select {{ day }} as event_on from {{ days }}
            union
            select {{ day }} + 1 as event_on from {{ days }}
        ),

        flags as (
            select
                play_id,
                flagged_on
            from {{ of_days(ref('stg_artificial_streams'), 'flagged_on', 'flag_days', 'event_on') }} as flags
        )

        select
            play_id,
            flagged_on as event_on
        from flags
        union all
        select
            resumes.play_id,
            null as event_on
        from flags
        inner join {{ ref('int_joined_resumes') }} as resumes
            on flags.play_id = resumes.part_id and flags.flagged_on = resumes.event_on
    )
{%- endmacro %}

{#- Whether a row of `artificial_plays` is of a play. -#}
{% macro is_flagged(flag, play) -%}
    {{ flag }}.play_id = {{ play }}.play_id and ({{ flag }}.event_on is null or {{ flag }}.event_on = {{ play }}.played_on)
{%- endmacro %}
