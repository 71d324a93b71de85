"""`python -m nocturne.installation.production`: all that the production shape needs before its services start."""

from __future__ import annotations

import logging
import subprocess
import sys

from nocturne.errors import NocturneError, PermanentError
from nocturne.installation.database import make_databases
from nocturne.ledger import migrate
from nocturne.postgres import provision
from nocturne.settings import Settings, load_settings
from nocturne.tenants import load_tenants

STORES = ("nocturne.orchestration.prepare", "nocturne.orchestration.accounts", "ml.registry")
"""Modules that prepare a store of their own, each in its own process: none needs what another one has loaded."""

_log = logging.getLogger(__name__)


def prepare(settings: Settings) -> None:
    """Make or bring up to date: databases, ledger, tenants' roles and schemas, Airflow's metadata, pools and operator, MLflow's store.

    Run again, it changes nothing. A tenant whose file is broken is named and left out. Raises DatabaseUnavailable without PostgreSQL, and
    PermanentError if one of the stores could not be prepared.
    """
    make_databases(settings)
    migrate(settings)
    roll = load_tenants(settings.tenants)
    for error in roll.broken:
        _log.error("%s", error)
    for tenant in roll.tenants.values():
        provision(tenant, settings)
    for module in STORES:
        if subprocess.run([sys.executable, "-m", module]).returncode:
            raise PermanentError(f"`python -m {module}` failed.", next_step="Read its message above, mend the cause, run it again.")
    _log.info("ready: %d tenants, %d whose file is broken", len(roll.tenants), len(roll.broken))


def main() -> int:
    """Prepare what the settings in force name; 0 if it is ready."""
    try:
        prepare(load_settings())
    except NocturneError as error:
        _log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.exit(main())
