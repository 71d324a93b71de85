"""What a tenant's file says of odd deliveries that are right."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from nocturne.accepting import Acceptance
from nocturne.tenants import Source

PLAYS = {"name": "app", "dataset": "plays", "kind": "files", "location": "plays/{day}.ndjson"}
DAY = date(2026, 3, 5)


def test_a_day_is_accepted_with_its_reason_and_no_other() -> None:
    source = Source.model_validate({**PLAYS, "accept": [{"day": "2026-03-05", "reason": "the app was down"}]})
    assert source.accept == (Acceptance(day=DAY, reason="the app was down"),)
    assert source.accepts(DAY) == "the app was down"
    assert source.accepts(date(2026, 3, 6)) is None


def test_an_answer_decides_no_row_and_so_loads_nothing_again() -> None:
    accepting = {**PLAYS, "accept": [{"day": "2026-03-05", "reason": "the app was down"}]}
    assert Source.model_validate(accepting).fingerprint == Source.model_validate(PLAYS).fingerprint


@pytest.mark.parametrize(
    "wrong", [{"day": "2026-03-05"}, {"day": "soon", "reason": "it is right so"}, {"day": "2026-03-05", "reason": "ok"}]
)
def test_an_answer_has_a_day_and_a_reason(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Source.model_validate({**PLAYS, "accept": [wrong]})
