"""From material to pages: what a report says, in which order, in which words.

Each chapter is a function that returns its page, or None if the tenant has nothing for it: there is never a page of zeros. A change is
always told against a named earlier period, and numbers that can still move are called provisional.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nocturne.reports import formats
from nocturne.reports.chapters.audience import audience
from nocturne.reports.chapters.changes import changes
from nocturne.reports.chapters.content import content
from nocturne.reports.chapters.cover import cover
from nocturne.reports.chapters.data import data, meanings
from nocturne.reports.chapters.listening import listening
from nocturne.reports.chapters.models import models
from nocturne.reports.chapters.money import revenue, subscriptions
from nocturne.reports.chapters.rights import royalties
from nocturne.reports.document import Document, Page
from nocturne.reports.material import Material
from nocturne.tenants import Tenant

CHAPTERS: Final[tuple[Callable[[Tenant, Material], Page | None], ...]] = (
    changes,
    listening,
    content,
    audience,
    subscriptions,
    revenue,
    royalties,
    models,
    data,
    meanings,
)
"""The pages in their order."""


def compose(tenant: Tenant, material: Material) -> Document:
    """The whole report of a tenant's day."""
    return Document(
        tenant=tenant.name,
        slug=tenant.slug,
        day=material.day,
        title="Nightly report",
        subtitle=formats.long_date(material.day),
        stamps=_stamps(material),
        cover=cover(tenant, material),
        pages=tuple(page for chapter in CHAPTERS if (page := chapter(tenant, material))),
    )


def _stamps(material: Material) -> tuple[str, ...]:
    """What a reader must know before any number: that the marts do not hold the day."""
    if material.is_current:
        return ()
    if material.marts_day is None:
        return ("No listening data has been published yet",)
    return (f"Not updated since {formats.short_date(material.marts_day)}",)
