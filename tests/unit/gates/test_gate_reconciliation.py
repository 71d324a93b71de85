"""Sums that must be equal, to the row: what does not add up is told with both sides and the difference."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from nocturne.gates.reconciliation import (
    AmountTerms,
    BatchTerms,
    PartTerms,
    PlayTerms,
    Terms,
    amount_differences,
    differences,
    play_differences,
)

BATCH = BatchTerms(delivered=100, left_out=10, bronze=90, valid=85, quarantined=5, quarantine=5)
PART = PartTerms(silver=80, told=80, warehouse=80)


def terms(batch: BatchTerms = BATCH, part: PartTerms = PART, duplicates: int = 5) -> Terms:
    return Terms("plays", {"app/2026-03-01": batch}, {"2026-03-01": part}, duplicates)


def test_what_adds_up_is_quiet() -> None:
    assert list(differences(terms())) == []
    assert terms().counts == {
        "delivered": 100,
        "left_out": 10,
        "valid": 85,
        "quarantined": 5,
        "duplicates": 5,
        "silver": 80,
        "warehouse": 80,
    }


@pytest.mark.parametrize(
    ("damaged", "says"),
    [
        (terms(replace(BATCH, bronze=89)), "batch app/2026-03-01: 100 rows were delivered and 10 left out, bronze holds 89: 1 missing"),
        (terms(replace(BATCH, quarantined=6, quarantine=6)), "85 were valid and 6 quarantined: 1 too many"),
        (terms(replace(BATCH, quarantine=4)), "5 rows were quarantined, quarantine holds 4: 1 missing"),
        (terms(duplicates=6), "85 rows of all batches were valid, silver holds 80 and 6 were duplicates: 1 too many"),
        (terms(part=PartTerms(80, 79)), "2026-03-01: silver holds 80 rows, the warehouse was told 79 and holds 79: 1 missing"),
        (terms(part=PartTerms(80, 80, 81)), "2026-03-01: silver holds 80 rows, the warehouse was told 80 and holds 81: 1 too many"),
    ],
)
def test_one_row_of_difference_is_told(damaged: Terms, says: str) -> None:
    (line,) = differences(damaged)
    assert line.startswith("plays")
    assert line.endswith(says)


def test_a_batch_that_silver_has_not_taken_is_told() -> None:
    found = list(differences(terms(replace(BATCH, valid=None, quarantined=None, quarantine=0))))
    assert "plays, batch app/2026-03-01: it is in bronze, but silver has not taken it" in found


def test_plays_are_in_the_mart_joined_or_silent() -> None:
    assert list(play_differences({"2026-03-01": PlayTerms(silver=100, mart=90, joined=7, zero_length=3)})) == []
    (line,) = play_differences({"2026-03-01": PlayTerms(silver=100, mart=89, joined=7, zero_length=3)})
    assert line == "plays, 2026-03-01: silver holds 100, the mart 89, 7 resumes joined, 3 never sounded: 1 missing"


def test_one_cent_of_difference_is_told_and_rounding_is_none() -> None:
    equal = AmountTerms("payments", "2026-03-01", "amount", "silver", Decimal("10.49"), "the warehouse", Decimal("10.49"))
    rounded = replace(equal, amount_behind=Decimal("10.4900005"), tolerance=Decimal("0.0000005"))
    assert list(amount_differences([equal, rounded])) == []
    told = list(amount_differences([replace(equal, amount_behind=Decimal("10.50")), replace(rounded, amount_behind=Decimal("10.489999"))]))
    assert told == [
        "payments, 2026-03-01: amount is 10.49 in silver and 10.50 in the warehouse: 0.01 too much",
        "payments, 2026-03-01: amount is 10.49 in silver and 10.489999 in the warehouse: 0.000001 missing",
    ]
