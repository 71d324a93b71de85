{#- The incremental strategy of this project.

    A model computes all rows of its *scope* (some listeners' days, some dates) from its inputs, and its table holds them afterwards, and
    no others, in that scope. What is already so is left alone: only rows that really differ are written. Their dates are noted in
    `_changed`, from where the models downstream know what to look at, and of a mart their keys in `_moved`, where `publish_marts` looks.
    All of it is one transaction, so a killed build has either done it and noted it, or neither.

    Columns meet by their place: a table stands since a build that made everything anew from the same code, so its columns have the model's
    order. dbt's own materialization asks the catalogue for them three times a model, which took a quarter of a small build's Python.

    meta:
      scope: {relation: <model>, columns: {<own column>: <its column>}}   the scope; its columns tell which rows are meant
      day: <own column>                                                   the date that is noted
-#}
{% macro get_incremental_replace_sql(arg_dict) %}
    {%- set target = arg_dict['target_relation'] -%}
    {%- set key = [arg_dict['unique_key']] if arg_dict['unique_key'] is string else arg_dict['unique_key'] -%}
    {%- set day = config.get('meta').get('day') -%}
    {%- set stem = target.identifier -%}

    create temporary table {{ stem }}__fresh on commit drop as
    {{ arg_dict['model_sql'] }};

    create temporary table {{ stem }}__stood on commit drop as
    select * from {{ target }}
    where {{ in_scope(target) }};

    create temporary table {{ stem }}__went on commit drop as
    select * from {{ stem }}__stood
    except
    select * from {{ stem }}__fresh;

    create temporary table {{ stem }}__came on commit drop as
    select * from {{ stem }}__fresh
    except
    select * from {{ stem }}__stood;

    {% if day %}
    insert into {{ target.schema }}._changed (model, changed_on)
    select '{{ stem }}', {{ day }} from {{ stem }}__went
    union
    select '{{ stem }}', {{ day }} from {{ stem }}__came
    on conflict do nothing;
    {% endif %}

    {% if 'marts' in model.fqn -%}
    insert into {{ target.schema }}._moved (model, key)
    select '{{ stem }}', jsonb_build_object({% for column in key %}'{{ column }}', {{ column }}{{ ', ' if not loop.last }}{% endfor %})
    from (
        select {{ key | join(', ') }} from {{ stem }}__went
        union
        select {{ key | join(', ') }} from {{ stem }}__came
    ) as moved;
    {%- endif %}

    delete from {{ target }} as standing
    using {{ stem }}__went as went
    where {% for column in key %}standing.{{ column }} = went.{{ column }}{{ ' and ' if not loop.last }}{% endfor %};

    insert into {{ target }}
    select * from {{ stem }}__came
{% endmacro %}

{#- Of a row of the model's table: whether it is of the scope. -#}
{% macro in_scope(target) -%}
    {%- set scope = config.get('meta')['scope'] -%}
    ({{ scope['columns'].keys() | join(', ') }}) in (
        select {{ scope['columns'].values() | join(', ') }} from {{ api.Relation.create(schema=target.schema, identifier=scope['relation']) }}
    )
{%- endmacro %}

{#- For what is a step on the way and counts nowhere itself: the rows of the scope go and come anew, whether or not they differ. -#}
{% macro get_incremental_rewrite_sql(arg_dict) %}
    {%- set target = arg_dict['target_relation'] -%}

    create temporary table {{ target.identifier }}__fresh on commit drop as
    {{ arg_dict['model_sql'] }};

    delete from {{ target }}
    where {{ in_scope(target) }};

    insert into {{ target }}
    select * from {{ target.identifier }}__fresh
{% endmacro %}

{#- For what only grows until marts are published. -#}
{% macro postgres__get_incremental_append_sql(arg_dict) %}
    insert into {{ arg_dict['target_relation'] }}
    {{ arg_dict['model_sql'] }}
{% endmacro %}

{#- A table that stands, in a build that does not make everything anew: its strategy's SQL is one transaction. -#}
{% materialization incremental, adapter='postgres' %}
    {%- if not stands() -%}
        {{ return(dbt.materialization_incremental_default()) }}
    {%- endif -%}
    {%- set strategy = adapter.get_incremental_strategy_macro(context, config.get('incremental_strategy')) -%}
    {{ return(in_place(strategy({'target_relation': this, 'model_sql': sql, 'unique_key': config.get('unique_key')}))) }}
{% endmaterialization %}

{#- The same for one that is made as a whole each time: its rows go and come, and the table, its indexes and its statistics stay. -#}
{% materialization table, adapter='postgres' %}
    {%- if not stands() -%}
        {{ return(dbt.materialization_table_default()) }}
    {%- endif -%}
    {%- set made %}
    truncate {{ this }};

    insert into {{ this }}
    {{ sql }}
    {%- endset -%}
    {{ return(in_place(made)) }}
{% endmaterialization %}

{% macro stands() -%}
    {%- set existing = load_cached_relation(this) -%}
    {{ return(existing is not none and existing.is_table and not builds_all()) }}
{%- endmacro %}

{% macro in_place(statements) -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% call statement('main') %}
        {{ statements }}
    {% endcall %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [this.incorporate(type='table')]}) }}
{%- endmacro %}

{#- A listener as a number, to be counted by and never shown: 64 bits of the pseudonym. That any two of ten million listeners share one, and
    are counted as one, has a chance of three in a million. -#}
{% macro listener_number(key) -%}
    hashtextextended({{ key }}, 0)
{%- endmacro %}

{#- Whether this build makes everything anew: then a model takes all rows, else those of its scope. -#}
{% macro builds_all() -%}
    {{ return(flags.FULL_REFRESH) }}
{%- endmacro %}

{#- A model's table as the last build left it, for models that stand before it: no `ref`, which would be a circle. -#}
{% macro as_built(model) -%}
    {{ this.schema }}.{{ model }}
{%- endmacro %}

{#- The dates on which a model's rows have changed since marts were published. -#}
{% macro changed_days(model) -%}
    {%- do ref(model) -%}
    (select changed_on from {{ this.schema }}._changed where model = '{{ model }}')
{%- endmacro %}

{#- Hook: tell the planner what a model holds once it was made anew; of a night's few rows it hears from autovacuum in time. -#}
{% macro note_statistics() -%}
    {%- if builds_all() and model.config.materialized != 'view' -%}
    analyze {{ this }}
    {%- endif -%}
{%- endmacro %}

{#- The rows of a relation on some days; in a build that makes everything anew, all rows.

    Each day is looked up in the index on the day's column. `offset 0` keeps the planner from joining the days to a scan of all history, which it
    takes for cheaper as long as history is short and its guess of how many days there are is high. -#}
{% macro of_days(relation, day, days, days_column=none) -%}
    {%- if builds_all() -%}
    {{ relation }}
    {%- else -%}
    (
        select of_day.*
        from (select distinct {{ days_column or day }} as asked_on from {{ days }}) as days_asked
        cross join lateral (
            select * from {{ relation }} as any_day
            where any_day.{{ day }} = days_asked.asked_on
            offset 0
        ) as of_day
    )
    {%- endif -%}
{%- endmacro %}

{#- Ends a query whose rows are read by day: a build that makes everything anew leaves the rows of a day together, so that whoever reads a day
    reads its pages alone. A night's rows stand together by themselves. -#}
{% macro days_together(day) -%}
    {%- if builds_all() -%}
    order by {{ day }}
    {%- endif -%}
{%- endmacro %}

{#- What a query (the block of this call) tells of each of some days, where `of_day` are a relation's rows of that day; in a build that makes
    everything anew, of each day.

    Whatever it sorts to count who is distinct is one day, which fits into memory; and a history that grows takes as much longer, not more.
    Both `offset 0` keep the planner from moving what stands around into the loop: a join would be made again for each day. -#}
{% macro each_day(relation, day, days) -%}
    select of_every_day.*
    from (
        select of_days.*
        from (
            select distinct {{ day }} as asked_on
            from {{ relation if builds_all() else days }}
        ) as days_asked
        cross join lateral (
            with of_day as (
                select * from {{ relation }} as any_day
                where any_day.{{ day }} = days_asked.asked_on
            )

            {{ caller() }}
            offset 0
        ) as of_days
        offset 0
    ) as of_every_day
{%- endmacro %}

{#- As `of_days`, for listeners' days, each of which stands once in `int_affected`. -#}
{% macro of_affected(relation, day, listener='listener_key') -%}
    {%- set affected = ref('int_affected') -%}
    {%- if builds_all() -%}
    {{ relation }}
    {%- else -%}
    (
        select of_pair.*
        from {{ affected }} as pairs
        cross join lateral (
            select * from {{ relation }} as any_day
            where any_day.{{ day }} = pairs.event_on and any_day.{{ listener }} = pairs.{{ listener }}
            offset 0
        ) as of_pair
    )
    {%- endif -%}
{%- endmacro %}
