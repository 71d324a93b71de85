"""Every error that a station raises on purpose.

    NocturneError
    ├── TransientError              try again: the cause may be gone by then
    │   ├── SourceUnavailable       a source did not answer, or answered 5xx, 408 or 429
    │   │   └── SourceAwaited       nothing was delivered yet, and the deadline is still ahead
    │   ├── DatabaseUnavailable     PostgreSQL is not there, or went away in the middle
    │   ├── DiskFull                no space where we write
    │   └── LeaseHeld               another run is changing this tenant
    └── PermanentError              a person must act: a retry would fail the same way
        ├── SettingsError           the installation's own settings
        ├── TenantError             a tenant's file: names file and line
        ├── DeliveryError           what a source delivered cannot be read or lacks a column
        ├── SourceMissing           nothing was delivered, and the deadline is past
        ├── GateFailed              a check of severity `stop` failed: nothing is published
        ├── BuildFailed             dbt could not build or test a model
        ├── QueryRefused            a question that has no right answer, or takes too long
        ├── LeaseLost               the lease was taken over while we worked
        └── ToolMissing             a program that we need is not installed

A message says what was tried, for which tenant and day, and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


class NocturneError(Exception):
    """An error with a next step: `str(error)` is the whole message, on one line or several."""

    def __init__(self, what: str, *, next_step: str, tenant: str | None = None, day: object = None) -> None:
        self.what = what
        self.next_step = next_step
        self.tenant = tenant
        self.day = day
        where = ", ".join(part for part in (f"tenant {tenant}" if tenant else "", f"day {day}" if day else "") if part)
        super().__init__(f"{f'[{where}] ' if where else ''}{what} Next: {next_step}")


class TransientError(NocturneError):
    """Worth another try without anybody's help."""


class PermanentError(NocturneError):
    """Not worth another try before somebody has acted."""


class SourceUnavailable(TransientError):
    """A source did not answer, or answered 5xx, 408 or 429."""


class SourceAwaited(SourceUnavailable):
    """Nothing was delivered yet, and the deadline is still ahead: the night waits for it, at most until `until`."""

    def __init__(self, what: str, *, until: datetime, next_step: str, tenant: str | None = None, day: object = None) -> None:
        self.until = until
        super().__init__(what, next_step=next_step, tenant=tenant, day=day)


class DatabaseUnavailable(TransientError):
    """PostgreSQL is not there, or went away in the middle."""


class DiskFull(TransientError):
    """No space is left where we write."""


class LeaseHeld(TransientError):
    """Another run is changing this tenant."""


class SettingsError(PermanentError):
    """The installation's own settings are wrong."""


class TenantError(PermanentError):
    """A tenant's file is wrong; the message names file and line."""


class DeliveryError(PermanentError):
    """What a source delivered cannot be read, or lacks a column that the mapping needs."""


class SourceMissing(PermanentError):
    """A source that must deliver has nothing, and its deadline is past."""


class GateFailed(PermanentError):
    """A check of severity `stop` failed."""


class BuildFailed(PermanentError):
    """dbt could not build or test a model."""


class QueryRefused(PermanentError):
    """A question that has no right answer, that names what is not there, or that takes too long; says why, and what to ask instead."""


class LeaseLost(PermanentError):
    """The lease was taken over while we worked; what we had not finished, the new holder does."""


class ToolMissing(PermanentError):
    """A program that we need is not installed."""


def together(failures: Sequence[NocturneError]) -> NocturneError:
    """One error that tells all of `failures`; it is transient only if each of them is."""
    if len(failures) == 1:
        return failures[0]
    kinds = {type(failure) for failure in failures}
    transient = all(isinstance(failure, TransientError) for failure in failures)
    kind = TransientError if transient else kinds.pop() if len(kinds) == 1 else PermanentError
    days = {failure.day for failure in failures}
    return kind(
        f"{len(failures)} things failed:\n" + "\n".join(f"- {failure.what}" for failure in failures) + "\n",
        next_step=" ".join(dict.fromkeys(failure.next_step for failure in failures)),
        tenant=failures[0].tenant,
        day=days.pop() if len(days) == 1 else None,
    )
