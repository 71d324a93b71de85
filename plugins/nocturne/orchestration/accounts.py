"""`python -m nocturne.orchestration.accounts`: the first operator's account of an Airflow with users and roles."""

from __future__ import annotations

import logging
import os

from nocturne.errors import SettingsError

_log = logging.getLogger(__name__)


def make_operator(name: str, password: str) -> bool:
    """Make the account `name` with the role Admin; False if it is there, and then its password stays as it is."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        manager = builder.sm
        if manager.find_user(username=name):
            return False
        made = manager.add_user(name, "Nocturne", "Operator", f"{name}@localhost", manager.find_role("Admin"), password)
    if not made:
        raise SettingsError(
            f"Airflow did not take the account {name}.", next_step="Read the message above; correct AIRFLOW_ADMIN_USER, run it again."
        )
    return True


def main() -> None:
    """Make the account that AIRFLOW_ADMIN_USER and AIRFLOW_ADMIN_PASSWORD name."""
    name, password = os.environ.get("AIRFLOW_ADMIN_USER") or "admin", os.environ.get("AIRFLOW_ADMIN_PASSWORD")
    if not password:
        raise SettingsError("AIRFLOW_ADMIN_PASSWORD is not set.", next_step="Set it to the first operator's password.")
    _log.info("the operator's account %s %s", name, "is made" if make_operator(name, password) else "is there")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
