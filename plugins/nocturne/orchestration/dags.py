"""What the DAG files share: which tenants a parse builds, and the settings of a tenant's DAG."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, get_parsing_context
from airflow.timetables.trigger import CronTriggerTimetable

from nocturne.errors import TenantError
from nocturne.orchestration.stations import RETRIES
from nocturne.reasons import SHORTEST
from nocturne.settings import load_settings
from nocturne.tenants import Tenant, load_tenant, load_tenants


def tenants(dag_id: str) -> Iterator[Tenant]:
    """The tenants whose DAGs this parse must build, by slug: all of them, or, in a task's process, the one whose task it is.

    `dag_id` is the form of the id, with `{slug}`. A tenant whose file is broken is left out.
    """
    settings = load_settings()
    wanted = get_parsing_context().dag_id
    if wanted is None:
        yield from load_tenants(settings.tenants).tenants.values()
        return
    prefix, suffix = dag_id.split("{slug}")
    if wanted.startswith(prefix) and wanted.endswith(suffix):
        yield load_tenant(settings.tenants / f"{wanted.removeprefix(prefix).removesuffix(suffix)}.yml")


def broken_tenants() -> ExceptionGroup[TenantError] | None:
    """The errors of all tenants' files that are broken, or None."""
    broken = load_tenants(load_settings().tenants).broken
    return ExceptionGroup("tenants' files that are broken; the other tenants go on", list(broken)) if broken else None


def nightly_timetable(tenant: Tenant) -> CronTriggerTimetable:
    """Once a day at the tenant's `night_at`, in the time zone that is declared last.

    The DAG has no start date, so that the first scheduled night is the next one: with one, Airflow would at once run the last night that
    was due before it saw the DAG. A night takes in what earlier days left anyway.
    """
    return _from_the_next(f"{tenant.night_at.minute} {tenant.night_at.hour} * * *", tenant)


def weekly_timetable(tenant: Tenant) -> CronTriggerTimetable:
    """Once a week, on Sundays, twelve hours from the tenant's nights."""
    hour = (tenant.night_at.hour + 12) % 24
    return _from_the_next(f"{tenant.night_at.minute} {hour} * * 0", tenant)


def _from_the_next(cron: str, tenant: Tenant) -> CronTriggerTimetable:
    """Airflow would otherwise at once run what was due within the last tenth of the time between two runs, beside the run asked for."""
    return CronTriggerTimetable(cron, timezone=tenant.time_zone[-1].value, run_immediately=timedelta(milliseconds=1))


def day_parameter() -> dict[str, Param]:
    """The form field by which a person who triggers a run may name its business day."""
    return {
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Business day",
            description="Empty: the last day that was over when the run was due.",
        )
    }


def rollback_parameters() -> dict[str, Param]:
    """The form by which a person says what is to happen to the published marts, and why."""
    return {
        "action": Param("roll back", type="string", enum=["roll back", "hold", "release"], title="What is to be done"),
        "publish": Param(
            None,
            type=["null", "integer"],
            minimum=0,
            title="Publish whose state is to stand",
            description="Of a rollback. Empty: the state before the newest publish that changed anything.",
        ),
        "reason": Param("", type="string", title="Why", description="Whoever finds publishing held reads it. Not needed to release."),
    }


def deliveries_parameters(tenant: Tenant) -> dict[str, Param]:
    """The form by which a person says which delivery is to stand, and why."""
    return {
        "source": Param(type="string", enum=[source.name for source in tenant.sources], title="Source"),
        "delivered": Param(type="string", format="date", title="Day of the delivery"),
        "action": Param("restore", type="string", enum=["restore", "withdraw"], title="What is to be done"),
        "number": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Delivery that is to stand",
            description="To restore. Empty: the last that the source replaced; of a day of which none stands, the one that was withdrawn.",
        ),
        "reason": Param(type="string", minLength=SHORTEST, title="Why", description="Whoever finds a delivery taken back reads it."),
    }


def defaults(tenant: Tenant) -> dict[str, Any]:
    """Arguments of every task of a tenant."""
    return {
        "owner": tenant.owner,
        "retries": RETRIES,
        "retry_delay": timedelta(seconds=20),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(hours=3),
        "pool": pool(tenant),
        "priority_weight": tenant.limits.priority,
        "weight_rule": "absolute",
    }


def pool(tenant: Tenant) -> str:
    """The pool of its tier, so that one tier's load does not starve another's."""
    return f"nocturne_{tenant.tier.value}"


def dag(tenant: Tenant, dag_id: str, **more: Any) -> DAG:
    """A DAG of a tenant, with what all of them have in common."""
    return DAG(
        dag_id=dag_id,
        default_args=defaults(tenant),
        tags=sorted(("nocturne", *tenant.tags)),
        max_active_runs=1,
        catchup=False,
        **more,
    )
