"""One deliveries DAG of Airflow a tenant, without a schedule: whoever triggers it takes a delivery back, or brings an earlier one again."""

from __future__ import annotations

from nocturne.orchestration.catalogue import STEER_DELIVERIES
from nocturne.orchestration.dags import dag, deliveries_parameters, tenants
from nocturne.orchestration.stations import SteerDeliveriesOperator

DOCUMENTATION = """
Lets an earlier delivery of a source stand for a day, or none. The next night loads what changed and rebuilds the dates that it touches.
What was taken back is not taken from the source again, is kept for `NOCTURNE_KEEP_DAYS` (30), and another run brings it again.
`nocturne deliveries list <tenant> <source>` lists what was delivered.
"""

for tenant in tenants("{slug}__deliveries"):
    with dag(
        tenant,
        tenant.deliveries_dag,
        description=f"Takes back what was delivered to {tenant.name}",
        schedule=None,
        params=deliveries_parameters(tenant),
        doc_md=DOCUMENTATION,
    ):
        SteerDeliveriesOperator(task_id=STEER_DELIVERIES.name, slug=tenant.slug)
