"""`python -m nocturne.orchestration.prepare`: Airflow's metadata and the tiers' pools, made or brought up to date in one process."""

from __future__ import annotations

from airflow.models.pool import Pool
from airflow.utils.db import upgradedb

from nocturne.settings import Settings, load_settings
from nocturne.tenants import Tier


def prepare_metadata(settings: Settings) -> None:
    """Migrate Airflow's metadata and make a pool a tier. Run again, it changes nothing. `parallelism` is every pool's size: tiers
    differ in priority, and an operator who wants a bound sets it in the UI, where it stays.
    """
    upgradedb()
    for tier in Tier:
        name = f"nocturne_{tier.value}"
        if Pool.get_pool(name) is None:
            Pool.create_or_update_pool(
                name, slots=max(16, settings.parallelism), description=f"Nights and trainings of tier {tier.value}", include_deferred=False
            )


if __name__ == "__main__":
    prepare_metadata(load_settings())
