"""How a tenant's file changes the checks of its own tables: it may add some, move a threshold, or mute one until a day, with a reason."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nocturne.reasons import SHORTEST

Severity = Literal["stop", "warn"]
_REASON = Field(min_length=SHORTEST, max_length=400, description="Why; whoever asks later reads this.")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Addition(_Strict):
    """A check of the tenant's own, as a suite declares it."""

    type: str
    kwargs: dict[str, Any]
    severity: Severity
    why: str = _REASON


class Named(_Strict):
    """A check of a suite, by its kind and its columns (or measure); `severity` tells apart two that have both alike."""

    check: str
    columns: tuple[str, ...] = Field(min_length=1)
    severity: Severity | None = None
    reason: str = _REASON


class Change(Named):
    """Another threshold (`set`: keywords of the check), or another severity (`becomes`)."""

    set: dict[str, Any] = Field(default_factory=dict)
    becomes: Severity | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Change:
        if not self.set and self.becomes is None:
            raise ValueError("a change says what is `set`, or what the severity `becomes`")
        return self


class Mute(Named):
    """A check that stops and tells nothing until a day."""

    until: date = Field(description="The first day on which it speaks again: of its delivery, or of the night.")


class Adjustments(_Strict):
    """What a tenant's file says of the checks of one dataset, or of one mart."""

    add: tuple[Addition, ...] = ()
    change: tuple[Change, ...] = ()
    mute: tuple[Mute, ...] = ()
