"""Receipts travel as JSON, add up, and do not change."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nocturne.receipts import Entry, Receipt

START = datetime(2026, 1, 2, 3, tzinfo=UTC)


def receipt_of(*entries: Entry, **more: object) -> Receipt:
    return Receipt.model_validate(
        {"tenant": "dusk", "day": date(2026, 1, 1), "station": "land", "started_at": START, "finished_at": START, "entries": entries} | more
    )


entries = st.builds(
    Entry,
    name=st.text(),
    fingerprint=st.text(),
    skipped=st.booleans(),
    counts=st.dictionaries(st.text(), st.integers()),
    event_dates=st.lists(st.dates()).map(tuple),
    facts=st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())),
)


@given(st.lists(entries), st.lists(st.text()), st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=1)))
def test_a_receipt_survives_its_journey_as_json(found: list[Entry], warnings: list[str], took: timedelta) -> None:
    receipt = receipt_of(*found, warnings=tuple(warnings), finished_at=START + took)
    assert Receipt.from_json(receipt.model_dump_json()) == receipt
    assert Receipt.model_validate(json.loads(receipt.model_dump_json())) == receipt
    assert receipt.seconds == took.total_seconds()


def test_counts_add_up_over_entries_that_have_them() -> None:
    receipt = receipt_of(Entry(name="plays", counts={"kept": 2, "quarantined": 1}), Entry(name="tracks", counts={"kept": 3}))
    assert (receipt.count("kept"), receipt.count("quarantined"), receipt.count("lost")) == (5, 1, 0)


def test_an_entry_is_found_by_name() -> None:
    receipt = receipt_of(Entry(name="plays"), Entry(name="tracks", skipped=True))
    found = receipt.entry("tracks")
    assert found is not None
    assert found.skipped
    assert receipt.entry("albums") is None


def test_a_receipt_is_what_happened_and_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        receipt_of().day = date(2026, 1, 2)
    with pytest.raises(ValidationError, match="Extra inputs"):
        receipt_of(rows=[1])
