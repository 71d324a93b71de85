"""Celery's configuration for Airflow's workers: the provider's own, and workers that are warm.

A worker forks its pool once, each process of the pool forks Airflow's supervisor of a task, and that forks the task. On Linux no step
starts a new interpreter (the provider reads `[core] execute_tasks_new_python_interpreter` for Airflow 2 alone), so what the worker has
in memory before it makes its pool, every task has without importing it. The scheduler reads this module too, and stays light: the
signal is the worker's.
"""

from __future__ import annotations

import gc
from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG
from celery.signals import worker_init

from nocturne.orchestration.preload import preload

CONFIG: dict[str, Any] = dict(DEFAULT_CELERY_CONFIG)
"""Named by `[celery] celery_config_options`. What is set by AIRFLOW__CELERY__* stands in it already."""


def warm(**_: object) -> None:
    """Load what tasks import, once, before the pool is made."""
    preload()
    # What the collector never looks at stays shared: its bookkeeping would copy every page of the parent's into each child.
    gc.collect()
    gc.freeze()


worker_init.connect(warm)
