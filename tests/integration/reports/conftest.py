"""Two tenants whose marts are published, and the report of one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report_marts import LABEL, MODELS, SERVICE, PublishedMarts, tenant_of
from nocturne.ledger import Ledger
from nocturne.postgres import provision
from nocturne.receipts import Receipt
from nocturne.reports import render_reports
from nocturne.settings import Settings
from nocturne.tenants import Tenant

DAY = date(2026, 3, 1)


@dataclass(frozen=True)
class Rendered:
    """A tenant, what is published of it, and its report of DAY."""

    tenant: Tenant
    marts: PublishedMarts
    folder: Path
    receipt: Receipt
    settings: Settings


@pytest.fixture(scope="package")
def reports(database: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of the installation with a folder of reports of this package's own."""
    return database.model_copy(update={"reports": tmp_path_factory.mktemp("reports")})


@pytest.fixture(scope="package")
def publish(reports: Settings, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Tenant, PublishedMarts]]:
    """Makes a tenant whose marts `tables` are published up to DAY."""

    def make(slug: str, tables: Iterable[str], *, seed: int = 7, **fields: Any) -> tuple[Tenant, PublishedMarts]:
        tenant = tenant_of(tmp_path_factory.mktemp("tenants"), slug, **fields)
        provision(tenant, reports)
        marts = PublishedMarts(DAY, days=70, scale=600, tracks=24, seed=seed)
        marts.publish(tenant, reports, tables)
        return tenant, marts

    return make


@pytest.fixture(scope="package")
def service(reports: Settings, publish: Callable[..., tuple[Tenant, PublishedMarts]]) -> Rendered:
    """A streaming service of the highest tier, rendered once."""
    tenant, marts = publish("reports_service", (*SERVICE, *MODELS))
    ledger = Ledger(reports)
    marts.tell(tenant, ledger)
    moment = datetime(2026, 3, 2, 3, tzinfo=UTC)
    for station, warnings in (("gate_bronze", ("plays came an hour late",)), ("publish_marts", ())):
        receipt = Receipt(tenant=tenant.slug, day=DAY, station=station, started_at=moment, finished_at=moment, warnings=warnings)
        ledger.record(receipt, run_id="night")
    receipt = render_reports(tenant, DAY, reports, ledger)
    return Rendered(tenant, marts, reports.reports_root / tenant.slug / DAY.isoformat(), receipt, reports)


@pytest.fixture(scope="package")
def label(reports: Settings, publish: Callable[..., tuple[Tenant, PublishedMarts]]) -> Rendered:
    """A label of the middle tier, without subscriptions, rendered once."""
    models = ("ml.stream_forecasts", "ml.insights")
    tenant, marts = publish(
        "reports_label", (*LABEL, *models), seed=8, name="Harbor Records", tier="pro", currency="USD", time_zone="America/New_York"
    )
    receipt = render_reports(tenant, DAY, reports, Ledger(reports))
    return Rendered(tenant, marts, reports.reports_root / tenant.slug / DAY.isoformat(), receipt, reports)
