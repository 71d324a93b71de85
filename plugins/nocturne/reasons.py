"""Why a person had something done: whoever finds it later reads it."""

from __future__ import annotations

from datetime import date
from typing import Final

from nocturne.errors import PermanentError

SHORTEST: Final = 8
"""Characters of a reason."""


def checked_reason(reason: str, *, to: str, next_step: str, tenant: str, day: date | None = None) -> str:
    """The reason without blanks around it. Raises PermanentError for one that says nothing."""
    if len(reason.strip()) < SHORTEST:
        raise PermanentError(f"To {to} needs a reason of {SHORTEST} characters or more.", next_step=next_step, tenant=tenant, day=day)
    return reason.strip()
