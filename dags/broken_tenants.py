"""Holds no DAG: it fails while a tenant's file is broken, so that the Airflow UI shows the file and the line among its import errors.

It stands apart because Airflow takes nothing from a file that fails, and one broken tenant must not take down the others.
"""

from __future__ import annotations

from nocturne.orchestration.dags import broken_tenants

if (broken := broken_tenants()) is not None:
    raise broken
