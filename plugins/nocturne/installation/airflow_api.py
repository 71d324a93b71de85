"""What the installation asks of Airflow, through its public REST API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx

from nocturne.errors import PermanentError, TransientError
from nocturne.settings import Settings

TERMINAL = frozenset({"success", "failed"})
_TRIES = 4


def admin_password(settings: Settings) -> str:
    """The login of the local installation's operator."""
    return settings.derive("airflow", "admin").hex()[:20]


class AirflowApi:
    """A client of one Airflow's REST API, logged in as the operator."""

    def __init__(self, settings: Settings, user: str) -> None:
        self._user = user
        self._settings = settings
        self._client = httpx.Client(base_url=f"http://{settings.host}:{settings.airflow_port}", timeout=30)
        self._token_at = float("-inf")

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def dag_is_known(self, dag_id: str) -> bool:
        """Whether the DAG processor has seen the DAG."""
        answer = self._request("GET", f"/api/v2/dags/{dag_id}", allow=(404,))
        return answer.status_code == 200 and not answer.json().get("is_stale", False)

    def import_errors(self) -> dict[str, str]:
        """DAG files that Airflow could not import, and why."""
        rows = self._request("GET", "/api/v2/importErrors").json()["import_errors"]
        return {row["filename"]: row["stack_trace"] for row in rows}

    def unpause(self, dag_id: str) -> None:
        """Let the DAG's runs start."""
        self._request("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, run_id: str, *, logical_date: datetime | None, conf: Mapping[str, Any]) -> None:
        """Make a run; asked again for one that was made though the answer was lost, it makes no second."""
        body = {
            "dag_run_id": run_id,
            "logical_date": logical_date.isoformat() if logical_date else None,
            "conf": dict(conf),
        }
        self._request("POST", f"/api/v2/dags/{dag_id}/dagRuns", allow=(409,), json=body)

    def run(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        """A run, or None if there is none."""
        answer = self._request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", allow=(404,))
        return None if answer.status_code == 404 else dict(answer.json())

    def runs(self, dag_id: str, *, limit: int = 20) -> list[dict[str, Any]]:
        """The latest runs of a DAG, the newest first."""
        answer = self._request("GET", f"/api/v2/dags/{dag_id}/dagRuns", params={"order_by": "-run_after", "limit": limit}, allow=(404,))
        return [] if answer.status_code == 404 else list(answer.json()["dag_runs"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """The task instances of a run by task id."""
        answer = self._request("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances", params={"limit": 100}, allow=(404,))
        return {} if answer.status_code == 404 else {task["task_id"]: task for task in answer.json()["task_instances"]}

    def _request(self, method: str, path: str, *, allow: tuple[int, ...] = (), **arguments: Any) -> httpx.Response:
        """Ask, and ask again for some seconds. Raises TransientError if Airflow cannot answer, PermanentError if it refuses."""
        for left in range(_TRIES - 1, -1, -1):
            try:
                if time.monotonic() - self._token_at > 1_800:
                    self._log_in()
                answer = self._client.request(method, path, **arguments)
                if answer.status_code < 500:
                    break
                told = f"{answer.status_code} {answer.text[:300]}"
            except httpx.TransportError as error:
                told = f"{type(error).__name__} {error}".strip()
            if left:
                time.sleep(1)
        else:
            raise TransientError(
                f"Airflow at {self._client.base_url} cannot answer {method} {path}: {told}.",
                next_step="Read var/log/api-server.log and run the command again: it takes up where it stands.",
            )
        if answer.is_success or answer.status_code in allow:
            return answer
        raise PermanentError(
            f"Airflow refused {method} {path}: {answer.status_code} {answer.text[:300]}", next_step="Read var/log/api-server.log."
        )

    def _log_in(self) -> None:
        answer = self._client.post("/auth/token", json={"username": self._user, "password": admin_password(self._settings)})
        if answer.status_code >= 500:
            raise httpx.RemoteProtocolError(f"{answer.status_code} at the login")
        if answer.status_code >= 300:
            raise PermanentError(
                f"Airflow refused the operator's login: {answer.status_code}.",
                next_step="Another Airflow may listen on this port: set NOCTURNE_AIRFLOW_PORT, or `make down` there.",
            )
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self._token_at = time.monotonic()
