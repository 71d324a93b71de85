"""`python -m nocturne.installation.health`: whether a service of the production shape is well, as its exit code.

    health URL             the address answers
    health URL COMPONENT   Airflow's API server at this address says that the component's heart beats
    health worker          the Celery worker of this machine answers its broker

It runs every half minute in every container, so it imports next to nothing.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.request

_SECONDS = 10


def answers(url: str) -> bool:
    """Whether a GET of `url` is answered with success."""
    return _get(url) is not None


def beats(url: str, component: str) -> bool:
    """Whether the API server's report at `url` calls a component (scheduler, dag_processor, triggerer) healthy."""
    report = json.loads(_get(url) or "{}")
    return bool((report.get(component) or {}).get("status") == "healthy")


def worker_answers() -> bool:
    """Whether the Celery worker of this machine answers a ping through the broker."""
    from celery import Celery
    from kombu.exceptions import OperationalError

    with Celery(broker=os.environ["AIRFLOW__CELERY__BROKER_URL"]) as app:
        try:
            return bool(app.control.ping(destination=[f"celery@{socket.gethostname()}"], timeout=_SECONDS))
        except OperationalError:
            return False


def is_well(arguments: list[str]) -> bool:
    """Whether what the arguments name is well."""
    match arguments:
        case ["worker"]:
            return worker_answers()
        case [url]:
            return answers(url)
        case [url, component]:
            return beats(url, component)
        case _:
            raise SystemExit(__doc__)


def _get(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 (the address is the compose file's own)
            return str(answer.read().decode())
    except OSError:  # refused, timed out, or an HTTP error
        return None


if __name__ == "__main__":
    sys.exit(0 if is_well(sys.argv[1:]) else 1)
