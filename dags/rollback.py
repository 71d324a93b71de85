"""One rollback DAG of Airflow a tenant, without a schedule: whoever triggers it takes published marts back, or holds or releases them."""

from __future__ import annotations

from nocturne.orchestration.catalogue import STEER
from nocturne.orchestration.dags import dag, rollback_parameters, tenants
from nocturne.orchestration.stations import SteerMartsOperator

DOCUMENTATION = """
Makes the published marts what an earlier publish left, in one transaction, and holds publishing: nights go on to build and say in their
receipts, reports and alerts that they do not publish, until a run with the action `release`. The rollback is a publish of its own and can
be undone by another run that names a later publish. `nocturne publish list <tenant>` lists publishes; nothing here changes the lake.
"""

for tenant in tenants("{slug}__rollback"):
    with dag(
        tenant,
        tenant.rollback_dag,
        description=f"Takes back what was published of {tenant.name}",
        schedule=None,
        params=rollback_parameters(),
        doc_md=DOCUMENTATION,
    ):
        SteerMartsOperator(task_id=STEER.name, slug=tenant.slug)
