"""A station as an Airflow task: errors become failures or retries, receipts go to the ledger."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException, AirflowSkipException

from nocturne.errors import LeaseHeld, NocturneError, PermanentError, SourceAwaited
from nocturne.orchestration.catalogue import ALERTS, STEER, STEER_DELIVERIES, Station
from nocturne.orchestration.day import business_day
from nocturne.receipts import Receipt
from nocturne.settings import Settings, load_settings
from nocturne.tenants import Tenant, load_tenant

if TYPE_CHECKING:
    from airflow.sdk import Context

    from nocturne.landing import Connection
    from nocturne.ledger import Ledger

RETRIES = 3
_DEFECTS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError)
_FAILED = {"failed", "upstream_failed"}


class StationOperator(BaseOperator):
    """One station of one tenant. Reads the tenant's file and the settings when it runs; leaves a receipt in the ledger and, without the
    lists of dates, in XCom. A run that finds the tenant's lease taken, or waits for a source, comes back later without using up a try.
    """

    ui_color = "#e7eef8"
    template_fields = ()

    def __init__(self, *, station: Station, slug: str, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", station.documentation)
        super().__init__(**kwargs)
        self.station = station
        self.slug = slug

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the station for the run's business day."""
        from nocturne.ledger import Ledger

        settings = load_settings()
        ledger = Ledger(settings)
        run_id = f"{context['dag_run'].dag_id}/{context['dag_run'].run_id}"
        try:
            tenant = load_tenant(settings.tenants / f"{self.slug}.yml")
            receipt = self._run(tenant, business_day(tenant, context["dag_run"], _event_days(context)), settings, ledger, run_id, context)
        except (LeaseHeld, SourceAwaited) as error:
            self.log.info("%s", error)
            raise AirflowRescheduleException(_again_at(error)) from error  # type: ignore[no-untyped-call]
        except PermanentError as error:
            raise AirflowFailException(str(error)) from error
        except _DEFECTS as error:
            raise AirflowFailException(f"A defect of ours, which a retry would meet again: {type(error).__name__}: {error}") from error
        self._act(receipt, context)
        return receipt.model_dump(mode="json", exclude={"entries": {"__all__": {"event_dates"}}})

    def _run(self, tenant: Tenant, day: date, settings: Settings, ledger: Ledger, run_id: str, context: Context) -> Receipt:
        started = datetime.now(UTC)
        try:
            with self._lease(tenant, ledger, run_id):
                receipt = self.station.load()(tenant, day, settings, ledger, **self._extra(tenant, context))
            if self.station.ends_change:
                ledger.release(tenant, run_id)
        except (LeaseHeld, SourceAwaited):
            raise
        except Exception as error:
            message = str(error) if isinstance(error, NocturneError) else f"{type(error).__name__}: {error}"
            failed = Receipt(tenant=tenant.slug, day=day, station=self.task_id, started_at=started, finished_at=datetime.now(UTC))
            ledger.record(failed, run_id=run_id, error=message, cpu_seconds=cpu_seconds())
            raise
        ledger.record(receipt.model_copy(update={"station": self.task_id}), run_id=run_id, cpu_seconds=cpu_seconds())
        return receipt

    def _lease(self, tenant: Tenant, ledger: Ledger, run_id: str) -> AbstractContextManager[None]:
        return ledger.holding(tenant, run_id, wait_seconds=10) if self.station.changes_tenant else nullcontext()

    def _extra(self, tenant: Tenant, context: Context) -> dict[str, Any]:
        return {"connections": airflow_connection} if self.station.name == "land" else {}

    def _act(self, receipt: Receipt, context: Context) -> None:
        """What follows from a receipt in Airflow; nothing for most stations."""


def _again_at(error: LeaseHeld | SourceAwaited) -> datetime:
    """When to come back: soon for a lease; every few minutes, and once more at its deadline, for a source that has not delivered yet."""
    now = datetime.now(UTC)
    return min(error.until, now + timedelta(minutes=5)) if isinstance(error, SourceAwaited) else now + timedelta(seconds=15)


class WatchModelsOperator(StationOperator):
    """Lets its asset event start the training only when a model is due."""

    def _act(self, receipt: Receipt, context: Context) -> None:
        if not any(entry.facts.get("is_due") for entry in receipt.entries):
            raise AirflowSkipException("No model is due.")
        for asset in self.outlets:
            context["outlet_events"][asset].extra = {"day": receipt.day.isoformat()}


class _SteerOperator(StationOperator):
    """Does what a person's form says. A run is answered once, however often cleared."""

    def _extra(self, tenant: Tenant, context: Context) -> dict[str, Any]:
        run = context["dag_run"]
        return {**self._form(context["params"]), "asked": f"{run.dag_id}/{run.run_id}", "by": f"Airflow's run {run.run_id}"}

    def _form(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the station is asked for."""
        raise NotImplementedError


class SteerMartsOperator(_SteerOperator):
    """Takes published marts back, or holds or releases publishing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(station=STEER, **kwargs)

    def _form(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {"action": given["action"], "publish_id": given["publish"], "reason": given["reason"]}


class SteerDeliveriesOperator(_SteerOperator):
    """Takes a delivery back, or brings it again."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(station=STEER_DELIVERIES, **kwargs)

    def _form(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "source": given["source"],
            "of": date.fromisoformat(given["delivered"]),
            "action": given["action"],
            "number": given["number"],
            "reason": given["reason"],
        }


class RaiseAlertsOperator(StationOperator):
    """Writes the quality pages and tells those who must know, whatever happened before, gives back a lease that a failed run still holds,
    and fails if the night did.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(station=ALERTS, trigger_rule="all_done", **kwargs)

    def _extra(self, tenant: Tenant, context: Context) -> dict[str, Any]:
        run = context["dag_run"]
        states = context["ti"].get_task_states(dag_id=run.dag_id, run_ids=[run.run_id]).get(run.run_id, {})
        self._failed = sorted(task for task, state in states.items() if state in _FAILED and task != self.task_id)
        return {"failures": {task: str(states[task]) for task in self._failed}}

    def _run(self, tenant: Tenant, day: date, settings: Settings, ledger: Ledger, run_id: str, context: Context) -> Receipt:
        self._show_quality(tenant, day, settings, ledger)
        receipt = super()._run(tenant, day, settings, ledger, run_id, context)
        ledger.release(tenant, run_id)
        return receipt

    def _show_quality(self, tenant: Tenant, day: date, settings: Settings, ledger: Ledger) -> None:
        """Write the quality pages here, where a night ends whatever happened; that they fail keeps no alert back."""
        from nocturne.reports.quality import write_quality

        try:
            write_quality(tenant, day, settings, ledger)
        except NocturneError as error:
            self.log.warning("The quality pages are those of an earlier night: %s", error)

    def _act(self, receipt: Receipt, context: Context) -> None:
        if self._failed:
            raise AirflowFailException(f"The night of {receipt.day} failed at {', '.join(self._failed)}; the alerts were raised.")


def airflow_connection(connection_id: str) -> Connection:
    """The Airflow connection `connection_id` as landing wants it. Raises PermanentError if there is none."""
    from airflow.sdk import Connection as AirflowConnection
    from airflow.sdk.exceptions import AirflowException

    from nocturne.landing import Connection

    try:
        found = AirflowConnection.get(connection_id)
    except AirflowException as error:
        raise PermanentError(
            f"There is no Airflow connection {connection_id}.",
            next_step=f"Add it in the Airflow UI (Admin, Connections), or set AIRFLOW_CONN_{connection_id.upper()}.",
        ) from error
    return Connection(
        scheme=found.conn_type,
        host=found.host or "",
        port=found.port,
        path=found.schema or "",
        login=found.login or None,
        password=found.password or None,
        extra=found.extra_dejson,
    )


def _event_days(context: Context) -> list[str]:
    """The business days that the asset events which started this run carry."""
    events = context.get("triggering_asset_events") or {}
    return [str(event.extra["day"]) for found in events.values() for event in found if event.extra and "day" in event.extra]


def cpu_seconds() -> float:
    """CPU seconds of this task's process and of the children that it has waited for."""
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
