"""The tenant of these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.report_marts import tenant_of
from nocturne.tenants import Tenant


@pytest.fixture
def tenant(tmp_path: Path) -> Tenant:
    return tenant_of(tmp_path, "aurora")
