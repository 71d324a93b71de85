"""LocalExecutor whose workers are warm: what tasks import is loaded once, before the workers fork."""

from __future__ import annotations

from airflow.executors.local_executor import LocalExecutor

from nocturne.orchestration.preload import preload


class WarmLocalExecutor(LocalExecutor):
    """Airflow's LocalExecutor, preloaded."""

    def start(self) -> None:
        """Load, then fork the workers."""
        preload()
        super().start()
