"""One maintenance DAG of Airflow a tenant: once a week, raw files are packed, and what the lake no longer needs goes."""

from __future__ import annotations

from nocturne.orchestration.catalogue import MAINTENANCE, PACKING, TRIM, TRIM_DELIVERIES
from nocturne.orchestration.dags import dag, day_parameter, tenants, weekly_timetable
from nocturne.orchestration.stations import StationOperator

DOCUMENTATION = """
Removes deliveries that were replaced more than `NOCTURNE_KEEP_DAYS` (30) ago, packs the raw files of landing, merges small files of the
lake's tables, puts large days of silver in the order of their listeners, and removes files that no version of the last
`NOCTURNE_KEEP_HOURS` (a week) names, and what undoes publishes before the last 30. It changes no row, and waits while a night holds the
tenant. Trigger it by hand when the disk fills up.
"""

for tenant in tenants("{slug}__maintenance"):
    with dag(
        tenant,
        tenant.maintenance_dag,
        description=f"Lake of {tenant.name}",
        schedule=weekly_timetable(tenant),
        params=day_parameter(),
        doc_md=DOCUMENTATION,
    ):
        trim_deliveries, pack_landing, tidy_lake, trim_journal = (
            StationOperator(task_id=station.name, station=station, slug=tenant.slug)
            for station in (TRIM_DELIVERIES, PACKING, MAINTENANCE, TRIM)
        )
        trim_deliveries >> pack_landing >> tidy_lake >> trim_journal
