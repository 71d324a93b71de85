"""One training DAG a tenant: tune, train, judge and promote the models that its night found to be due."""

from __future__ import annotations

from airflow.sdk import Asset

from nocturne.orchestration.catalogue import TRAINING
from nocturne.orchestration.dags import dag, day_parameter, tenants
from nocturne.orchestration.stations import StationOperator

DOCUMENTATION = """
Started by the asset event of the night's `watch_models`. Triggered by hand when no model is due, it trains all of them. A model replaces
the champion only if it beats the naive baseline and is no worse than the champion on the same unseen window; the receipts say why not.
"""

for tenant in tenants("{slug}__training"):
    with dag(
        tenant,
        tenant.training_dag,
        description=f"Models of {tenant.name}",
        schedule=[Asset(tenant.models_asset)],
        params=day_parameter(),
        doc_md=DOCUMENTATION,
    ):
        tune, train, judge, promote = (
            StationOperator(task_id=name, station=station, slug=tenant.slug) for name, station in TRAINING.items()
        )
        tune >> train >> judge >> promote
