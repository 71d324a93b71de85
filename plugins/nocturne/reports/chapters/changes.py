"""What changed: the insights of the night."""

from __future__ import annotations

from typing import Final

from nocturne.reports.document import Finding, Findings, Page
from nocturne.reports.material import Material
from nocturne.tenants import Tenant

HEADLINES: Final = 4
"""As many findings have room on the cover; of more it says three, and all stand on their own page."""


def changes(_tenant: Tenant, material: Material) -> Page | None:
    """The page of all findings; none if the cover has room for them."""
    found = findings(material)
    if len(found) <= HEADLINES:
        return None
    lead = "The day compared with the same weekdays of the four weeks before it, and what explains the difference."
    return Page("changes", "What changed, and why", lead, (Findings("", tuple(found)),))


def findings(material: Material) -> list[Finding]:
    """The findings of the day, the weightiest first."""
    return [Finding(str(row["severity"]), str(row["text"])) for row in material.rows("insights")]


def headlines_of(found: list[Finding]) -> tuple[Finding, ...]:
    """What the cover says: all of few findings, the first three of many."""
    return tuple(found if len(found) <= HEADLINES else found[: HEADLINES - 1])
