"""That an odd delivery is right is said by day, and never without a reason."""

from __future__ import annotations

from datetime import date

import pytest
from pydantic import ValidationError

from nocturne.accepting import Acceptance


def test_it_names_the_day_and_why() -> None:
    given = Acceptance.model_validate({"day": "2026-03-05", "reason": "the shop's new exporter"})
    assert (given.day, given.reason) == (date(2026, 3, 5), "the shop's new exporter")


@pytest.mark.parametrize("reason", [None, "", "ok", "x" * 401])
def test_a_reason_says_something(reason: str | None) -> None:
    with pytest.raises(ValidationError):
        Acceptance.model_validate({"day": "2026-03-05", "reason": reason})
