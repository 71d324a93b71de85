"""The bronze gate on real Delta tables: what passes, what is stopped, what a re-run asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest

from nocturne.datasets import DATASETS
from nocturne.errors import GateFailed
from nocturne.gates import gate_bronze
from nocturne.lake import duck, name, table, text
from nocturne.ledger import Mark, MemoryMarks
from nocturne.quality import incidents, table_days
from nocturne.receipts import Receipt
from nocturne.settings import Settings
from nocturne.tenants import Tenant

FIRST = date(2026, 1, 5)  # a Monday
NIGHT = date(2026, 3, 1)
Rows = Sequence[dict[str, Any]]

TENANT = Tenant.model_validate(
    {
        "slug": "gated",
        "name": "Gated",
        "time_zone": "Europe/Paris",
        "currency": "EUR",
        "begins_on": FIRST.isoformat(),
        "sources": [
            {"name": "app", "dataset": "plays", "kind": "files", "location": "plays/{day}.ndjson"},
            {"name": "shop", "dataset": "payments", "kind": "files", "location": "payments/{day}.ndjson"},
            {"name": "catalogue", "dataset": "tracks", "kind": "files", "location": "tracks.csv", "format": "csv"},
        ],
    }
)


@dataclass
class Bronze:
    """A tenant's bronze as loading leaves it, with its marks."""

    settings: Settings
    marks: MemoryMarks = field(default_factory=MemoryMarks)
    tenant: Tenant = TENANT

    def load(self, dataset: str, source: str, day: date, rows: Rows, *, left_out: int = 0, version: str = "1") -> str:
        """Replace one batch and mark it; its id."""
        batch = f"{source}/{day}"
        bronze = table(self.settings, TENANT, "bronze", dataset)
        with duck(self.settings) as connection:
            connection.register("given", as_delivered(dataset, rows))
            bronze.replace(connection, query(dataset, batch, day), [batch])
        facts = {"received_on": day.isoformat(), "rows": len(rows) + left_out, "left_out": left_out, "dates": {}, "problem_rows": 0}
        self.marks.mark(TENANT, "bronze", dataset, {batch: Mark(f"{batch} {version}", facts)})
        return batch

    def gate(self, day: date = NIGHT) -> Receipt:
        """Run the gate."""
        return gate_bronze(self.tenant, day, self.settings, self.marks)

    def passed(self, dataset: str) -> set[str]:
        """The batches that are open to silver: marked as passed in the form that bronze holds now."""
        loaded = self.marks.marks(TENANT, "bronze", dataset)
        marks = self.marks.marks(TENANT, "gate_bronze", dataset)
        return {part for part, mark in marks.items() if mark.facts["passed"] and mark.facts["bronze"] == loaded[part].fingerprint}


def as_delivered(dataset: str, rows: Rows) -> pa.Table:
    """The rows as texts, in the dataset's columns and those of ours that a test may set."""
    names = [column.name for column in DATASETS[dataset].columns]
    texts = {one: pa.array([as_text(row.get(one)) for row in rows], pa.string()) for one in (*names, "_event_on")}
    return pa.table(texts | {"_problems": pa.array([row.get("_problems", []) for row in rows], pa.list_(pa.string()))})


def as_text(value: Any) -> str | None:
    return None if value is None else str(value)


def query(dataset: str, batch: str, day: date) -> str:
    """SQL of the `given` rows as bronze holds them."""
    columns = ", ".join(f"{name(column.name)}::{column.type.value} AS {name(column.name)}" for column in DATASETS[dataset].columns)
    return (
        f"SELECT {text(batch)} AS _batch, DATE '{day}' AS _received_on, 'part-1.ndjson' AS _file, row_number() OVER () AS _line,"
        f" '{{}}' AS _delivered, _problems, len(_problems) > 0 AS _is_bad, 1 AS _key, 1 AS _content, coalesce(_event_on, '{day}')::DATE AS _event_on, {columns} FROM given"
    )


def plays(day: date, count: int = 40, **changed: Any) -> list[dict[str, Any]]:
    """Sound plays; `changed` puts a column's value (or what a function of the row's number gives) over it."""
    rows = []
    for number in range(count):
        row = {
            "play_id": f"{day}-{number}", "played_at": f"{day} 12:00:00+00", "listener_id": f"l{number % 7}", "track_id": f"t{number % 5}",
            "ms_played": 60_000, "reason_end": "track_done", "context_type": "search", "country": "FR",
        }  # fmt: skip
        rows.append(row | {column: value(number) if callable(value) else value for column, value in changed.items()})
    return rows


def payments(day: date, count: int = 30) -> list[dict[str, Any]]:
    return [
        {
            "payment_id": f"{day}-{number}", "paid_at": f"{day} 09:00:00+00", "listener_id": f"l{number}", "status": "succeeded",
            "amount": "9.99", "currency": "EUR", "tax_amount": "1.67",
        }
        for number in range(count)
    ]  # fmt: skip


@pytest.fixture
def bronze(settings: Settings) -> Bronze:
    return Bronze(settings)


def test_sound_batches_pass_and_are_asked_once(bronze: Bronze) -> None:
    for number in range(3):
        bronze.load("plays", "app", FIRST + timedelta(days=number), plays(FIRST + timedelta(days=number)))
    bronze.load("payments", "shop", FIRST, payments(FIRST))

    receipt = bronze.gate()

    assert receipt.warnings == ()
    assert [(entry.name, entry.skipped, entry.counts["batches"], entry.counts["rows"]) for entry in receipt.entries] == [
        ("plays", False, 3, 120),
        ("payments", False, 1, 30),
        ("tracks", True, 0, 0),
    ]
    assert receipt.entries[0].facts["quality_ratio"] == 1
    assert len(bronze.passed("plays")) == 3
    days = table_days(bronze.marks.judgements(bronze.tenant, FIRST, FIRST + timedelta(days=2)))
    assert [(one.table, one.day, one.score, one.counts["rows"]) for one in days if one.table == "plays"] == [
        ("plays", FIRST + timedelta(days=number), 1, 40) for number in range(3)
    ]
    assert all(entry.skipped for entry in bronze.gate().entries)


DAMAGES: dict[str, tuple[Callable[[date], Rows], str, str]] = {
    # what happened to a delivery: its rows, the check that must find it, where it must find it
    "an empty batch": (lambda _: [], "rows", "rows is 0"),
    "a required column without a value": (lambda day: plays(day, track_id=None), "empty_required_count", "(track_id)"),
    "a filled column that is suddenly empty": (lambda day: plays(day, country=None), "fill_drop", "(country: 0.0% of 40 rows"),
    "a tenth of the usual rows": (lambda day: plays(day, 3), "rows_to_floor", "3 rows, usual are 40"),
    "a replayed archive": (lambda day: plays(day, 900), "rows_to_usual", "900 rows, usual are 40"),
    "rows that cannot be read": (
        lambda day: plays(day, _problems=lambda n: ["ms_played: no number"] if n < 10 else []),
        "_problem_count",
        "part-1.ndjson:1, ",
    ),
    "missing identifiers": (
        lambda day: plays(day, listener_id=lambda n: None if n == 7 or n > 35 else "l1"),
        "listener_id",
        "part-1.ndjson:8, ",
    ),
    "one identifier for all": (lambda day: plays(day, play_id="p"), "play_id", "40 of 40 rows fail"),
    "seconds in a column of milliseconds, below zero": (lambda day: plays(day, ms_played=lambda n: -n), "ms_played", "39 of 40 rows fail"),
    "an unknown word": (
        lambda day: plays(day, reason_end=lambda n: "ended" if n % 2 else "stop"),
        "reason_end",
        "20 of 40 rows fail (50.0%",
    ),
    "another form of a code": (lambda day: plays(day, country="France"), "country", "40 of 40 rows fail"),
    "events of the future": (lambda day: plays(day, _event_on=day + timedelta(days=40)), "_age_days", "40 of 40 rows fail"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_batch_is_stopped_and_named_and_the_others_pass(bronze: Bronze, damage: str) -> None:
    rows, check, place = DAMAGES[damage]
    days = [FIRST + timedelta(days=number) for number in range(9)]
    for day in days[:-1]:
        bronze.load("plays", "app", day, plays(day))
    damaged = bronze.load("plays", "app", days[-1], rows(days[-1]))

    with pytest.raises(GateFailed) as failure:
        bronze.gate()

    lines = [line for line in str(failure.value).splitlines() if line.startswith("- plays, ") and f"({check}" in line]
    assert lines, str(failure.value)
    assert any(f"batch {damaged} (received 2026-01-13): " in line and place in line for line in lines), lines
    assert str(failure.value).startswith("[tenant gated, day 2026-03-01]")
    assert "Next: Have the delivery corrected" in str(failure.value)
    assert bronze.passed("plays") == {f"app/{day}" for day in days[:-1]}


def test_a_damaged_batch_hides_in_no_crowd(bronze: Bronze) -> None:
    """Forty bad rows among eight thousand are less than one in a hundred; in their own batch they are all."""
    for number in range(20):
        bronze.load("plays", "app", FIRST + timedelta(days=number), plays(FIRST + timedelta(days=number), 400))
    bad = bronze.load("plays", "app", FIRST + timedelta(days=20), plays(FIRST + timedelta(days=20), 60, ms_played=-1))
    with pytest.raises(GateFailed, match=bad):
        bronze.gate()
    assert len(bronze.passed("plays")) == 20


def test_the_failures_of_all_datasets_are_told_together(bronze: Bronze) -> None:
    bronze.load("plays", "app", FIRST, plays(FIRST, country="France"))
    bronze.load("tracks", "catalogue", FIRST, [])
    bronze.load("payments", "shop", FIRST, payments(FIRST))
    with pytest.raises(GateFailed) as failure:
        bronze.gate()
    assert "- plays, " in str(failure.value)
    assert "- tracks, " in str(failure.value)
    assert bronze.passed("payments") == {f"shop/{FIRST}"}


def test_what_failed_is_asked_again_and_passes_when_it_was_corrected(bronze: Bronze) -> None:
    bronze.load("plays", "app", FIRST, plays(FIRST, country="France"))
    for _ in range(2):
        with pytest.raises(GateFailed):
            bronze.gate()
    bronze.load("plays", "app", FIRST, plays(FIRST), version="2")
    assert bronze.gate().count("batches") == 1
    assert bronze.passed("plays") == {f"app/{FIRST}"}


def test_a_damaged_batch_stops_its_own_night_and_no_earlier_one(bronze: Bronze) -> None:
    bronze.load("plays", "app", FIRST, plays(FIRST))
    damaged = bronze.load("plays", "app", FIRST + timedelta(days=1), plays(FIRST + timedelta(days=1), country="France"))

    told = [line for line in bronze.gate(FIRST).warnings if f"batch {damaged} (received 2026-01-06): " in line]
    assert told
    assert all(line.endswith("It came after 2026-01-05, so this night goes on without it.") for line in told)
    assert bronze.passed("plays") == {f"app/{FIRST}"}

    for night in (FIRST + timedelta(days=1), FIRST + timedelta(days=2)):
        with pytest.raises(GateFailed, match=damaged):
            bronze.gate(night)


def test_a_batch_that_was_delivered_anew_is_closed_until_it_passes_again(bronze: Bronze) -> None:
    bronze.load("plays", "app", FIRST, plays(FIRST))
    bronze.gate()
    bronze.load("plays", "app", FIRST, plays(FIRST, country="France"), version="2")
    with pytest.raises(GateFailed):
        bronze.gate()
    assert bronze.marks.marks(TENANT, "gate_bronze", "plays") == {}


def test_a_batch_that_is_no_more_loses_its_mark(bronze: Bronze) -> None:
    batch = bronze.load("plays", "app", FIRST, plays(FIRST))
    bronze.gate()
    bronze.marks.unmark(TENANT, "bronze", "plays", [batch])
    bronze.gate()
    assert bronze.marks.marks(TENANT, "gate_bronze", "plays") == {}


def test_a_changed_suite_asks_every_batch_again(bronze: Bronze, tmp_path_factory: pytest.TempPathFactory) -> None:
    import shutil

    bronze.load("plays", "app", FIRST, plays(FIRST))
    bronze.gate()
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(bronze.settings.expectations, project / "expectations")
    suite = project / "expectations" / "bronze" / "plays.yml"
    suite.write_text(suite.read_text().replace("max_value: 86400000", "max_value: 50000"))
    bronze.settings = bronze.settings.model_copy(update={"project": project})
    with pytest.raises(GateFailed, match="max_value=50000"):
        bronze.gate()


def test_a_warning_lets_pass_and_lowers_the_quality(bronze: Bronze) -> None:
    for number in range(30):
        day = FIRST + timedelta(days=number)
        bronze.load("plays", "app", day, plays(day, 400 if number < 29 else 220))
    receipt = bronze.gate()
    (warning,) = receipt.warnings
    assert "rows_deviation" in warning
    assert f"app/{FIRST + timedelta(days=29)}" in warning
    assert "220 rows, usual are 400" in warning
    assert 0.95 < receipt.entries[0].facts["quality_ratio"] < 1


def test_a_night_without_a_payment_is_ordinary_for_a_small_service(bronze: Bronze) -> None:
    bronze.load("payments", "shop", FIRST, [])
    assert bronze.gate().warnings == ()


def test_a_truncated_catalogue_is_stopped(bronze: Bronze) -> None:
    for number in range(5):
        count = 100 if number < 4 else 30
        rows = [{"track_id": f"t{track}", "title": "T", "duration_ms": 200_000} for track in range(count)]
        bronze.load("tracks", "catalogue", FIRST + timedelta(days=number), rows)
    with pytest.raises(GateFailed, match=r"state_to_usual is 0\.3 \(30 rows, usual are 100\)"):
        bronze.gate()


def test_many_batches_of_one_cause_are_one_line(bronze: Bronze) -> None:
    for number in range(12):
        bronze.load("plays", "app", FIRST + timedelta(days=number), plays(FIRST + timedelta(days=number), country="France"))
    with pytest.raises(GateFailed) as failure:
        bronze.gate()
    (line,) = [line for line in str(failure.value).splitlines() if "expect_column_values_to_match_regex" in line]
    assert "and 9 more batches, the last app/2026-01-16" in line


def test_what_was_found_of_a_batch_is_kept_also_when_it_is_stopped(bronze: Bronze) -> None:
    bronze.load("plays", "app", FIRST, plays(FIRST, country="France"))
    with pytest.raises(GateFailed):
        bronze.gate()
    (day,) = table_days(bronze.marks.judgements(bronze.tenant, FIRST, NIGHT))
    assert [(one.severity, one.asked, one.failing) for one in day.failed if "regex=^[A-Z]" in one.check] == [("stop", 40, 40)]
    assert all(one.samples[0] == "part-1.ndjson:1" for one in day.failed if "regex" in one.check)
    assert day.score is not None
    assert 0.8 < day.score < 0.97
    assert day.quarantined_ratio is None
    unknown = [one.check for one in day.results if one.outcome == "unknown"]
    assert any("rows_to_floor" in check for check in unknown)  # nothing is usual yet
    bronze.load("plays", "app", FIRST, plays(FIRST), version="2")
    bronze.gate()
    assert [one.score for one in table_days(bronze.marks.judgements(bronze.tenant, FIRST, NIGHT))] == [1]


def after_a_week(bronze: Bronze, **other: Callable[[int], Any]) -> None:
    """Eight days of 200 plays of a minute by 100 listeners, and a ninth on which a column holds something else."""
    usual = {"ms_played": lambda n: (30 + n) * 1_000, "listener_id": lambda n: f"l{n % 100}", "country": lambda n: ("FR", "BE")[n % 2]}
    for number in range(9):
        day = FIRST + timedelta(days=number)
        bronze.load("plays", "app", day, plays(day, 200, **{**usual, **(other if number == 8 else {})}))


def test_values_that_lie_a_bit_elsewhere_are_warned_of_though_every_row_is_possible(bronze: Bronze) -> None:
    after_a_week(bronze, ms_played=lambda n: (130 + n // 2) * 1_000)
    (warning,) = bronze.gate().warnings
    assert "shift; max_value=0.2" in warning
    assert "ms_played: the middle value is 179000, usual is 129000" in warning
    assert f"app/{FIRST + timedelta(days=8)}" in warning


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("ms_played", lambda n: 30 + n, "ms_played: the middle value is 129, usual is 129000"),
        ("listener_id", lambda _: "everybody", "listener_id: one value has 100.0% of 200 rows, at most 1.0% before"),
        ("country", lambda _: "BR", "country BR: 100.0% of 200 rows, usual are 0.0%"),
    ],
)
def test_what_no_day_came_near_is_stopped_though_every_row_is_possible(
    bronze: Bronze, column: str, value: Callable[[int], Any], says: str
) -> None:
    after_a_week(bronze, **{column: value})
    with pytest.raises(GateFailed, match=re.escape(says)):
        bronze.gate()


def test_two_thresholds_of_one_question_are_two_checks(bronze: Bronze) -> None:
    bronze.load("plays", "app", FIRST, plays(FIRST, 100, _problems=lambda n: ["ms_played: 'x' is no BIGINT"] if n < 3 else []))
    bronze.gate()
    (day,) = table_days(bronze.marks.judgements(bronze.tenant, FIRST, NIGHT))
    both = {one.check: one.outcome for one in day.results if "_problem_count" in one.check}
    assert sorted(both.values()) == ["failed", "passed"]
    assert [one.result.severity for one in incidents([day]) if one.is_open] == ["warn"]


def test_no_value_of_a_row_is_told(bronze: Bronze) -> None:
    bronze.load("plays", "app", FIRST, plays(FIRST, country="Somewhere secret"))
    with pytest.raises(GateFailed) as failure:
        bronze.gate()
    assert "secret" not in str(failure.value)


def test_the_order_of_the_batches_does_not_matter_for_more_than_one_chunk(bronze: Bronze, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nocturne.gates.bronze._CHUNK_ROWS", 100)
    for number in range(10):
        day = FIRST + timedelta(days=number)
        bronze.load("plays", "app", day, plays(day, country="France" if number == 6 else "FR"))
    with pytest.raises(GateFailed, match=str(FIRST + timedelta(days=6))):
        bronze.gate()
    assert len(bronze.passed("plays")) == 9


def accepting(day: date) -> Tenant:
    """The tenant, whose file says that what the app delivered on a day is right."""
    document = TENANT.model_dump(mode="json", by_alias=True)
    document["sources"][0]["accept"] = [{"day": day.isoformat(), "reason": "the app was down all day"}]
    return Tenant.model_validate(document)


def test_a_day_that_somebody_accepts_passes_with_the_reason_told(bronze: Bronze) -> None:
    days = [FIRST + timedelta(days=number) for number in range(9)]
    for day in days[:-1]:
        bronze.load("plays", "app", day, plays(day, 400))
    bronze.load("plays", "app", days[-1], plays(days[-1], 90))
    with pytest.raises(GateFailed, match=r"rows_to_floor is 0\.45 \(90 rows, usual are 400\)"):
        bronze.gate()
    bronze.tenant = accepting(days[-1])
    warnings = bronze.gate().warnings
    assert any("90 rows, usual are 400); accepted: the app was down all day" in warning for warning in warnings)
    assert f"app/{days[-1]}" in bronze.passed("plays")
    bronze.tenant = TENANT
    with pytest.raises(GateFailed):  # the answer is taken back
        bronze.gate()
    assert f"app/{days[-1]}" not in bronze.passed("plays")


def test_what_is_wrong_with_the_rows_themselves_cannot_be_accepted(bronze: Bronze) -> None:
    bronze.load("plays", "app", FIRST, plays(FIRST, ms_played=-1))
    bronze.tenant = accepting(FIRST)
    with pytest.raises(GateFailed, match="ms_played"):
        bronze.gate()


def test_other_countries_and_unknown_tracks_are_warned_of_with_their_numbers(bronze: Bronze) -> None:
    bronze.load("tracks", "catalogue", FIRST, [{"track_id": f"t{track}", "title": "T", "duration_ms": 200_000} for track in range(5)])
    days = [FIRST + timedelta(days=number) for number in range(10)]
    for day in days[:-1]:
        bronze.load("plays", "app", day, plays(day, 200, country=lambda n: "BE" if n % 5 == 0 else "FR"))
    strange = plays(days[-1], 200, country="BE", track_id=lambda n: f"t{n % 8}")
    bronze.load("plays", "app", days[-1], strange)
    warnings = bronze.gate().warnings
    assert any("country BE: 100.0% of 200 rows, usual are 20.0%" in warning for warning in warnings), warnings
    assert any("track_id: 37.5% of 200 rows name tracks that nothing tells of, usual are 0.0%" in warning for warning in warnings), warnings
    assert len(bronze.passed("plays")) == 10
