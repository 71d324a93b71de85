"""One nightly DAG a tenant: it reads from top to bottom like the path of the data."""

from __future__ import annotations

from airflow.sdk import Asset

from nocturne.orchestration.catalogue import STATIONS
from nocturne.orchestration.dags import dag, day_parameter, nightly_timetable, tenants
from nocturne.orchestration.stations import RaiseAlertsOperator, StationOperator, WatchModelsOperator

DOCUMENTATION = """
One night of one tenant. Every task may be killed and cleared at any point: it does what is left, and a night with nothing new does
nothing. To work through past days, use *Backfill* (each run takes the day before its date) or trigger a run with a `day`.
A failed gate leaves yesterday's marts and reports standing; `raise_alerts` then fails, so that the run does.
"""

for tenant in tenants("{slug}__nightly"):
    with dag(
        tenant,
        tenant.nightly_dag,
        description=f"Nightly analytics of {tenant.name}",
        schedule=nightly_timetable(tenant),
        params=day_parameter(),
        doc_md=DOCUMENTATION,
    ):

        def station(name: str, slug: str = tenant.slug) -> StationOperator:
            """The task of a station."""
            return StationOperator(task_id=name, station=STATIONS[name], slug=slug)

        land = station("land")
        load_bronze = station("load_bronze")
        gate_bronze = station("gate_bronze")
        refine_silver = station("refine_silver")
        load_warehouse = station("load_warehouse")
        build_marts = station("build_marts")
        gate_marts = station("gate_marts")
        publish_marts = station("publish_marts")
        predict = station("predict")
        find_insights = station("find_insights")
        render_reports = station("render_reports")
        watch_models = WatchModelsOperator(
            task_id="watch_models", station=STATIONS["watch_models"], slug=tenant.slug, outlets=[Asset(tenant.models_asset)]
        )
        raise_alerts = RaiseAlertsOperator(task_id="raise_alerts", slug=tenant.slug)

        land >> load_bronze >> gate_bronze >> refine_silver >> load_warehouse
        load_warehouse >> build_marts >> gate_marts >> publish_marts
        publish_marts >> predict >> find_insights >> render_reports >> watch_models >> raise_alerts
