"""How a tenant's file says that a delivery which looks wrong is right."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict, Field

from nocturne.reasons import SHORTEST


class Acceptance(BaseModel):
    """A day on which a source delivered what is unlike all before, and why that is right: it then stops no night."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: date = Field(description="The day on which it was received.")
    reason: str = Field(min_length=SHORTEST, max_length=400, description="Why it is right; whoever asks later reads this.")
