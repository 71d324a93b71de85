"""What the tests of bronze and silver share: a night over an empty lake."""

from __future__ import annotations

import pytest

from nocturne.settings import Settings
from tests.integration.lake.worlds import ARTISTS, PLAYS, WEB, Night, tenant_with


@pytest.fixture
def night(settings: Settings) -> Night:
    """A tenant with two sources of plays and one of artists; its gate lets everything pass."""
    return Night(settings, tenant_with(PLAYS, WEB, ARTISTS))
